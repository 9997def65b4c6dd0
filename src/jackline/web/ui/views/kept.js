/** What a row that has left the document, and comes back, still knows: what was unfolded in it. @module */
import {createContext, useContext, useState} from '../html.js';

/** A list's memory, and the row that remembers. @typedef {{kept: Map<string, unknown>, row: string}} Memory */

/** @type {import('../vendor/preact/preact.js').Context<Memory | null>} */
export const RowMemory = createContext(/** @type {any} */ (null));

/**
 * `useState`, kept by the list where it is used in a row of one.
 * @template T
 * @param {string} name unique within the row
 * @param {T} initial
 * @returns {[T, (value: T) => void]}
 */
export function useKept(name, initial) {
  const memory = useContext(RowMemory);
  const place = `${memory?.row} ${name}`;
  const [value, set] = useState(/** @type {T} */ (memory?.kept.has(place) ? memory.kept.get(place) : initial));
  /** @param {T} next */
  const keep = (next) => {
    memory?.kept.set(place, next);
    set(next);
  };
  return [value, keep];
}
