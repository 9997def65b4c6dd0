/** The run that is looked at: its frames as they come, and how the connection stands. @module */
import {Refused, Unreachable} from '../client.js';
import {apply, createRun} from '../model/run.js';
import {Observable} from './observable.js';
import {shown, whenHidden} from './shared_feed.js';
import {takeSlot} from './stream_slots.js';
import {isAway, isEnded} from './words.js';

/** @typedef {Record<string, any>} Data */
/** @typedef {import('../client.js').Frame} Frame */
/** @typedef {import('./stream_slots.js').Slot} Slot */
/** @typedef {{worker: string, store: 'there' | 'away' | 'doubt', idleMs: number, at: number}} Heartbeat */

/** How long a hidden tab keeps its stream: switching to and fro costs nothing. */
const LEAVE_MS = 5_000;
/** How often a tab without a stream of its own asks. */
const POLL_MS = 2_000;
/** After which time without an answer it is said that there is none. */
const SLOW_MS = 3_000;
/** When to ask again where nobody answers. */
const RETRY_MS = 3_000;
/** How long frames are taken in one go, before clicks and keys get their turn. */
const BUSY_MS = 8;
/** How often at most to ask whether a run that has ended is still there. */
const STILL_MS = 2_000;
/** How often to ask why a run does not go on. */
const WHY_MS = 4_000;

export class FollowedRun extends Observable {
  run;
  /** @type {import('../client.js').Phase | 'hidden' | 'polling'} */ phase = 'connecting';
  reason = '';
  /** When the next try is. @type {number | null} */ retryAt = null;
  /** Since when it hears of what the run does now; null while it does not. @type {number | null} */ hearsSince = null;
  /** The newest entry there was when the stream opened. */ newest = 0;
  /** When anything was last heard of the server. @type {number | null} */ heardAt = null;
  /** The time between two heartbeats of the server, null until it is known. @type {number | null} */ heartbeatMs = null;
  /** @type {Heartbeat | null} */ heartbeat = null;
  /** When an entry last came that was new. @type {number | null} */ entryAt = null;
  /** Why it does not go on, as the snapshot has it. @type {{for: string, detail: string} | null} */ waiting = null;
  /** Why it is not followed any more. @type {unknown} */ fault = null;
  /** There is no such run (any more). */ missing = false;
  /** When it was last asked whether it is still there. */ #askedAt = 0;
  #session;
  #closing = new AbortController();
  /** @type {string | null} */ #cursor = null;
  #breathed = performance.now();
  /** Ends the wait between two polls. */ #poke = () => {};
  /** Whether somebody turned to this tab since it last took a stream: two tabs must not take it from each other for ever. */
  #insists = true;

  /** @param {import('./session.js').Session} session @param {string} runId */
  constructor(session, runId) {
    super();
    this.#session = session;
    this.run = createRun(runId);
    void this.#go();
    const timer = setInterval(() => void this.#askWhy(), WHY_MS);
    const {signal} = this.#closing;
    signal.addEventListener('abort', () => clearInterval(timer));
    for (const sign of ['focus', 'pointerdown', 'keydown']) addEventListener(sign, this.#turnedTo, {signal});
    for (const sign of ['focus', 'pageshow']) addEventListener(sign, this.#stillThere, {signal});
    document.addEventListener('visibilitychange', this.#stillThere, {signal});
  }

  get runId() { return this.run.runId; }
  get ended() { return isEnded(this.run.state); }

  close() { this.#closing.abort(); }

  /** Try now instead of later. */
  now() {
    this.#session.wake();
    this.#poke();
    if (this.fault !== null) {
      this.fault = null;
      void this.#go();
    }
  }

  // -- connections

  async #go() {
    const {signal} = this.#closing;
    try {
      while (!signal.aborted && !this.ended) {
        if (document.hidden) {
          this.#tell('hidden', '', null);
          await shown(signal);
          this.#insists = true;
        }
        if (signal.aborted) return;
        const slot = await this.#slot();
        try {
          if (slot !== null) await this.#stream(slot);
          else await this.#poll();
        } catch (error) {
          if (signal.aborted || !this.#startsAnew(error)) throw error;
        }
      }
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
      return;
    }
    if (this.ended) this.#tell('ended', '', null);
  }

  async #slot() {
    const insists = this.#insists;
    this.#insists = false;
    return takeSlot(insists);
  }

  #turnedTo = () => {
    if (this.phase !== 'polling') return;
    this.#insists = true;
    this.#poke();
  };

  /** Nobody tells of a run that has ended that it was deleted: who comes back to it asks. */
  #stillThere = async () => {
    if (document.hidden || !this.ended || this.missing || Date.now() - this.#askedAt < STILL_MS) return;
    this.#askedAt = Date.now();
    try {
      await this.#session.jackline.page(this.runId, {after: this.#cursor ?? 0, limit: 1});
    } catch (error) {
      // Where nobody answers, what was read stays to be read.
      if (!this.#closing.signal.aborted && error instanceof Refused && [401, 404].includes(error.status)) this.#failed(error);
    }
  };

  /** Follow until the end, or until the stream is to be let go. @param {Slot} slot */
  async #stream(slot) {
    const leaving = new AbortController();
    const over = new AbortController();
    const leave = () => leaving.abort();
    this.#closing.signal.addEventListener('abort', leave, {signal: over.signal});
    slot.lost.addEventListener('abort', leave, {signal: over.signal});
    whenHidden(LEAVE_MS, leave, over.signal);
    const follow = this.#session.watching.follow(this.runId, {
      after: this.#cursor ?? 0,
      signal: leaving.signal,
      onState: (phase, reason, retryInMs) => {
        if (!leaving.signal.aborted && phase !== 'ended') this.#tell(phase, reason, retryInMs);
      },
    });
    try {
      for await (const frame of follow) {
        this.heardAt = follow.heardAt;
        this.heartbeatMs = follow.heartbeatMs ?? this.heartbeatMs;
        this.#take(frame);
        this.#cursor = follow.cursor;
        await this.#breathe();
      }
    } catch (error) {
      if (!leaving.signal.aborted) throw error;
    } finally {
      over.abort();
      slot.release();
    }
  }

  /** Ask every now and then: other tabs have the streams. */
  async #poll() {
    const {signal} = this.#closing;
    while (!document.hidden && !this.ended) {
      const page = await this.#page();
      if (signal.aborted) return;
      if (page === null) {
        this.#tell('reconnecting', 'nobody answers', RETRY_MS);
        await this.#rest(RETRY_MS);
        continue;
      }
      this.heardAt = Date.now();
      this.#tell('polling', '', null);
      if (page.gap) this.#take({kind: 'gap', id: String(page.next ?? ''), data: page.gap});
      for (const {id, type, data} of page.entries) {
        this.#take({kind: 'entry', type, id, seq: data.seq, first: data.merged_from ?? data.seq, data});
        this.#cursor = id;
        await this.#breathe();
      }
      if (page.gap) this.#cursor = String(page.next ?? page.gap.snapshot.seq);
      if (page.next === null) return;
      if (page.entries.length > 0) continue;
      await this.#rest(POLL_MS);
      const slot = await this.#slot();
      if (slot !== null) return this.#stream(slot);
    }
    return undefined;
  }

