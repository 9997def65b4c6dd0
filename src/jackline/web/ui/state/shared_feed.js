/**
 * One feed for all tabs of a browser. A browser has six HTTP/1.1 connections to a server, for all of its tabs
 * together: a feed in each would leave none for a stop. So one tab, the leader, holds it, and hands what comes to
 * the others over a BroadcastChannel. A Web Lock says who leads: when that tab is closed, the next one goes on, from
 * the cursor that it had read of. A tab that is looked at takes the lead from one that is hidden, whose timers the
 * browser slows down. Where there are no Web Locks (pages without TLS, but for localhost), each tab that is looked
 * at has a feed of its own.
 * @module
 */
import {Refused} from '../client.js';
import {OWN} from './storage.js';

/** @typedef {Record<string, any>} Data */
/** @typedef {import('../client.js').Phase} Phase */
/** @typedef {{kind: 'ready' | 'heartbeat' | 'gap' | 'shutdown', data: Data}
 *   | {kind: 'entry', type: string, runId: string, seq: number, id: string, data: Data}} FeedFrame */
/**
 * @typedef {object} Listener
 * @property {() => void} onReady from now on nothing is missed; told again after everything was lost
 * @property {(frame: FeedFrame) => void} onFrame
 * @property {(phase: Phase, reason: string, retryInMs: number | null) => void} onState
 * @property {(error: unknown) => void} onError the feed is over
 * @property {(note: Data) => void} onNote what another tab of this browser told
 */
/**
 * @typedef {{kind: 'hello'} | {kind: 'here'} | {kind: 'welcome', cursor: string, hidden: boolean, phase: Phase, reason: string,
 *   retryInMs: number | null} | {kind: 'frame', frame: FeedFrame, cursor: string | null}
 *   | {kind: 'state', phase: Phase, reason: string, retryInMs: number | null} | {kind: 'note', note: Data}} Message
 */

/** How often the leader says that it is there. The server may say nothing for longer: its heartbeat is a setting. */
const HERE_MS = 10_000;
/** After which silence of the leader another tab takes over: it may be frozen. */
const SILENT_MS = 45_000;
/** How long to wait for a leader's first word: a dead one would have lost its lock at once, only a frozen one says nothing. */
const WELCOME_MS = 15_000;
/** How long a tab without Web Locks keeps its feed while nobody looks at it. */
const LEAVE_MS = 5_000;
/** What a tab makes up where the server knows the cursor no more: all is to be listed anew. @type {FeedFrame} */
const GAP = {kind: 'gap', data: {}};

export class SharedFeed {
  /** @type {AbortController | null} */ #leading = null;
  #jackline;
  #listener;
  #name;
  #closing = new AbortController();
  /** @type {BroadcastChannel | null} */ #channel = null;
  /** @type {string | null} */ #cursor = null;
  /** @type {{phase: Phase, reason: string, retryInMs: number | null}} */
  #state = {phase: 'connecting', reason: '', retryInMs: null};
  #heardAt = Date.now();
  /** @type {ReturnType<typeof setInterval> | undefined} */ #here;
  /** Whether a leader has ever said anything. */ #heard = false;
  #welcomed = false;
  #stealing = false;
  /** Whether the server has another store than the one that was read of. */ #anew = false;

