/**
 * The stops that were asked for here. A stop that may not have arrived is sent again under the same Idempotency-Key.
 * @module
 */
import {Observable} from './observable.js';
import {newKey} from './storage.js';
import {isEnded} from './words.js';

/** @typedef {'immediate' | 'after_step'} Mode */
/**
 * @typedef {object} Stop
 * @property {string} runId
 * @property {Mode} mode
 * @property {'sent' | 'slow' | 'accepted' | 'failed'} status `slow`: no answer yet, it is tried again
 * @property {string} key
 * @property {unknown} error why it failed
 * @property {number | null} acceptedAt when the server accepted it, by this machine's clock
 * @property {AbortController} sending what ends the sending that has no answer yet
 */

/** After which time without an answer it is said that there is none. */
const SLOW_MS = 2_000;
export class Stops extends Observable {
  #session;
  /** @type {Map<string, Stop>} */ #stops = new Map();

  /** @param {import('./session.js').Session} session */
  constructor(session) {
    super();
    this.#session = session;
  }

  /** The last stop that was asked for of a run. @param {string} runId */
  of(runId) { return this.#stops.get(runId) ?? null; }

  /** Stop a run. Sent as often as it is asked for, but for one that has no answer yet: a stop may be lost with its store,
   * and one too many does nothing. @param {string} runId @param {Mode} [mode] */
  async stop(runId, mode = 'immediate') {
    const before = this.of(runId);
    const same = before?.mode === mode;
    if (same && (before.status === 'sent' || before.status === 'slow')) return;
    /** @type {Stop} */
    const stop = {runId, mode, status: 'sent', key: same ? before.key : newKey(), error: null, acceptedAt: null, sending: new AbortController()};
    this.#put(stop);
    const slow = setTimeout(() => stop.status === 'sent' && this.#put(stop, 'slow'), SLOW_MS);
    try {
      const {state} = await this.#send(stop);
      if (stop.status === 'slow') this.#session.back();
      stop.acceptedAt = Date.now();
      this.#put(stop, 'accepted');
      if (isEnded(state)) this.settled(runId);
    } catch (error) {
      stop.error = error;
      this.#put(stop, 'failed');
      this.#session.refused(error);
    } finally {
      clearTimeout(slow);
    }
  }

  /** Do not wait for an answer any longer, nor for the next try: send it again. @param {string} runId */
  again(runId) {
    this.of(runId)?.sending.abort();
    this.#session.wake();
  }

  /** The run has ended: there is nothing to say of its stop any more. @param {string} runId */
  settled(runId) {
    if (this.#stops.delete(runId)) this.changed();
  }

  /** Never given up while the page is there: whoever pressed Stop wants it stopped. @param {Stop} stop */
  async #send(stop) {
    const {watching} = this.#session;
    for (;;) {
      const {signal} = stop.sending;
      try {
        return await watching.stop(stop.runId, {mode: stop.mode, key: stop.key, signal});
      } catch (error) {
        if (!signal.aborted) throw error;
        stop.sending = new AbortController();
      }
    }
  }

  /** @param {Stop} stop @param {Stop['status']} [status] */
  #put(stop, status = stop.status) {
    stop.status = status;
    const standing = this.of(stop.runId);
    // The answer to a stop after the step must not hide the immediate one that was asked for since.
    if (standing === null || standing === stop || status === 'sent') this.#stops.set(stop.runId, stop);
    this.changed();
  }
}
