/** Buttons that decide rest for a moment where they came or moved: nobody has seen yet what they stand for. @module */
import {useLayoutEffect, useRef} from '../html.js';

/** How long such a button does nothing: longer than a double click takes, or a click that was under way already. */
const SETTLE_MS = 700;

/**
 * Let the buttons in `region` rest that are not where they were, each time `key` changes: where a question goes, the
 * next one's Approve may stand under the pointer, and the second half of a double click would approve it unread.
 * @param {{current: HTMLElement | null}} region
 * @param {string} key what is shown, as far as it moves the buttons
 */
export function useSettling(region, key) {
  const shown = useRef('');
  const before = useRef(/** @type {Map<Element, string>} */ (new Map()));
  // While this renders, the document still is what was seen.
  if (shown.current !== key) before.current = places(region.current);
  useLayoutEffect(() => {
    shown.current = key;
    for (const [buttons, place] of places(region.current)) {
      if (before.current.get(buttons) === place) continue;
      const moved = String(performance.now());
      buttons.dataset.moved = moved;
      buttons.setAttribute('aria-disabled', 'true');
      setTimeout(() => {
        if (buttons.dataset.moved === moved) buttons.removeAttribute('aria-disabled');
      }, SETTLE_MS);
    }
  }, [key]);
}

/** Where the buttons stand. @param {HTMLElement | null} region */
function places(region) {
  /** @type {Map<HTMLElement, string>} */ const found = new Map();
  for (const buttons of /** @type {HTMLElement[]} */ ([...(region?.querySelectorAll('.jl-buttons') ?? [])])) {
    const {x, y} = buttons.getBoundingClientRect();
    found.set(buttons, `${Math.round(x)} ${Math.round(y)}`);
  }
  return found;
}

/** Keep a click from a button that rests, however it is made; for the capturing phase. @param {Event} event */
export function onlySettled(event) {
  if (!(event.target instanceof Element) || event.target.closest('.jl-buttons[aria-disabled="true"]') === null) return;
  event.preventDefault();
  event.stopPropagation();
}

/** A key that is held down has decided once; for the capturing phase. @param {KeyboardEvent} event */
export function onlyPressed(event) {
  if (event.key === 'Enter' && event.repeat && !(event.target instanceof HTMLTextAreaElement)) event.preventDefault();
}
