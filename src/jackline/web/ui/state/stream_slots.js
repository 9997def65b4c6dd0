/**
 * How many streams the tabs of a browser hold open together. Of the six HTTP/1.1 connections that a browser has to
 * a server one is the feed's and one must stay free, or a stop would wait behind streams that never end. So there are four
 * slots. A tab that one turns to takes a slot from another; that one polls until it gets one again. Over HTTP/2, and where
 * there are no Web Locks, nothing is counted.
 * @module
 */

const SLOTS = 4;

/** @typedef {{release: () => void, lost: AbortSignal}} Slot `lost`: another tab has taken it */

/** Whether connections are scarce here. */
function isScarce() {
  const [navigation] = performance.getEntriesByType('navigation');
  const protocol = /** @type {PerformanceNavigationTiming | undefined} */ (navigation)?.nextHopProtocol ?? '';
  return navigator.locks !== undefined && !/^h[23]/.test(protocol);
}

/** A slot if one is free. With `insist` always: another tab's, if need be. @param {boolean} insist @returns {Promise<Slot | null>} */
export async function takeSlot(insist) {
  if (!isScarce()) return unlimited();
  const first = Math.floor(Math.random() * SLOTS);
  for (let number = 0; number < SLOTS; number++) {
    const slot = await request((first + number) % SLOTS, {ifAvailable: true});
    if (slot !== null) return slot;
  }
  return insist ? request(first, {steal: true}) : null;
}

/** A slot that nobody takes away. @returns {Slot} */
const unlimited = () => ({release: () => {}, lost: new AbortController().signal});

/** @param {number} number @param {LockOptions} options @returns {Promise<Slot | null>} */
function request(number, options) {
  return new Promise((resolve) => {
    const lost = new AbortController();
    navigator.locks
      .request(`jackline:stream:${number}`, options, (lock) => {
        if (lock === null) return resolve(null);
        return new Promise((release) => resolve({release: () => release(undefined), lost: lost.signal}));
      })
      .catch((error) => {
        lost.abort(); // stolen: that is how a lock says so
        resolve(error instanceof DOMException && error.name === 'AbortError' ? null : unlimited());
      });
  });
}
