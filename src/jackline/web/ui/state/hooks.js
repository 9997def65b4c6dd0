/** Views that follow what changes. @module */
import {useEffect, useReducer} from '../html.js';

/** Render again whenever one of these changes. @param {...(import('./observable.js').Observable | null)} watched */
export function useObservables(...watched) {
  const [, again] = useReducer((/** @type {number} */ count) => count + 1, 0);
  const seen = watched.map((each) => each?.version);
  useEffect(() => {
    const ends = watched.map((each) => each?.subscribe(() => again(undefined)));
    // What changed between rendering and now told nobody.
    if (watched.some((each, index) => each?.version !== seen[index])) again(undefined);
    return () => ends.forEach((end) => end?.());
  }, watched);
}