  /**
   * @param {import('../client.js').Jackline} jackline @param {string} name of the principal's feed: tabs with another key have another
   * @param {Listener} listener
   */
  constructor(jackline, name, listener) {
    this.#jackline = jackline;
    this.#name = `${OWN}feed:${name}`;
    this.#listener = listener;
    if (!navigator.locks || typeof BroadcastChannel === 'undefined') {
      void this.#alone();
      return;
    }
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({data}) => this.#hear(/** @type {Message} */ (data));
    document.addEventListener('visibilitychange', this.#turnedTo, {signal: this.#closing.signal});
    // What was told while the browser had this page put away was not heard.
    const back = () => this.#listener.onReady();
    addEventListener('pageshow', (event) => event.persisted && back(), {signal: this.#closing.signal});
    document.addEventListener('resume', back, {signal: this.#closing.signal});
    const timer = setInterval(this.#look, 1000);
    this.#closing.signal.addEventListener('abort', () => clearInterval(timer));
    this.#send({kind: 'hello'});
    void this.#queue();
  }

  close() {
    this.#closing.abort();
    this.#channel?.close();
  }

  /** Tell the other tabs of this browser something that the server's feed has no entry for. @param {Data} note */
  tell(note) { this.#send({kind: 'note', note}); }

  // -- as one of several tabs

  /** Whether this tab holds the feed. */
  get leads() { return this.#leading !== null && !this.#leading.signal.aborted; }

  /** Wait for the lead, again after it was taken away. */
  async #queue() {
    while (!this.#closing.signal.aborted) {
      if (await this.#request({signal: this.#closing.signal})) continue;
      return this.#alone();
    }
  }

  /** Take the lead, whoever has it. */
  async #steal() {
    if (this.#stealing) return;
    this.#stealing = true;
    await this.#request({steal: true});
    this.#stealing = false;
  }

  /** False where the browser gives no locks here. @param {LockOptions} options */
  async #request(options) {
    /** @type {AbortController | null} */ let leading = null;
    try {
      await navigator.locks.request(this.#name, options, () => {
        this.#stealing = false;
        leading = new AbortController();
        return this.#lead(leading);
      });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      /** @type {AbortController | null} */ (leading)?.abort();
      // Aborted: another tab has taken the lead, or this one is being closed.
      return error.name === 'AbortError';
    }
    return true;
  }

  /** Hold the feed for as long as the lock is this tab's. @param {AbortController} leading */
  async #lead(leading) {
    if (this.#closing.signal.aborted) return;
    this.#leading = leading;
    this.#closing.signal.addEventListener('abort', () => leading.abort(), {signal: leading.signal});
    this.#sayHere(true);
    leading.signal.addEventListener('abort', () => this.#sayHere(false));
    await this.#read(leading.signal);
    leading.abort();
    this.#heardAt = Date.now();
  }

  /** @param {Message} message */
  #hear(message) {
    if (message.kind === 'note') return this.#listener.onNote(message.note);
    if (message.kind === 'hello') {
      if (this.leads) this.#welcome();
      return undefined;
    }
    if (this.leads) return undefined; // the last words of the one whose lead this tab has taken
    this.#heardAt = Date.now();
    this.#heard = true;
    if (message.kind === 'here') return undefined;
    if (message.kind === 'welcome') {
      this.#cursor = message.cursor || this.#cursor;
      this.#tellState(message);
      if (message.hidden && !document.hidden) void this.#steal();
      if (message.cursor && !this.#welcomed) {
        this.#welcomed = true;
        this.#listener.onReady();
      }
    } else if (message.kind === 'state') {
      this.#tellState(message);
    } else {
      this.#cursor = message.cursor ?? this.#cursor;
      this.#take(message.frame);
    }
    return undefined;
  }

  #welcome() {
    const {phase, reason, retryInMs} = this.#state;
    this.#send({kind: 'welcome', cursor: this.#cursor ?? '', hidden: document.hidden, phase, reason, retryInMs});
  }

  /** Ask who leads: where it is a tab that is hidden, this one takes the lead. */
  #turnedTo = () => {
    if (!document.hidden && !this.leads) this.#send({kind: 'hello'});
    this.#look();
  };

  /** Take over from a leader that says nothing. */
  #look = () => {
    if (document.hidden || this.leads) return;
    const silent = Date.now() - this.#heardAt;
    if (silent > (this.#heard ? SILENT_MS : WELCOME_MS)) {
      this.#heardAt = Date.now();
      void this.#steal();
    }
  };

  /** @param {Message} message */
  #send(message) {
    if (!this.#closing.signal.aborted) this.#channel?.postMessage(message);
  }

  // -- the feed itself

  /** @param {AbortSignal} signal @returns {Promise<void>} */
  async #read(signal) {
    const feed = this.#jackline.feed({
      after: this.#cursor ?? 'now',
      signal,
      onState: (phase, reason, retryInMs) => {
        if (signal.aborted) return;
        this.#send({kind: 'state', phase, reason, retryInMs});
        this.#tellState({phase, reason, retryInMs});
      },
    });
    try {
      for await (const each of feed) {
        if (signal.aborted) return;
        const frame = /** @type {FeedFrame} */ (each);
        this.#cursor = feed.cursor ?? this.#cursor;
        this.#send({kind: 'frame', frame, cursor: this.#cursor});
        if (frame.kind === 'ready') this.#welcome();
        this.#take(frame);
        if (frame.kind === 'ready' && this.#anew) {
          this.#anew = false;
          this.#send({kind: 'frame', frame: GAP, cursor: this.#cursor});
          this.#take(GAP);
        }
      }
    } catch (error) {
      if (!signal.aborted && error instanceof Refused && error.status === 400 && this.#cursor !== null) {
        this.#cursor = null;
        this.#anew = true;
        return this.#read(signal);
      }
      if (!signal.aborted) this.#listener.onError(error);
      this.#sayHere(false);
      // The lock stays with this tab: another would fail as well. Signing in makes a new feed.
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    }
  }

  /** Tell the other tabs now and then that the feed is read here; not any more once it has failed. @param {boolean} here */
  #sayHere(here) {
    clearInterval(this.#here);
    if (here) this.#here = setInterval(() => this.#send({kind: 'here'}), HERE_MS);
  }

  /** @param {FeedFrame} frame */
  #take(frame) {
    if (frame.kind === 'ready' && !this.#welcomed) {
      this.#welcomed = true;
      this.#listener.onReady();
    }
    this.#listener.onFrame(frame);
    if (frame.kind === 'gap') this.#listener.onReady();
  }

  /** @param {{phase: Phase, reason: string, retryInMs: number | null}} state */
  #tellState({phase, reason, retryInMs}) {
    this.#state = {phase, reason, retryInMs};
    this.#listener.onState(phase, reason, retryInMs);
  }

  // -- as a tab by itself

  /** A feed while the page is looked at. */
  async #alone() {
    const {signal} = this.#closing;
    while (!signal.aborted) {
      await shown(signal);
      if (signal.aborted) return;
      const reading = new AbortController();
      const over = new AbortController();
      signal.addEventListener('abort', () => reading.abort(), {signal: over.signal});
      whenHidden(LEAVE_MS, () => reading.abort(), over.signal);
      await this.#read(reading.signal);
      over.abort();
    }
  }
}

/** Resolves while the page is looked at. @param {AbortSignal} signal @returns {Promise<void>} */
export function shown(signal) {
  return new Promise((resolve) => {
    if (!document.hidden || signal.aborted) return resolve();
    const over = new AbortController();
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      over.abort();
      resolve();
    };
    document.addEventListener('visibilitychange', look, {signal: over.signal});
    signal.addEventListener('abort', look, {signal: over.signal});
    return undefined;
  });
}

/** Call `leave` once the page has been hidden for `ms`. @param {number} ms @param {() => void} leave @param {AbortSignal} over */
export function whenHidden(ms, leave, over) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(leave, ms);
  };
  document.addEventListener('visibilitychange', look, {signal: over});
  over.addEventListener('abort', () => clearTimeout(timer));
  look();
}
