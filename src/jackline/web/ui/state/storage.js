/** The browser's storage, where there is any: a private window may refuse it, and the page works all the same. @module */

/** @typedef {'localStorage' | 'sessionStorage'} Where */

/** @param {Where} where @param {string} name @returns {string | null} */
export function recall(where, name) {
  try {
    return globalThis[where].getItem(`jackline:${name}`);
  } catch {
    return null;
  }
}

/** @param {Where} where @param {string} name @param {string | null} value null removes it */
export function keep(where, name, value) {
  try {
    if (value === null) globalThis[where].removeItem(`jackline:${name}`);
    else globalThis[where].setItem(`jackline:${name}`, value);
  } catch {
    // Full or refused: it is gone with the page, which is all that can be done.
  }
}

/** A new Idempotency-Key. `randomUUID` is missing on pages without TLS. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
