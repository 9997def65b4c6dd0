/**
 * A long list of which only what is near the eye is in the document. It stays at its end while one is there, and
 * where one reads while one reads further up.
 * @module
 */
import {Component, html, useLayoutEffect, useReducer, useRef} from '../html.js';
import {
  Virtualizer,
  elementScroll,
  measureElement,
  observeElementOffset,
  observeElementRect,
} from '../vendor/virtual-core/virtual-core.js';

/** @typedef {import('../vendor/virtual-core/virtual-core.js').VirtualizerOptions<HTMLElement, HTMLElement>} Options */

/** @typedef {{toEnd: () => void, toRow: (index: number) => void}} Handle */

/** Pixels from the end that still are the end. */
const AT_END = 64;

/**
 * The library keeps the end in sight when rows grow, but not when the list itself shrinks, as it does for a question.
 * @type {typeof observeElementRect<HTMLElement>}
 */
function keptAtEnd(virtual, tell) {
  let height = 0;
  return observeElementRect(virtual, (rect) => {
    const {scrollElement} = virtual;
    const lost = height - rect.height;
    height = rect.height;
    const wasAtEnd = scrollElement !== null && distanceFromEnd(scrollElement) - lost <= AT_END;
    tell(rect);
    if (lost > 0 && wasAtEnd) virtual.scrollToEnd();
  });
}

/** @param {HTMLElement} element */
const distanceFromEnd = (element) => element.scrollHeight - element.scrollTop - element.clientHeight;

/**
 * @param {object} props
 * @param {number} props.count
 * @param {(index: number) => string} props.keyOf
 * @param {(index: number) => unknown} props.versionOf a row is rendered again when this changes
 * @param {(index: number) => unknown} props.row
 * @param {string} props.label for screen readers
 * @param {boolean} props.busy rows still come in
 * @param {Handle} props.handle is given what the list can do
 */
export function VirtualList({count, keyOf, versionOf, row, label, busy, handle}) {
  const scroller = useRef(/** @type {HTMLElement | null} */ (null));
  const [, again] = useReducer((/** @type {number} */ times) => times + 1, 0);
  const list = useRef(/** @type {Virtualizer<HTMLElement, HTMLElement> | null} */ (null));
  const leftAt = useRef(/** @type {number | null} */ (null));
  /** @type {Options} */
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => 72,
    getItemKey: keyOf,
    overscan: 8,
    paddingStart: 16,
    paddingEnd: 16,
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: AT_END,
    useAnimationFrameWithResizeObserver: true, // else Chromium reports a loop where a row grows by being measured
    observeElementRect: keptAtEnd,
    observeElementOffset,
    scrollToFn: elementScroll,
    measureElement,
    onChange: () => again(undefined),
  };
  const virtual = (list.current ??= new Virtualizer(options));
  virtual.setOptions(options);
  useLayoutEffect(() => virtual._didMount(), []);
  useLayoutEffect(() => virtual._willUpdate());
  handle.toEnd = () => virtual.scrollToEnd();
  handle.toRow = (index) => virtual.scrollToIndex(index, {align: 'center'});

  const rows = virtual.getVirtualItems();
  const away = scroller.current !== null && count > 0 && !virtual.isAtEnd(AT_END);
  leftAt.current = away ? (leftAt.current ?? count) : null;
  const fresh = leftAt.current === null ? 0 : count - leftAt.current;
  return html`<div class="feed-frame">
    <div class="feed" ref=${scroller} role="feed" aria-label=${label} aria-busy=${busy} tabindex="0">
      <div class="feed-space" style=${{height: `${virtual.getTotalSize()}px`}}>
        <div class="feed-window" style=${{transform: `translateY(${rows[0]?.start ?? 0}px)`}}>
          ${rows.map(
            ({index, key}) => html`<${Row} key=${key} index=${index} count=${count} measure=${virtual.measureElement}
              version=${versionOf(index)} row=${row} />`,
          )}
        </div>
      </div>
    </div>
    ${away && html`<button type="button" class="to-end" onClick=${() => virtual.scrollToEnd()}>
      Jump to newest${fresh > 0 ? ` (${fresh} new)` : ''}
    </button>`}
  </div>`;
}

/** @typedef {{index: number, count: number, version: unknown, measure: (node: HTMLElement | null) => void, row: (index: number) => unknown}} RowProps */

/** One row; rendered again only when it is another: a token must not cost a pass over all cards in sight. @extends {Component<RowProps>} */
class Row extends Component {
  /** @param {RowProps} next */
  shouldComponentUpdate(next) {
    const {index, version, count} = this.props;
    return next.version !== version || next.index !== index || next.count !== count;
  }

  render() {
    const {index, count, measure, row} = this.props;
    return html`<article class="feed-row" ref=${measure} data-index=${index} aria-posinset=${index + 1} aria-setsize=${count} tabindex="-1">
      ${row(index)}
    </article>`;
  }
}