  /** What is new; null where nobody answers. */
  async #page() {
    const slow = setTimeout(() => this.#tell('reconnecting', 'no answer yet', null), SLOW_MS);
    try {
      return await this.#session.jackline.page(this.runId, {after: this.#cursor ?? 0});
    } catch (error) {
      if (error instanceof Unreachable) return null;
      throw error;
    } finally {
      clearTimeout(slow);
    }
  }

  /** Wait, but no longer when somebody turns to the tab. @param {number} ms @returns {Promise<void>} */
  #rest(ms) {
    return new Promise((resolve) => {
      this.#poke = resolve;
      setTimeout(resolve, ms);
    });
  }

  /** The log came back shorter than it was seen: read it from the beginning. @param {unknown} error */
  #startsAnew(error) {
    if (!(error instanceof Refused) || error.status !== 400 || this.#cursor === null) return false;
    this.#cursor = null;
    this.run = createRun(this.runId);
    this.changed();
    return true;
  }

  /** @param {unknown} error */
  #failed(error) {
    if (this.#session.refused(error)) return;
    if (error instanceof Refused && error.status === 404) this.missing = true;
    else this.fault = error;
    this.hearsSince = null;
    this.changed();
  }

  /** Let others have the thread every now and then: a long run comes at once. */
  async #breathe() {
    if (performance.now() - this.#breathed < BUSY_MS) return;
    await new Promise((resolve) => {
      const {port1, port2} = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve(undefined);
      };
      port2.postMessage(null);
    });
    this.#breathed = performance.now();
  }

  // -- frames

  /** @param {Frame} frame */
  #take(frame) {
    if (frame.kind === 'ready') this.newest = frame.data.newest ?? 0;
    if (frame.kind === 'heartbeat') {
      const {worker, store = 'there', idle_ms: idleMs = 0} = frame.data;
      this.heartbeat = {worker, store, idleMs, at: Date.now()};
    }
    if (frame.kind === 'entry' && frame.type === 'workflow') this.waiting = null;
    if (frame.kind === 'entry' && this.phase === 'live') this.entryAt = Date.now();
    apply(this.run, frame, Date.now());
    this.changed();
  }

  /** @param {FollowedRun['phase']} phase @param {string} reason @param {number | null} retryInMs */
  #tell(phase, reason, retryInMs) {
    const wasAway = isAway(this);
    this.phase = phase;
    this.reason = reason;
    this.retryAt = retryInMs === null ? null : Date.now() + retryInMs;
    this.hearsSince = phase === 'live' || phase === 'polling' ? (this.hearsSince ?? Date.now()) : null;
    if (wasAway && ['live', 'catching-up', 'polling'].includes(phase)) this.#session.back();
    this.changed();
  }

  /** Only the snapshot says why nobody drives the run. */
  async #askWhy() {
    const drives = this.heartbeat?.worker === 'alive' && this.run.state !== 'queued';
    if (document.hidden || this.ended || this.missing || drives || this.run.state === null) return;
    if (this.run.state === 'awaiting_approval') return; // the question says it
    try {
      const {waiting, state} = await this.#session.jackline.run(this.runId);
      if (this.#closing.signal.aborted || state !== this.run.state) return;
      this.waiting = waiting;
      this.changed();
    } catch {
      // The connection's state says that nobody answers.
    }
  }
}
