/** Views that go by the clock. @module */
import {useEffect, useReducer} from '../html.js';

/** The time, ms; read again every `ms` while `active`. @param {boolean} active @param {number} [ms] */
export function useNow(active, ms = 1000) {
  const [, again] = useReducer((/** @type {number} */ times) => times + 1, 0);
  useEffect(() => {
    if (!active) return undefined;
    const timer = setInterval(() => again(undefined), ms);
    return () => clearInterval(timer);
  }, [active, ms]);
  return Date.now();
}
