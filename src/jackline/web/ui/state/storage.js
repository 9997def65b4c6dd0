/** The browser's storage, where there is any: a private window may refuse it, and the page works all the same. @module */

/** @typedef {'localStorage' | 'sessionStorage'} Where */

/**
 * Before every name that the tabs of a browser share, in its storage and elsewhere. A proxy may have put two servers
 * under two paths of one origin, which is all that a browser tells apart: one's key is not for the other.
 */
export const OWN = `jackline:${new URL('.', location.href).pathname.replace(/^\/$/, '')}`;

/** @param {Where} where @param {string} name @returns {string | null} */
export function recall(where, name) {
  try {
    return globalThis[where].getItem(OWN + name);
  } catch {
    return null;
  }
}

/** @param {Where} where @param {string} name @param {string | null} value null removes it */
export function keep(where, name, value) {
  try {
    if (value === null) globalThis[where].removeItem(OWN + name);
    else globalThis[where].setItem(OWN + name, value);
  } catch {
    // Full or refused: it is gone with the page, which is all that can be done.
  }
}

/** Remove all whose names begin like this. @param {Where} where @param {string} prefix */
export function forget(where, prefix) {
  try {
    for (const name of Object.keys(globalThis[where])) if (name.startsWith(OWN + prefix)) globalThis[where].removeItem(name);
  } catch {
    // Refused: then nothing was kept either.
  }
}

/** Be told that another tab has removed what was kept. @param {string} name @param {(before: string | null) => void} listener */
export function onRemoved(name, listener) {
  addEventListener('storage', (event) => event.key === OWN + name && event.newValue === null && listener(event.oldValue));
}

/** A new Idempotency-Key. `randomUUID` is missing on pages without TLS. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
