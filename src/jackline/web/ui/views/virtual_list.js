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
import {RowMemory} from './kept.js';

/** @typedef {import('../vendor/virtual-core/virtual-core.js').VirtualizerOptions<HTMLElement, HTMLElement>} Options */

/** @typedef {{toEnd: () => void, toRow: (index: number) => void}} Handle */

/** Pixels from the end that still are the end. */
const AT_END = 64;

/** How long after a turn of the wheel and the like the list moves because of it. */
const TOUCHED_MS = 1_000;

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
  const end = useRef({kept: true, leftAt: 0, top: 0, height: 0, touchedAt: -Infinity});
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
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    measureElement,
    onChange: () => again(undefined),
  };
  const kept = useRef(/** @type {Map<string, unknown>} */ (new Map()));
  const virtual = (list.current ??= new Virtualizer(options));
  virtual.setOptions(options);
  useLayoutEffect(() => virtual._didMount(), []);
  useLayoutEffect(() => virtual._willUpdate());
  // However rows grow, or the list itself shrinks for a question: who is at the end stays there.
  const keep = () => {
    const element = scroller.current;
    if (element !== null && end.current.kept && distanceFromEnd(element) > 1) element.scrollTop = element.scrollHeight;
  };
  useLayoutEffect(keep);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(keep);
    if (scroller.current !== null) observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);
  // Only who goes up leaves the end: rows that come, or turn out smaller than they were taken for, move the list too.
  const onScroll = () => {
    const element = /** @type {HTMLElement} */ (scroller.current);
    const {kept, top, height, touchedAt} = end.current;
    const byReader = element.scrollHeight === height || performance.now() - touchedAt < TOUCHED_MS;
    if (distanceFromEnd(element) <= AT_END) end.current.kept = true;
    else if (kept && byReader && element.scrollTop < top - 1) Object.assign(end.current, {kept: false, leftAt: count});
    end.current.top = element.scrollTop;
    end.current.height = element.scrollHeight;
  };
  const onTouched = () => {
    end.current.touchedAt = performance.now();
  };
  const toEnd = () => {
    end.current.kept = true;
    virtual.scrollToEnd();
    again(undefined);
  };
  handle.toEnd = toEnd;
  handle.toRow = (index) => {
    end.current.kept = false;
    end.current.leftAt = count;
    virtual.scrollToIndex(index, {align: 'center'});
  };

  // A row that leaves the document takes the focus with it: the list has it then, so that keys go on from here.
  const within = scroller.current?.contains(document.activeElement) ?? false;
  useLayoutEffect(() => {
    if (within && !scroller.current?.contains(document.activeElement)) scroller.current?.focus({preventScroll: true});
  });

  const rows = virtual.getVirtualItems();
  const away = !end.current.kept;
  const fresh = count - end.current.leftAt;
  return html`<div class="feed-frame">
    <div class="feed" ref=${scroller} role="feed" aria-label=${label} aria-busy=${busy} tabindex="0" onScroll=${onScroll}
      onWheel=${onTouched} onTouchMove=${onTouched} onPointerDown=${onTouched} onKeyDown=${onTouched}>
      <div class="feed-space" style=${{height: `${virtual.getTotalSize()}px`}}>
        <div class="feed-window" style=${{transform: `translateY(${rows[0]?.start ?? 0}px)`}}>
          ${rows.map(
            ({index, key}) => html`<${Row} key=${key} index=${index} count=${count} measure=${virtual.measureElement}
              version=${versionOf(index)} row=${row} name=${String(key)} kept=${kept.current} />`,
          )}
        </div>
      </div>
    </div>
    ${away && html`<button type="button" class="to-end" onClick=${toEnd}>
      Jump to newest${fresh > 0 ? ` (${fresh} new)` : ''}
    </button>`}
  </div>`;
}

/** @typedef {{index: number, count: number, version: unknown, measure: (node: HTMLElement | null) => void, row: (index: number) => unknown, name: string, kept: Map<string, unknown>}} RowProps */

/** One row; rendered again only when it is another: a token must not cost a pass over all cards in sight. @extends {Component<RowProps>} */
class Row extends Component {
  /** @param {RowProps} next */
  shouldComponentUpdate(next) {
    const {index, version, count} = this.props;
    return next.version !== version || next.index !== index || next.count !== count;
  }

  render() {
    const {index, count, measure, row, name, kept} = this.props;
    return html`<article class="feed-row" ref=${measure} data-index=${index} aria-posinset=${index + 1} aria-setsize=${count} tabindex="-1">
      <${RowMemory.Provider} value=${{kept, row: name}}>${row(index)}</${RowMemory.Provider}>
    </article>`;
  }
}
