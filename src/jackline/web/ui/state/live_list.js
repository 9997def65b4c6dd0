/** The list of runs, kept by the feed. @module */
import {Refused} from '../client.js';
import {Observable} from './observable.js';
import {RunIndex, itemOf} from './run_index.js';
import {SharedFeed} from './shared_feed.js';
import {isAway} from './words.js';

/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./run_index.js').RunItem} RunItem */
/** @typedef {Record<string, any>} Data */

const PAGE = 100;
/** So many pages of runs that go on are asked for at the start; more than 1,000 of a state are not shown until they move. */
const GOING_PAGES = 10;
/** A clock that is off by less is taken for right. */
const SKEW_MS = 5_000;

export class LiveList extends Observable {
  index = new RunIndex();
  /** Whether the first page has come. */ loaded = false;
  /** The cursor of older runs, null where there are none. @type {string | null} */ older = null;
  /** @type {'no' | 'loading' | 'failed'} */ loadingOlder = 'no';
  /** The feed's connection. @type {import('../client.js').Phase} */ phase = 'connecting';
  /** Since when it hears of what runs do now; null while it does not. @type {number | null} */ hearsSince = null;
  reason = '';
  /** When the feed tries next. @type {number | null} */ retryAt = null;
  /** Why the list is not kept. @type {unknown} */ fault = null;
  /** What to add to this machine's time to have the server's. */ skewMs = 0;
  #session;
  /** @type {SharedFeed | null} */ #feed = null;
  #generation = -1;
  /** Runs that are being asked for. @type {Set<string>} */ #asked = new Set();

  /** @param {Session} session */
  constructor(session) {
    super();
    this.#session = session;
    session.subscribe(() => this.#begin());
    this.#begin();
  }

  /** Begin anew for whoever is signed in now. */
  #begin() {
    if (this.#session.generation === this.#generation) return;
    this.#generation = this.#session.generation;
    this.#feed?.close();
    this.#feed = null;
    this.index = new RunIndex();
    this.#asked = new Set();
    Object.assign(this, {loaded: false, older: null, fault: null, phase: 'connecting', hearsSince: null, reason: '', retryAt: null});
    this.changed();
    if (this.#session.wants === 'nothing') this.#open(this.#generation);
  }

  /** Try again after a fault. */
  again() {
    this.#generation = -1;
    this.#begin();
  }

  /** @param {number} generation */
  #open(generation) {
    this.#feed = new SharedFeed(this.#session.watching, this.#session.who || 'local', {
      onReady: () => void this.#list(generation),
      onFrame: (frame) => {
        if (frame.kind === 'entry') this.#apply(frame);
        if (frame.kind === 'heartbeat') this.#setClock(Date.parse(frame.data.ts));
      },
      onState: (phase, reason, retryInMs) => {
        if (isAway(this) && (phase === 'live' || phase === 'catching-up')) this.#session.back();
        this.phase = phase;
        this.reason = reason;
        this.retryAt = retryInMs === null ? null : Date.now() + retryInMs;
        this.hearsSince = phase === 'live' ? (this.hearsSince ?? Date.now()) : null;
        this.changed();
      },
      onError: (error) => this.#failed(error),
      onNote: (note) => note.removed && this.#drop(note.removed),
    });
  }

  /** @param {number} now by the server's clock */
  #setClock(now) {
    const skewMs = now - Date.now();
    if (!(Math.abs(skewMs - this.skewMs) > SKEW_MS)) return;
    this.skewMs = skewMs;
    this.changed();
  }

  /** @param {unknown} error */
  #failed(error) {
    if (this.#session.refused(error)) return;
    this.fault = error;
    this.changed();
  }

  /** What there is now. The feed is open: what comes meanwhile is applied. @param {number} generation */
  async #list(generation) {
    const {watching} = this.#session;
    const known = [...this.index.runs.keys()];
    const {moment} = this.index;
    try {
      const page = await watching.runs({limit: PAGE});
      const going = [];
      for (const state of ['awaiting_approval', 'executing', 'stopping', 'queued']) {
        let cursor = page.next === null ? null : '';
        for (let pages = 0; cursor !== null && pages < GOING_PAGES; pages++) {
          const more = await watching.runs({state, limit: PAGE, ...(cursor && {cursor})});
          going.push(...more.runs);
          cursor = more.next;
        }
      }
      if (generation !== this.#generation) return;
      const listed = [...page.runs, ...going];
      const there = new Set(listed.map((item) => item.run_id));
      // What was known before and is not listed now has gone with its store, or is for "older" to bring.
      this.index.forget(known.filter((runId) => !there.has(runId)));
      for (const item of listed) this.index.put(item, moment);
      this.older = page.next;
      this.loaded = true;
      this.fault = null;
      this.changed();
    } catch (error) {
      if (generation === this.#generation) this.#failed(error);
    }
  }

  async loadOlder() {
    if (this.older === null || this.loadingOlder === 'loading') return;
    const generation = this.#generation;
    const {moment} = this.index;
    this.loadingOlder = 'loading';
    this.changed();
    try {
      const page = await this.#session.jackline.runs({limit: PAGE, cursor: this.older});
      if (generation !== this.#generation) return;
      for (const item of page.runs) this.index.put(item, moment);
      this.older = page.next;
      this.loadingOlder = 'no';
    } catch (error) {
      this.loadingOlder = 'failed';
      this.#session.refused(error);
    }
    this.changed();
  }

  /** @param {{type: string, runId: string, seq: number, data: Data}} entry */
  #apply({type, runId, seq, data}) {
    if (!this.index.apply(type, runId, seq, data)) void this.ask(runId);
    this.changed();
  }

  /** Ask the server how a run stands: of one that is not in the list, or to know why it waits. @param {string} runId */
  async ask(runId) {
    if (this.#asked.has(runId)) return;
    const generation = this.#generation;
    const asked = this.#asked;
    const {moment} = this.index;
    asked.add(runId);
    try {
      const item = itemOf(await this.#session.jackline.run(runId));
      if (generation === this.#generation) this.index.put(item, moment);
    } catch (error) {
      // It is gone meanwhile; or nobody answers, and its next entry asks again.
      if (generation === this.#generation && error instanceof Refused && error.status === 404) this.index.remove(runId);
    } finally {
      asked.delete(runId);
    }
    this.changed();
  }

  /** Delete finished runs on the server. Throws what it said. @param {RunItem} run @param {boolean} whole the conversation with all its runs */
  async remove(run, whole) {
    const {jackline} = this.#session;
    try {
      await (whole ? jackline.deleteConversation(run.conversation_id) : jackline.deleteRun(run.run_id));
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error; // somebody else was faster
    }
    const gone = whole ? this.index.ofConversation(run.conversation_id) : [run];
    const removed = gone.map((each) => each.run_id);
    this.#feed?.tell({removed});
    this.#drop(removed);
  }

  /** The server was found not to have a run; it may have it again, once it has its own store back. @param {string} runId */
  gone(runId) {
    if (!this.index.runs.has(runId)) return;
    this.index.forget([runId]);
    this.changed();
  }

  /** @param {string[]} runIds */
  #drop(runIds) {
    for (const runId of runIds) this.index.remove(runId);
    this.changed();
  }
}
