/**
 * What changes, and who looks at it. However often something changes, those who look are told once per frame.
 * @module
 */

/** How late a page that nobody looks at may be: its animation frames do not come. */
const HIDDEN_MS = 200;

/** @type {Set<() => void>} */ const waiting = new Set();
let planned = false;

/** Run `work` with the next frame, once however often it was asked for. @param {() => void} work */
export function soon(work) {
  waiting.add(work);
  if (planned) return;
  planned = true;
  if (document.hidden) setTimeout(flush, HIDDEN_MS);
  else requestAnimationFrame(flush);
}

function flush() {
  planned = false;
  const works = [...waiting];
  waiting.clear();
  for (const work of works) work();
}

// A frame that was asked for just before the page was hidden would come when it is shown again.
document.addEventListener('visibilitychange', () => {
  if (planned && document.hidden) setTimeout(() => planned && flush(), HIDDEN_MS);
});

/** Something that can be watched. `version` grows with every change. */
export class Observable {
  version = 0;
  /** @type {Set<() => void>} */ #listeners = new Set();

  /** Be told of changes. @param {() => void} listener @returns {() => void} ends it */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Something is another than before. */
  changed() {
    this.version += 1;
    soon(this.#tell);
  }

  #tell = () => {
    for (const listener of [...this.#listeners]) listener();
  };
}
