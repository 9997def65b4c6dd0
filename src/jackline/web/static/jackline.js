// @ts-check
/**
 * Jackline in JavaScript: start runs, follow them, answer their questions, stop them. One module without
 * dependencies, for browsers and Node. All times are milliseconds.
 * @module
 */

/**
 * @typedef {'connecting' | 'live' | 'catching-up' | 'reconnecting' | 'ended'} Phase
 *   Of a followed run's connection; `catching-up`: what comes was written before it was opened.
 * @typedef {Record<string, any>} Data JSON as it is on the wire, members of later versions included
 * @typedef {{kind: 'ready' | 'heartbeat' | 'end' | 'shutdown', data: Data}} Sign
 * @typedef {{kind: 'gap', id: string | null, data: Data}} Gap
 *   The entries `data.from` … `data.to` cannot be had any more; `data.snapshot` says how the run stands.
 * @typedef {{kind: 'entry', type: string, seq: number, first: number, id: string, data: Data}} Entry
 *   An entry of the log. `first` … `seq` is what it stands for: more than one where tokens were merged.
 * @typedef {Sign | Gap | Entry} Frame
 * @typedef {(phase: Phase, reason: string, retryInMs: number | null) => void} OnState
 *   Told whenever the connection's state changes; `retryInMs`: when the next try is.
 * @typedef {{signal?: AbortSignal, key?: string}} Sending
 *   `key`: the Idempotency-Key of a POST, to send the same again later; made by chance if it is missing.
 * @typedef {object} FollowOptions
 * @property {string | number | null} [after] the cursor to begin after: a `seq`, or an entry's `id`
 * @property {'pause'} [until] end also where the run waits for a person
 * @property {boolean} [compact] false: never merge tokens
 * @property {'fetch' | 'eventsource'} [via] how streams are read
 * @property {OnState} [onState]
 * @property {AbortSignal} [signal]
 * @typedef {object} Wish What a run is started with.
 * @property {string} [conversationId] go on with this conversation
 * @property {string} [agent]
 * @property {'queue' | 'stop'} [onBusy] what to do where the conversation has an active run; else 409
 * @property {Data} [metadata]
 * @property {Data} [limits]
 * @typedef {{approve: boolean, args?: Data, reason?: string, round?: number}
 *   | {outcome: 'retry' | 'done' | 'abort', result?: unknown, reason?: string, round?: number}} Decision
 *   `round`: of the question that is answered; a later one about the same call is then never taken for it.
 * @typedef {object} StopOptions
 * @property {string} [reason]
 * @property {'immediate' | 'after_step'} [mode]
 * @property {number} [waitMs] answer when the run is quiet, at the latest after so long
 * @typedef {Record<string, string | number | boolean | null | undefined>} Query
 * @typedef {{method: 'GET' | 'POST' | 'DELETE', path: string, query?: Query, body?: string, key?: string,
 *   headers?: Record<string, string>}} Call One request as it is sent, also the second time.
 */

/**
 * The client's times. A stream silent for `silentHeartbeats` of the server's heartbeats, learned from the
 * stream, is taken for dead; so is an answer of which nothing came for `requestMs`, or for `stopMs` at the first try
 * of a stop, twice as long at each one after it: it is accepted at once. `firstBudgetMs` is how long a
 * request, or a stream that never opened, keeps being tried, `followBudgetMs` the same for a stream that was open
 * once. A stream without a first frame after `readyMs` may be held back on its way: the run is then followed by
 * polling. Tries are `backoffMs` apart, doubling up to `backoffCapMs`, for a command up to `commandCapMs`: a stop is
 * not to wait for long once the server is back.
 */
export const PACE = Object.freeze({
  heartbeatMs: 15_000,
  silentHeartbeats: 2.5,
  requestMs: 30_000,
  stopMs: 5_000,
  firstBudgetMs: 30_000,
  followBudgetMs: 300_000,
  readyMs: 10_000,
  againMs: 300_000, // while it is polled, how often a stream is tried again
  backoffMs: 500,
  backoffCapMs: 20_000,
  commandCapMs: 2_000,
  tickMs: 1_000,
});

/** @typedef {{-readonly [name in keyof typeof PACE]: number}} Pace */

const API = '/api/v1/agent';
const STREAM = 'text/event-stream';
const JSON_TYPE = 'application/json';
const SAME_HOLE = 3; // a hole may come from one bad connection; the same one three times stands in the log
const REMEMBERED = 4096; // entries of the feed, so that each is handed out once: some 300 KB
const LONGEST_RETRY_MS = 300_000;
const POLLING = 'by polling, since something on the way holds streams back; see: jackline doctor';
const ANOTHER_NETWORK = 'the network may be another';
const LEFT = new Error('left');
const NOW = 'now'; // the feed's cursor of what comes from then on

const NAMES = ['ready', 'workflow', 'token', 'tool', 'approval', 'heartbeat', 'gap', 'end', 'shutdown'];

// -- errors --------------------------------------------------------------------------------------

/** Root of what the client throws; besides it only an aborted signal's reason, and TypeError for misuse. */
export class JacklineError extends Error {}

/** Nobody answered until the budget was over. A POST may have arrived: send it again with the same key only. */
export class Unreachable extends JacklineError {
  name = 'Unreachable';

  /** @param {string} url @param {string} reason @param {number} triedMs */
  constructor(url, reason, triedMs) {
    super(`${url} is not reachable: ${reason}`);
    this.reason = reason;
    this.triedMs = triedMs;
  }
}

/** The server said no. `problem` is its problem document (RFC 9457), with `errors`: the fields at fault. */
export class Refused extends JacklineError {
  name = 'Refused';

  /** @param {number} status @param {Data} problem @param {number | null} retryAfterMs */
  constructor(status, problem, retryAfterMs) {
    const detail = String(problem.detail ?? problem.title ?? '');
    super(`${status} ${detail}`.trim());
    this.status = status;
    this.problem = problem;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What answers is no Jackline, or its log has a hole that stays. */
export class ProtocolViolation extends JacklineError {
  name = 'ProtocolViolation';
}

/** A try that failed in a way that another may not. Never leaves this module. */
class Failed extends Error {
  /**
   * @param {string} reason
   * @param {{atLeastMs?: number, connected?: boolean, silent?: boolean, atOnce?: boolean}} [how] how long the
   *   server asked to wait; whether there was a connection; whether nothing came on it; whether not to wait
   */
  constructor(reason, {atLeastMs = 0, connected = true, silent = false, atOnce = false} = {}) {
    super(reason);
    this.atLeastMs = atLeastMs;
    this.connected = connected;
    this.silent = silent;
    this.atOnce = atOnce;
  }
}

// -- Server-Sent Events --------------------------------------------------------------------------

/**
 * @typedef {{event: string, data: string, id: string | null, lastEventId: string}} ServerSentEvent
 *   `id` is the id that this very event carried, `lastEventId` what EventSource would report.
 */

/** Reads one stream as the WHATWG HTML standard says, however it was cut into chunks. */
export class Decoder {
  lastEventId = '';
  /** @type {number | null} */ retryMs = null;
  #utf8 = new TextDecoder();
  #partial = '';
  #afterCr = false;
  #id = '';
  #size = 0;
  /** @type {string[]} */ #data = [];
  #event = '';
  /** @type {string | null} */ #ownId = null;
  #limit;

  /** @param {number} [limit] characters that an unfinished event may have: a broken server must not fill the memory */
  constructor(limit = 64 << 20) { this.#limit = limit; }

  /**
   * The events that `chunk` completes, in order. Throws RangeError for one above the limit.
   * @param {Uint8Array} chunk
   */
  feed(chunk) {
    let text = this.#utf8.decode(chunk, {stream: true});
    /** @type {ServerSentEvent[]} */ const events = [];
    if (text === '') return events;
    if (this.#afterCr && text[0] === '\n') text = text.slice(1);
    // A CR ends its line at once; whether it was half of a CRLF only the next chunk tells.
    this.#afterCr = text === '' ? false : text.endsWith('\r');
    let start = 0;
    for (const end of text.matchAll(/\r\n|\r|\n/g)) {
      const line = this.#partial + text.slice(start, end.index);
      this.#partial = '';
      start = end.index + end[0].length;
      if (line !== '') this.#field(line);
      else this.#dispatch(events);
    }
    this.#partial += text.slice(start);
    if (this.#size + this.#partial.length > this.#limit) throw new RangeError(`an event is larger than ${this.#limit}`);
    return events;
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') {
      this.#data.push(value);
      this.#size += value.length + 1;
      if (this.#size > this.#limit) throw new RangeError(`an event is larger than ${this.#limit}`);
    } else if (name === 'event') {
      this.#event = value;
    } else if (name === 'id' && !value.includes('\0')) {
      this.#id = this.#ownId = value;
    } else if (name === 'retry' && /^[0-9]{0,15}$/.test(value)) {
      this.retryMs = value === '' ? null : Number(value);
    }
  }

  /** @param {ServerSentEvent[]} events */
  #dispatch(events) {
    this.lastEventId = this.#id;
    if (this.#data.length > 0) {
      const data = this.#data.join('\n');
      events.push({event: this.#event || 'message', data, id: this.#ownId, lastEventId: this.#id});
    }
    this.#data = [];
    this.#size = 0;
    this.#event = '';
    this.#ownId = null;
  }
}

/**
 * The frame of an event, null for one that this version does not know. Throws ProtocolViolation for a known
 * one that lacks what it must have.
 * @param {string} name @param {string | null} id @param {string | Data} json
 * @returns {Frame | null}
 */
function parse(name, id, json) {
  /** @param {string[]} members @param {Data} data */
  const need = (members, data) => {
    for (const member of members) {
      if (!Number.isSafeInteger(data[member])) throw new TypeError(`${member} is no whole number`);
    }
    return data;
  };
  try {
    if (!NAMES.includes(name) && !id) return null;
    const data = typeof json === 'string' ? JSON.parse(json) : json;
    if (data === null || typeof data !== 'object' || Array.isArray(data)) throw new TypeError('no JSON object');
    switch (name) {
      case 'ready':
      case 'end':
        return {kind: name, data: need(['seq'], data)};
      case 'heartbeat':
      case 'shutdown':
        return {kind: name, data};
      case 'gap':
        return {kind: name, id, data: need(['from', 'to'], data)};
    }
    if (!id) return null;
    const {seq, merged_from: merged} = need(['seq'], data);
    return {kind: 'entry', type: name, seq, first: merged || seq, id, data};
  } catch (error) {
    throw new ProtocolViolation(`a '${name}' frame that cannot be read: ${error}`);
  }
}

// -- waiting -------------------------------------------------------------------------------------

/** The waits between tries: doubling, each with up to half as much again by chance. */
class Backoff {
  #failures = 0;
  #server;

  /** @param {Server} server */
  constructor(server) {
    this.#server = server;
    this.baseMs = server.pace.backoffMs;
  }

  /** The stream works: the next failure is a first one. */
  progress() { this.#failures = 0; }

  /**
   * How long to wait now. Throws Unreachable where the budget is used up, or would be while waiting for as
   * long as the server asked.
   * @param {Failed} failed @param {number} since @param {number} budgetMs @param {Call} call what is tried again
   */
  next(failed, since, budgetMs, call) {
    const {url, pace, chance, clock} = this.#server;
    const tried = Math.max(0, clock() - since);
    const left = budgetMs - tried;
    if (left <= 0 || failed.atLeastMs > left) throw new Unreachable(url, failed.message, tried);
    if (failed.atOnce) return 0;
    const cap = call.method === 'GET' ? pace.backoffCapMs : Math.min(pace.commandCapMs, pace.backoffCapMs);
    const wait = Math.min(this.baseMs * 2 ** Math.min(this.#failures++, 10), Math.max(cap, this.baseMs));
    return Math.min(Math.max(wait, failed.atLeastMs) * (1 + chance() / 2), left);
  }
}

/** Learns the server's heartbeat: how much silence is too much. */
class Pulse {
  #interval;
  #factor;
  /** @type {number[]} */ #seen = [];
  /** @type {number | null} */ #last = null;

  /** @param {Pace} pace */
  constructor(pace) {
    this.#interval = pace.heartbeatMs;
    this.#factor = pace.silentHeartbeats;
  }

  get limitMs() { return this.#interval * this.#factor; }

  get learnedMs() { return this.#seen.length === 0 ? null : this.#interval; }

  opened() { this.#last = null; }

  /** @param {number} sent when, by the server's clock: a slow network changes nothing between two of them */
  beat(sent) {
    const last = this.#last;
    this.#last = sent;
    if (last === null || sent <= last) return;
    // Two in one burst must not shrink the patience to nothing, nor may one that came early.
    this.#seen = [...this.#seen, Math.min(Math.max(sent - last, 200), 300_000)].slice(-3);
    this.#interval = Math.max(...this.#seen);
  }

  /** A connection was given up. Where no heartbeat was ever timed, the server's may be slower than assumed. */
  gaveUp() {
    if (this.#seen.length === 0) this.#interval = Math.min(this.#interval * 2, 300_000);
  }
}

// -- one server ----------------------------------------------------------------------------------

/**
 * A promise that `signal` rejects. What `arrange` sets up is undone by `over`, once it is settled.
 * @template T @param {AbortSignal} signal
 * @param {(resolve: (value: T) => void, reject: (reason: unknown) => void, over: AbortSignal) => void} arrange
 * @returns {Promise<T>}
 */
function settled(signal, arrange) {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    /** @param {unknown} reason */
    const no = (reason) => {
      over.abort();
      reject(reason);
    };
    if (signal.aborted) return no(signal.reason);
    signal.addEventListener('abort', () => no(signal.reason), {signal: over.signal});
    arrange(
      (value) => {
        over.abort();
        resolve(value);
      },
      no,
      over.signal,
    );
  });
}

/** @param {string | null} value what a `Retry-After` header (RFC 9110, 10.2.3) asks for @param {number} now */
function retryAfter(value, now) {
  if (value === null) return null;
  if (/^\s*[0-9]+\s*$/.test(value)) return Number(value) * 1000;
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? null : Math.max(0, moment - now);
}

/** An id as one segment of a path. @param {string} name */
function segment(name) {
  if (['', '.', '..'].includes(name)) throw new TypeError(`'${name}' is not an id`);
  return encodeURIComponent(name);
}

/** @param {Query} query @returns {string} */
function search(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/** What a proxy, a full server or one that starts anew answers. @param {number} status */
const isPassing = (status) =>
  [408, 425, 429].includes(status) || (status >= 500 && status !== 501 && status !== 505);

/** @param {Response} response */
const mediaType = (response) => (response.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase();

/** A server over HTTP: what is sent, tried again, and given up. No frames here. */
class Server {
  /** Whether something on the way was seen to hold streams back. */ holdsBack = false;
  /** How often the network came back: what was opened before is not to be trusted. */ network = 0;
  #wakes = new EventTarget();

  /** @param {string} url @param {Options} options */
  constructor(url, options) {
    if (!/^https?:$/.test(new URL(url).protocol)) throw new TypeError(`${url} is not an address of a server`);
    this.url = url.replace(/\/+$/, '');
    this.token = options.token;
    /** @type {Pace} */
    this.pace = {...PACE, ...options.pace};
    this.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.EventSource = options.EventSource ?? globalThis.EventSource;
    this.clock = options.clock ?? Date.now;
    this.chance = options.chance ?? Math.random;
  }

  /** Look now instead of at the next tick. @param {boolean} drop the open connections are not to be trusted */
  wake(drop) {
    if (drop) {
      this.network += 1;
      this.holdsBack = false; // whatever held streams back may not be on the way any more
      this.#wakes.dispatchEvent(new Event('drop'));
    }
    this.#wakes.dispatchEvent(new Event('wake'));
  }

  /** Wait, but no longer when woken. @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
  sleep(ms, signal) {
    return settled(signal, (resolve, _, over) => {
      const timer = setTimeout(resolve, ms);
      over.addEventListener('abort', () => clearTimeout(timer));
      this.#wakes.addEventListener('wake', () => resolve(), {signal: over});
    });
  }

  /**
   * What `work` comes to, which `trying` aborts. Throws Failed once nothing came of it for `limitMs`, counted anew
   * whenever it calls `heard`, or when it is not to be trusted any more. This goes by the wall clock, looked at
   * often: timers sleep with a laptop, and in the tabs that nobody looks at.
   * @template T @param {(heard: () => void) => Promise<T>} work @param {number} limitMs @param {AbortController} trying
   * @param {string} silent the reason
   * @returns {Promise<T>}
   */
  watch(work, limitMs, trying, silent = 'no answer within') {
    let began = this.clock();
    const working = work(() => {
      began = this.clock();
      silent = 'silent for';
    });
    working.catch(() => {}); // what is given up may still fail
    return settled(trying.signal, (resolve, reject, over) => {
      /** @param {Failed} failed */
      const giveUp = (failed) => {
        reject(failed);
        trying.abort(failed);
      };
      const look = () => {
        const now = this.clock();
        began = Math.min(began, now); // the clock may have been set back
        if (now - began > limitMs) giveUp(new Failed(`${silent} ${limitMs / 1000} s`, {silent: true}));
      };
      const timer = setInterval(look, Math.min(this.pace.tickMs, limitMs / 4));
      over.addEventListener('abort', () => clearInterval(timer));
      this.#wakes.addEventListener('wake', look, {signal: over});
      const dropped = () => giveUp(new Failed(ANOTHER_NETWORK, {atOnce: true}));
      this.#wakes.addEventListener('drop', dropped, {signal: over});
      working.then(resolve, reject);
    });
  }

  /** One try. Throws Failed, Refused. @param {Call} call @param {string} accept @param {AbortSignal} signal */
  async send(call, accept, signal) {
    /** @type {Record<string, string>} */ const headers = {Accept: accept, ...call.headers};
    // A proxy that compresses a stream holds it back until its buffer is full. Browsers do not let us say so.
    if (accept === STREAM) headers['Accept-Encoding'] = 'identity';
    if (call.body !== undefined) headers['Content-Type'] = JSON_TYPE;
    if (call.key !== undefined) headers['Idempotency-Key'] = call.key;
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const {method, body} = call;
    /** @type {RequestInit} */
    const init = {method, headers, signal, cache: 'no-store', redirect: 'manual', ...(body !== undefined && {body})};
    let response;
    try {
      response = await this.fetch(this.url + call.path + search(call.query ?? {}), init);
    } catch (error) {
      signal.throwIfAborted();
      throw new Failed(`no connection: ${error instanceof Error ? error.message : error}`, {connected: false});
    }
    if (response.ok) return response;
    const wait = retryAfter(response.headers.get('retry-after'), this.clock());
    const refused = new Refused(response.status, await this.#problem(response), wait);
    throw isPassing(response.status) ? new Failed(`it answers ${refused.message}`, {atLeastMs: wait ?? 0}) : refused;
  }

  /** @param {Response} response @returns {Promise<Data>} */
  async #problem(response) {
    const {status, statusText: title, type} = response;
    if (type === 'opaqueredirect' || (status >= 300 && status < 400)) {
      await response.body?.cancel();
      const target = response.headers.get('location') ?? 'somewhere else';
      return {title, status, detail: `redirects to ${target}; use that address`};
    }
    const document = await response.json().catch(() => null);
    return {title, status, ...(document !== null && typeof document === 'object' && document)};
  }

  /**
   * One try for a whole answer, however long that takes: the response, and its body read by `how`. Throws Failed,
   * also once nothing came for `limitMs`, and Refused.
   * @template T @param {Call} call @param {number} limitMs @param {AbortController} trying
   * @param {string} accept @param {(response: Response, url: string) => Promise<T>} how
   */
  once(call, limitMs, trying, accept, how) {
    /** @param {() => void} heard */
    const work = async (heard) => {
      const response = await this.send(call, accept, trying.signal);
      heard();
      try {
        return {response, body: await how(listened(response, heard), response.url)};
      } catch (error) {
        if (error instanceof JacklineError) throw error;
        throw new Failed(`the answer was cut: ${error}`);
      }
    };
    return this.watch(work, limitMs, trying);
  }

  /**
   * The whole answer, tried again within the budget. Throws Refused, Unreachable, ProtocolViolation.
   * @template T @param {Call} call
   * @param {{signal?: AbortSignal | undefined, waitMs?: number, firstMs?: number, accept?: string}} options
   *   `waitMs`: how much longer than usual it may be silent; `firstMs`: how long usual is for the first try, doubled for
   *   each one after it up to `requestMs`
   * @param {(response: Response, url: string) => Promise<T>} how
   */
  async request(call, {signal, waitMs = 0, firstMs = Infinity, accept = JSON_TYPE}, how) {
    let silenceMs = Math.min(firstMs, this.pace.requestMs);
    const backoff = new Backoff(this);
    const since = this.clock();
    const whole = chained(signal);
    try {
      for (;;) {
        try {
          return await this.once(call, silenceMs + waitMs, chained(whole.signal), accept, how);
        } catch (error) {
          whole.signal.throwIfAborted();
          if (!(error instanceof Failed)) throw error;
          silenceMs = Math.min(2 * silenceMs, this.pace.requestMs);
          await this.sleep(backoff.next(error, since, this.pace.firstBudgetMs, call), whole.signal);
        }
      }
    } finally {
      whole.abort(LEFT);
    }
  }

  /** @param {Call} call @param {{signal?: AbortSignal, waitMs?: number, firstMs?: number}} [options] @returns {Promise<Data>} */
  async json(call, options = {}) { return (await this.request(call, options, readObject)).body; }
}

/** A controller that `signal` aborts too. @param {AbortSignal | undefined} signal */
function chained(signal) {
  const own = new AbortController();
  if (signal?.aborted) own.abort(signal.reason);
  signal?.addEventListener('abort', () => own.abort(signal.reason), {signal: own.signal});
  return own;
}

/** The same, telling `heard` of each part of its body. @param {Response} response @param {() => void} heard */
function listened(response, heard) {
  // Chromium gives a 204 a body, and takes none back for it.
  if (response.body === null || response.status === 204) return response;
  /** @type {Transformer<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>} */
  const telling = {
    transform(part, controller) {
      heard();
      controller.enqueue(part);
    },
  };
  return new Response(response.body.pipeThrough(new TransformStream(telling)), response);
}

/** @param {Response} response @param {string} url @returns {Promise<Data>} */
async function readObject(response, url) {
  const text = await response.text();
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new ProtocolViolation(`${url} answers what is not JSON`);
  }
  if (data === null || typeof data !== 'object' || Array.isArray(data)) {
    throw new ProtocolViolation(`${url} answers JSON that is not an object`);
  }
  return data;
}

// -- streams -------------------------------------------------------------------------------------

/** @typedef {{read(): Promise<ServerSentEvent[] | null>, close(): void, retryMs: number | null}} Stream
 *   `read` gives what came next, null where the connection has ended; `retryMs`: what `retry:` asked for. */

/** A stream over fetch. @implements {Stream} */
class FetchStream {
  #decoder = new Decoder();
  #reader;
  #trying;

  /** @param {ReadableStream<Uint8Array>} body @param {AbortController} trying */
  constructor(body, trying) {
    this.#reader = body.getReader();
    this.#trying = trying;
  }

  get retryMs() { return this.#decoder.retryMs; }

  async read() {
    try {
      const {value, done} = await this.#reader.read();
      return done ? null : this.#decoder.feed(value);
    } catch (error) {
      throw new Failed(error instanceof Error ? error.message : String(error));
    }
  }

  close() { this.#trying.abort(LEFT); }
}

/** A stream over EventSource. Only the first of its connections: to come back is not left to it. @implements {Stream} */
class EventSourceStream {
  retryMs = null;
  #source;
  #lastId = '';
  /** @type {ServerSentEvent[]} */ #events = [];
  /** @type {Failed | null} */ #failed = null;
  #told = () => {};

  /** @param {EventSource} source @param {() => void} onRefusal */
  constructor(source, onRefusal) {
    this.#source = source;
    for (const name of NAMES) {
      source.addEventListener(name, (message) => {
        const {data, lastEventId} = /** @type {MessageEvent<string>} */ (message);
        const id = lastEventId === this.#lastId ? null : lastEventId;
        this.#lastId = lastEventId;
        this.#events.push({event: name, data, id, lastEventId});
        this.#told();
      });
    }
    source.addEventListener('error', () => {
      // Closed for good: 204, or a refusal. It does not say which, so that fetch must ask.
      const refused = source.readyState === 2;
      this.#failed = new Failed('the connection ended before the stream did', {atOnce: refused});
      if (refused) onRefusal();
      source.close();
      this.#told();
    });
  }

  async read() {
    if (this.#events.length === 0 && !this.#failed) {
      await /** @type {Promise<void>} */ (new Promise((resolve) => (this.#told = resolve)));
    }
    if (this.#events.length === 0 && this.#failed) throw this.#failed;
    return this.#events.splice(0);
  }

  close() { this.#source.close(); }
}

/** @typedef {object} Source Where a followed stream comes from.
 * @property {string | null} runId
 * @property {string | null} after null where only the POST, sent again, knows where its stream begins
 * @property {Call | null} post whose answer is the stream
 */

/** The parts of the options that all streams have. @typedef {Pick<FollowOptions, 'via' | 'onState' | 'signal'>} Listening */

/**
 * Frames over any number of connections: connecting, coming back, telling of it. What they are, and what is to be
 * asked for, the kinds of it know.
 * @template {{kind: string}} F
 * @implements {AsyncIterable<F>}
 */
class Connected {
  /** The opaque id to resume from: of the last entry handed out. @type {string | null} */ cursor;
  /** The connection's state. @type {Phase} */ phase = 'connecting';
  /** When anything was last heard of the server, by this machine's clock. @type {number | null} */ heardAt = null;
  #server;
  #options;
  /** @type {F[]} */ #queue = [];
  #over = false;
  #wasOpen = false;
  /** Whether anything came on this connection. */ #greeted = false;
  /** @type {number | null} */ #pollingSince = null;
  #via;
  /** Whether fetch must find out why EventSource was closed. */ #askWhy = false;
  #network = 0;
  /** @type {Failed | null} */ #failed = null;
  /** @type {number | null} */ #failingSince = null;
  #backoff;
  #pulse;
  /** @type {Stream | null} */ #stream = null;
  #leaving;
  #frames;

  /** @param {Server} server @param {string | null} after @param {Listening} options */
  constructor(server, after, options) {
    if (options.via === 'eventsource' && (server.token || !server.EventSource)) {
      throw new TypeError('EventSource is missing, or cannot send the token');
    }
    this.#server = server;
    this.#options = options;
    this.cursor = after;
    this.#via = options.via ?? 'fetch';
    this.#backoff = new Backoff(server);
    this.#pulse = new Pulse(server.pace);
    this.#leaving = chained(options.signal);
    this.#leaving.signal.addEventListener('abort', () => this.#hangUp());
    this.#frames = this.#iterate();
  }

  /** The server's heartbeat as it was learned from this stream, null until two of them were compared. */
  get heartbeatMs() { return this.#pulse.learnedMs; }

  [Symbol.asyncIterator]() {
    return this.#frames;
  }

  /** The next frame; `done` where the stream has ended. */
  next() { return this.#frames.next(); }

  /** Let the connection go: the iteration ends. Nothing else is changed by it. */
  close() { this.#leaving.abort(LEFT); }

  // -- what the kinds of it say

  /** What is asked for now. @protected @returns {Call} */
  _call() { throw new TypeError('abstract'); }

  /** The same for polling, where asking for it takes a request of its own.
   * @protected @param {(call: Call) => Promise<{response: Response, body: Data}>} once @returns {Promise<Call>} */
  async _pollable(once) {
    void once;
    return this._call();
  }

  /** Whether a page is to wait for news. @protected */
  get _waits() { return true; }

  /** Whether it lives by pages. @protected */
  get _polling() { return this.#pollingSince !== null; }

  /** An answer has come. @protected @param {Response} response */
  _answered(response) { void response; }

  /** Whether it is worth to keep trying although nothing has come yet. @protected */
  get _lasting() { return false; }

  /** The frame of an event, null for one that is none. @protected @param {ServerSentEvent} event @returns {F | null} */
  _frame(event) { throw new TypeError(`abstract: ${event}`); }

  /** The frames that a stream would have had instead of this page. @protected @param {Data} page @returns {F[]} */
  _framesOf(page) { throw new TypeError(`abstract: ${page}`); }

  /** The frame if it is to be handed out. @protected @param {F} frame @returns {F | null} */
  _take(frame) { return frame; }

  // -- what they do

  /** The stream's first frame: from here on it counts as open. @protected @param {boolean} behind */
  _opened(behind) {
    this.#wasOpen = true;
    this.#failingSince = null;
    this.#tell(behind ? 'catching-up' : 'live', '');
  }

  /** What was missed has come. @protected */
  _caughtUp() {
    if (this.phase === 'catching-up') this.#tell('live', '');
  }

  /** The stream works: the next failure is a first one. @protected */
  _progress() { this.#backoff.progress(); }

  /** @protected @param {Data} heartbeat */
  _beat(heartbeat) {
    this.#pulse.beat(Date.parse(heartbeat.ts) || this.#server.clock());
    this.#backoff.progress();
  }

  /** There will be no more frames. @protected */
  _finish() { this.#over = true; }

  /** From now on over fetch. @protected */
  _byFetch() { this.#via = 'fetch'; }

  /** Give this connection up, with what has come on it. @protected @param {string} reason @param {number} [atLeastMs] */
  _drop(reason, atLeastMs = 0) {
    this.#queue = [];
    this.#failed = new Failed(reason, {atLeastMs});
  }

  async *#iterate() {
    try {
      for (;;) {
        this.#leaving.signal.throwIfAborted();
        const next = this.#queue.shift();
        if (next !== undefined) {
          const frame = this._take(next);
          if (frame) yield frame;
        } else if (this.#over) {
          return;
        } else if (this.#failed || !this.#stream) {
          await this.#connect();
        } else {
          await this.#read(this.#stream);
        }
      }
    } catch (error) {
      if (error !== LEFT) throw error;
    } finally {
      this.close();
      this.#tell('ended', '');
    }
  }

  // -- connections

  #hangUp() {
    this.#stream?.close();
    this.#stream = null;
  }

  async #connect() {
    this.#hangUp();
    for (;;) {
      if (this.#failed) await this.#pause(this.#failed);
      const trying = chained(this.#leaving.signal);
      const polled = this.#server.holdsBack && !this.#looksAgain();
      try {
        if (polled) {
          await this.#poll(trying);
          trying.abort(LEFT);
        } else {
          this.#greeted = false;
          await this.#open(trying);
        }
        this.#failed = null;
        return;
      } catch (error) {
        trying.abort(LEFT);
        this.#leaving.signal.throwIfAborted();
        if (error instanceof Failed) {
          this.#learn(error, polled);
        } else if (error instanceof ProtocolViolation && (this.#wasOpen || polled)) {
          // A gateway's page in the place of the stream; it was a Jackline a moment ago. Or one that does not poll.
          this.#server.holdsBack = false;
          this.#failed = new Failed(error.message);
        } else {
          throw error;
        }
      }
    }
  }

  /** @param {Failed} failed */
  async #pause(failed) {
    const {pace, clock} = this.#server;
    const now = clock();
    this.#failingSince = Math.min(this.#failingSince ?? now, now);
    // Once a POST was accepted there is a run to follow, and giving up early would lose sight of it.
    const budget = this.#wasOpen || this._lasting ? pace.followBudgetMs : pace.firstBudgetMs;
    const wait = this.#backoff.next(failed, this.#failingSince, budget, this._call());
    this.#tell(this.#wasOpen ? 'reconnecting' : 'connecting', failed.message, wait);
    await this.#server.sleep(wait, this.#leaving.signal);
  }

  /** How much silence is too much on this connection. */
  get #patienceMs() {
    return this.#greeted ? this.#pulse.limitMs : Math.min(this.#pulse.limitMs, this.#server.pace.readyMs);
  }

  /**
   * No answer to a request for a stream may mean that streams are held back; none to a poll, that there is
   * nobody, or another way to the server by now. What others found out meanwhile stands.
   * @param {Failed} failed
   * @param {boolean} [polled]
   */
  #learn(failed, polled = false) {
    this.#failed = failed;
    if (!polled) {
      this.#server.holdsBack ||= failed.silent;
    } else if (failed.silent || !failed.connected) {
      this.#server.holdsBack = false;
      this.#pulse.gaveUp();
    }
  }

  /** Whether to try a stream although polls work: the way may be another one by now, or was only slow. */
  #looksAgain() {
    const {clock, pace} = this.#server;
    const since = this.#pollingSince;
    if (since === null || (clock() >= since && clock() - since < pace.againMs)) return false;
    this.#pollingSince = null;
    return true;
  }

  /** @param {AbortController} trying */
  async #open(trying) {
    const call = this._call();
    const {url, EventSource} = this.#server;
    this.#network = this.#server.network;
    if (this.#via === 'eventsource' && call.method === 'GET' && !this.#askWhy) {
      const source = new EventSource(url + call.path + search(call.query ?? {}));
      this.#stream = new EventSourceStream(source, () => (this.#askWhy = true));
    } else {
      this.#askWhy = false;
      const response = await this.#server.watch(
        () => this.#server.send(call, STREAM, trying.signal), this.#patienceMs, trying,
      );
      if (response.status === 204) {
        this.#over = true;
        return;
      }
      if (mediaType(response) !== STREAM || response.body === null) {
        throw new ProtocolViolation(`${url} answers ${mediaType(response) || 'no media type'}, not an event stream`);
      }
      this._answered(response);
      this.#stream = new FetchStream(response.body, trying);
    }
    this.#pulse.opened();
  }

  /** Ask for what is new; it stands in the queue. @param {AbortController} trying */
  async #poll(trying) {
    const limit = this.#pulse.limitMs;
    /** @param {Call} call */
    const once = (call) => this.#server.once(call, limit, trying, JSON_TYPE, readObject);
    const call = await this._pollable(once);
    if (this._waits) call.query = {...call.query, poll: 1};
    const {body} = await once(call);
    const frames = this._framesOf(body);
    if (frames.length === 0) throw new Failed('the server does not wait for news');
    this.heardAt = this.#server.clock();
    this.#failingSince = null;
    this.#wasOpen = true;
    this.#pollingSince ??= this.#server.clock();
    if (this.phase !== 'live') this.#tell('live', POLLING);
    this.#queue.push(...frames);
  }

  /** Read once; what came stands in the queue, what went wrong in `#failed`. @param {Stream} stream */
  async #read(stream) {
    if (this.#network !== this.#server.network) return this.#learn(new Failed(ANOTHER_NETWORK, {atOnce: true}));
    const trying = chained(this.#leaving.signal);
    let events;
    try {
      events = await this.#server.watch(() => stream.read(), this.#patienceMs, trying, 'silent for');
    } catch (error) {
      this.#leaving.signal.throwIfAborted();
      if (!(error instanceof Failed)) throw error;
      if (error.silent && this.#greeted) this.#pulse.gaveUp();
      this.#learn(this.#greeted ? new Failed(error.message, {atOnce: error.atOnce}) : error);
      return;
    } finally {
      trying.abort(LEFT);
    }
    if (events === null) return this.#learn(new Failed('the connection ended before the stream did'));
    this.#greeted = true;
    this.#server.holdsBack = false;
    this.heardAt = this.#server.clock();
    if (stream.retryMs !== null) this.#backoff.baseMs = Math.min(stream.retryMs, LONGEST_RETRY_MS);
    for (const event of events) {
      const frame = this._frame(event);
      if (frame !== null) this.#queue.push(frame);
    }
  }

  /** @param {Phase} phase @param {string} reason @param {number | null} [retryInMs] */
  #tell(phase, reason, retryInMs = null) {
    if (phase === this.phase && !reason) return;
    this.phase = phase;
    this.#options.onState?.(phase, reason, retryInMs);
  }
}

/**
 * A run's frames, as an async iterator: entries in order, none twice, none missing, over any number of cuts,
 * deploys and time-outs. It throws Refused, Unreachable, ProtocolViolation, and the signal's reason. The run is
 * not changed by any of it. Nothing is sent before the first iteration.
 * @extends {Connected<Frame>}
 */
export class Follow extends Connected {
  /** The run's id; null until the answer to a POST has come. @type {string | null} */ runId;
  /** @type {string | null} */ conversationId = null;
  /** The run's state as of the last frame. @type {string | null} */ state = null;
  #source;
  #until;
  #merged;
  /** @type {number | null} */ #seq;
  #newest = 0;
  #accepted = false;
  #compact = true;
  #holes = 0;

  /** @param {Server} server @param {Source} source @param {FollowOptions} options */
  constructor(server, source, options) {
    super(server, source.after, options);
    this.#source = source;
    this.#until = options.until;
    this.#merged = options.compact !== false;
    this.runId = source.runId;
    this.#seq = source.after !== null && /^[0-9]+$/.test(source.after) ? Number(source.after) : null;
  }

  /** @protected @override */
  get _lasting() { return this.#accepted; } // there is a run to follow, and giving up early would lose sight of it

  /** @protected @override @param {Response} response */
  _answered(response) {
    this.#accepted = true;
    // Of the location only the id is taken: the path may lack a proxy's prefix.
    const location = /\/runs\/([^/?]+)\/events\/?(\?|$)/.exec(response.headers.get('location') ?? '');
    this.runId ??= response.headers.get('x-run-id') ?? location?.[1] ?? null;
  }

  /** @protected @override @param {(call: Call) => Promise<{response: Response, body: Data}>} once */
  async _pollable(once) {
    const call = this._call();
    if (call.method !== 'POST') return call;
    const {response} = await once(call);
    const runId = response.headers.get('x-run-id');
    if (runId === null) throw new ProtocolViolation('the answer to a POST does not name its run');
    this.runId = runId;
    this.#accepted = true;
    this.cursor ||= response.headers.get('last-event-id') ?? '0';
    this.#seq ??= parseInt(this.cursor, 10);
    return this._call();
  }

  /** @protected @override @returns {Call} */
  _call() {
    /** @type {Query} */ const query = {until: this.#until, compact: this.#compact && this.#merged ? undefined : 0};
    const {post} = this.#source;
    if (post !== null && (!this.#accepted || this.runId === null || this.cursor === null)) return {...post, query};
    const path = `${API}/runs/${segment(this.runId ?? '')}/events`;
    if (!this.cursor || this.cursor === '0') return {method: 'GET', path, query};
    // Both: a proxy may strip the one, and where both arrive they say the same.
    const headers = {'Last-Event-ID': this.cursor};
    return {method: 'GET', path, query: {...query, after: this.cursor}, headers};
  }

  /** @protected @override @param {ServerSentEvent} event */
  _frame({event, id, data}) { return parse(event, id, data); }

  /** @protected @override @param {Data} page */
  _framesOf(page) { return framesOf(page); }

  /** Keeps the cursor, finds doubles and holes. @protected @override @param {Frame} frame */
  _take(frame) {
    const {data} = frame;
    switch (frame.kind) {
      case 'ready':
        this.runId = String(data.run_id ?? this.runId);
        this.conversationId = data.conversation_id ?? this.conversationId;
        this.state = data.state ?? this.state;
        this.#seq ??= Number(data.seq);
        this.#newest = data.newest ?? 0;
        this._opened(this.#newest > this.#seq);
        break;
      case 'entry':
        return this.#entry(frame) ? frame : null;
      case 'heartbeat':
        this.state = data.state ?? this.state;
        this._beat(data);
        break;
      case 'gap':
        // It may go on before what was seen: a log that came back shorter counts anew.
        this.#seq = Number.isSafeInteger(data.snapshot?.seq) ? data.snapshot.seq : null;
        this.cursor = frame.id ?? String(data.to);
        this.state = data.snapshot?.state ?? this.state;
        this._progress();
        this.#look();
        break;
      case 'end':
        if (this.#seq !== null && data.seq > this.#seq) return this.#hole(this.#seq, data.seq + 1);
        this.state = data.state;
        this._finish();
        break;
      case 'shutdown':
        this._drop('the server is going away', data.retry_ms || 0);
    }
    return frame;
  }

  /** @param {Entry} entry */
  #entry({type, seq, first, id, data}) {
    if (this.#seq !== null && seq <= this.#seq) return false;
    if (this.#seq !== null && first !== this.#seq + 1) {
      // Merged tokens that begin before the cursor cannot be cut: ask for single ones.
      if (first <= this.#seq) this.#compact = false;
      this.#hole(this.#seq, first);
      return false;
    }
    this.#seq = seq;
    this.cursor = id;
    this.#holes = 0;
    this._progress();
    this.#look();
    if (type === 'workflow') this.state = data.state ?? this.state;
    return true;
  }

  #look() {
    if ((this.#seq ?? 0) >= this.#newest) this._caughtUp();
  }

  /** @param {number} seq @param {number} next @returns {null} */
  #hole(seq, next) {
    this.#holes += 1;
    if (this.#holes >= SAME_HOLE) {
      throw new ProtocolViolation(`after entry ${seq} of run ${this.runId} comes entry ${next}, three times`);
    }
    this._byFetch(); // EventSource hands out no entries of types that it was not told of
    this._drop(`entries are missing after ${seq}`);
    return null;
  }
}

/**
 * @typedef {{kind: 'entry', type: string, runId: string, seq: number, id: string, data: Data}} FeedEntry
 * @typedef {{kind: 'ready' | 'heartbeat' | 'shutdown', data: Data} | {kind: 'gap', id: string | null, data: Data} | FeedEntry} FeedFrame
 * @typedef {object} FeedOptions
 * @property {string | null} [after] a cursor; `now`: only what comes from now on. From the oldest entry held if missing
 * @property {'fetch' | 'eventsource'} [via] how streams are read
 * @property {OnState} [onState]
 * @property {AbortSignal} [signal]
 */

/**
 * The workflow and approval entries of every run that the caller may see, as an async iterator without an end. It
 * comes back as Follow does. Of one run they come in order, and each once as far as REMEMBERED goes: whoever needs
 * more than that looks at `runId` and `seq`. After a `gap` lists must be read anew.
 * @extends {Connected<FeedFrame>}
 */
export class Feed extends Connected {
  #newest = '';
  /** @type {Set<string>} */ #seen = new Set();

  /** @protected @override @returns {Call} */
  _call() {
    const path = `${API}/feed`;
    if (!this.cursor) return {method: 'GET', path};
    // Both: a proxy may strip the one, and where both arrive they say the same.
    return {method: 'GET', path, query: {after: this.cursor}, headers: {'Last-Event-ID': this.cursor}};
  }

  /** @protected @override @param {ServerSentEvent} event @returns {FeedFrame | null} */
  _frame({event, id, lastEventId, data}) {
    // EventSource does not tell an id that is that of the entry before from none; it hands out known frames only.
    return feedFrame(event, NAMES.includes(event) ? lastEventId : id ?? '', data);
  }

  // Once as a page that does not wait: lists wait for the beginning. And a poll that fails must be sent again with
  // the cursor of now, not with that of a later now.
  /** @protected @override */
  get _waits() { return this.cursor !== NOW; }

  /** @protected @override @param {Data} page @returns {FeedFrame[]} */
  _framesOf({entries, gap, heartbeat, next}) {
    if (!Array.isArray(entries) || typeof next !== 'string') throw new ProtocolViolation('a page without entries');
    if (this.cursor === NOW) return [{kind: 'ready', data: {cursor: next, newest: next}}];
    const ready = {kind: /** @type {const} */ ('ready'), data: {cursor: this.cursor ?? '', newest: next}};
    const frames = [
      gap && feedFrame('gap', String(gap.to), gap),
      heartbeat && feedFrame('heartbeat', '', heartbeat),
      ...entries.map((each) => feedFrame(String(each?.type), String(each?.id ?? ''), each?.data)),
    ].filter((frame) => frame);
    return frames.length > 0 && !this._polling ? [ready, ...frames] : frames;
  }

  /** @protected @override @param {FeedFrame} frame */
  _take(frame) {
    switch (frame.kind) {
      case 'ready':
        this.cursor = frame.data.cursor;
        if (this._polling) break;
        this.#newest = frame.data.newest ?? '';
        this._opened(this.cursor !== this.#newest);
        break;
      case 'entry':
        return this.#entry(frame) ? frame : null;
      case 'heartbeat':
        this._beat(frame.data);
        if (frame.data.cursor) {
          this.cursor = frame.data.cursor;
          this._caughtUp();
        }
        break;
      case 'gap':
        this.cursor = frame.id ?? this.cursor;
        this._progress();
        break;
      case 'shutdown':
        this._drop('the server is going away', frame.data.retry_ms || 0);
    }
    return frame;
  }

  /** @param {FeedEntry} entry */
  #entry({runId, seq, id, data}) {
    this.cursor = id;
    this._progress();
    if (id === this.#newest) this._caughtUp();
    // The time too: a log that came back shorter counts anew.
    const key = `${runId} ${seq} ${data.ts}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    if (this.#seen.size > REMEMBERED) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
    }
    return true;
  }
}

/** The frame of an event of the feed, null for one that this version does not know.
 * @param {string} name @param {string} id @param {string | Data} json @returns {FeedFrame | null} */
function feedFrame(name, id, json) {
  try {
    if (!NAMES.includes(name) && !id) return null;
    const data = typeof json === 'string' ? JSON.parse(json) : json;
    if (data === null || typeof data !== 'object' || Array.isArray(data)) throw new TypeError('no JSON object');
    if (name === 'ready' && typeof data.cursor !== 'string') throw new TypeError('cursor is missing');
    if (name === 'gap') return {kind: name, id: id || null, data};
    if (name === 'ready' || name === 'heartbeat' || name === 'shutdown') return {kind: name, data};
    if (!id || name === 'end') return null;
    if (typeof data.run_id !== 'string') throw new TypeError('run_id is missing');
    if (!Number.isSafeInteger(data.seq)) throw new TypeError('seq is no whole number');
    return {kind: 'entry', type: name, runId: data.run_id, seq: data.seq, id, data};
  } catch (error) {
    throw new ProtocolViolation(`a '${name}' frame that cannot be read: ${error}`);
  }
}

/** The frames that a stream would have had instead of this page. @param {Data} page @returns {Frame[]} */
function framesOf({entries, next, gap, heartbeat, end}) {
  if (!Array.isArray(entries)) throw new ProtocolViolation('a page without entries');
  return [
    gap && parse('gap', String(next ?? gap.snapshot?.seq ?? ''), gap), // its id is what the page goes on with
    heartbeat && parse('heartbeat', null, heartbeat),
    ...entries.map((each) => parse(String(each?.type), each?.id, each?.data)),
    end && parse('end', null, end),
  ].filter((frame) => frame);
}

// -- the client ----------------------------------------------------------------------------------

/**
 * @typedef {object} Options
 * @property {string} [token] an API key
 * @property {Partial<Pace>} [pace]
 * @property {typeof globalThis.fetch} [fetch] in the place of the platform's, for headers or cookies of your own
 * @property {typeof globalThis.EventSource} [EventSource] in the place of the platform's
 * @property {() => number} [clock] the wall clock
 * @property {() => number} [chance] 0 to 1
 */

/**
 * A Jackline server. Every method throws Refused with the problem document when the server says no, and
 * Unreachable when it did not answer in time. POSTs carry an Idempotency-Key and are tried again with that key
 * only, so that none takes effect twice. Answers are objects as docs/protocol.md has them.
 */
export class Jackline {
  #server;
  #closing = new AbortController();

  /** @param {string} [url] in a page its own origin if missing @param {Options} [options] */
  constructor(url = globalThis.location?.origin, options = {}) {
    this.#server = new Server(url, options);
    const {signal} = this.#closing;
    const look = () => this.wake();
    globalThis.addEventListener?.('online', () => this.#server.wake(true), {signal});
    // A page out of the browser's cache has connections that were closed under it.
    globalThis.addEventListener?.('pageshow', (event) => this.#server.wake(event.persisted), {signal});
    globalThis.document?.addEventListener('visibilitychange', look, {signal});
    globalThis.document?.addEventListener('resume', look, {signal});
  }

  /** Listen to the page no longer. What is followed goes on until it is closed. */
  close() { this.#closing.abort(); }

  /** Look at once: whoever waits for the next try tries now. A page's events `online` and `pageshow` do this. */
  wake() { this.#server.wake(false); }

  // -- starting and following

  /**
   * Start a run and follow it from its first entry. A string is one message of the user's.
   * @param {string | {role: string, content: string}[]} messages the new ones only
   * @param {Wish & FollowOptions & Sending} [options]
   */
  chat(messages, options = {}) {
    const post = posting(`${API}/chat`, wish(messages, options), options.key);
    return new Follow(this.#server, {runId: null, after: '0', post}, options);
  }

  /** Start a run without watching it. @param {string | {role: string, content: string}[]} messages
   * @param {Wish & Sending} [options] */
  start(messages, options = {}) { return this.#post('/chat', wish(messages, options), options); }

  /** Follow a run. @param {string} runId @param {FollowOptions} [options] */
  follow(runId, options = {}) {
    segment(runId);
    return new Follow(this.#server, {runId, after: String(options.after ?? 0), post: null}, options);
  }

  /** What happens in all runs from a cursor on. @param {FeedOptions} [options] */
  feed(options = {}) { return new Feed(this.#server, options.after ?? null, options); }

  // -- approvals

  /** Let a call run, with edited `args` if given. The first decision wins; for another one Refused (409) says
   * who decided. @param {string} callId @param {{args?: Data, reason?: string} & Sending} [options] */
  approve(callId, {args, reason, ...sending} = {}) {
    return this.decide(callId, {approve: true, ...(args && {args}), ...(reason && {reason})}, sending);
  }

  /** @param {string} callId @param {{reason?: string} & Sending} [options] */
  deny(callId, {reason, ...sending} = {}) {
    return this.decide(callId, {approve: false, ...(reason && {reason})}, sending);
  }

  /** Any answer to a question. @param {string} callId @param {Decision} decision @param {Sending} [options] */
  decide(callId, decision, options = {}) { return this.#post(`/approvals/${segment(callId)}`, decision, options); }

  /** Several answers of one run, all or none. @param {({call_id: string} & Decision)[]} decisions
   * @param {Sending} [options] */
  decideAll(decisions, options = {}) { return this.#post('/approvals', {decisions}, options); }

  /** Decide, and follow the run from the decision's entry on. @param {string} callId @param {Decision} decision
   * @param {FollowOptions & Sending} [options] */
  decideAndFollow(callId, decision, options = {}) {
    const post = posting(`${API}/approvals/${segment(callId)}`, decision, options.key);
    return new Follow(this.#server, {runId: null, after: null, post}, options);
  }

  // -- stopping

  /** Stop a run: accepted at once. @param {string} runId @param {StopOptions & Sending} [options] */
  stop(runId, {waitMs, reason, mode, ...sending} = {}) {
    return this.#stop(`/runs/${segment(runId)}/stop`, {reason, mode}, sending, waitMs);
  }

  /** Stop a conversation's active run and those that wait behind it. @param {string} conversationId
   * @param {StopOptions & Sending} [options] */
  stopConversation(conversationId, {waitMs, reason, mode, ...sending} = {}) {
    return this.#stop('/stop', {conversation_id: conversationId, reason, mode}, sending, waitMs);
  }

  // -- reading; a list is a page, whose `next` is the `cursor` of the following one

  /** @param {{state?: string, conversation_id?: string, limit?: number, cursor?: string}} [query] */
  runs(query = {}) { return this.#get('/runs', query); }

  /** How a run stands. @param {string} runId */
  run(runId) { return this.#get(`/runs/${segment(runId)}`); }

  /** Entries after a cursor. @param {string} runId @param {{after?: string | number, limit?: number}} [query] */
  page(runId, query = {}) { return this.#get(`/runs/${segment(runId)}/events`, query); }

  /** @param {{limit?: number, cursor?: string}} [query] */
  conversations(query = {}) { return this.#get('/conversations', query); }

  /** @param {string} conversationId @param {{limit?: number, cursor?: string}} [query] */
  conversation(conversationId, query = {}) { return this.#get(`/conversations/${segment(conversationId)}`, query); }

  /** @param {{state?: string, limit?: number, cursor?: string}} [query] pending ones if no `state` is given */
  approvals(query = {}) { return this.#get('/approvals', query); }

  /** @param {string} callId */
  approval(callId) { return this.#get(`/approvals/${segment(callId)}`); }

  agents() { return this.#get('/agents'); }

  tools() { return this.#get('/tools'); }

  /** A result that was stored aside. @param {string} runId @param {string} artifactId @returns {Promise<Blob>} */
  async artifact(runId, artifactId) {
    const path = `${API}/runs/${segment(runId)}/artifacts/${segment(artifactId)}`;
    const call = /** @type {Call} */ ({method: 'GET', path});
    return (await this.#server.request(call, {accept: '*/*'}, (response) => response.blob())).body;
  }

  /** Remove a finished run everywhere. @param {string} runId */
  async deleteRun(runId) { await this.#delete(`/runs/${segment(runId)}`); }

  /** Remove a conversation whose runs have finished. @param {string} conversationId */
  async deleteConversation(conversationId) { await this.#delete(`/conversations/${segment(conversationId)}`); }

  /** @param {string} path @param {Query} [query] */
  #get(path, query = {}) { return this.#server.json({method: 'GET', path: API + path, query}); }

  /** @param {string} path @param {object} body @param {Sending} sending */
  #post(path, body, {key, signal}) {
    return this.#server.json(posting(API + path, body, key), {...(signal && {signal})});
  }

  /** @param {string} path @param {object} body @param {Sending} sending @param {number} [waitMs] */
  #stop(path, body, {key, signal}, waitMs) {
    const call = posting(API + path, body, key);
    if (waitMs !== undefined) call.query = {wait: waitMs / 1000};
    const firstMs = this.#server.pace.stopMs;
    return this.#server.json(call, {waitMs: waitMs ?? 0, firstMs, ...(signal && {signal})});
  }

  /** @param {string} path */
  #delete(path) {
    const call = /** @type {Call} */ ({method: 'DELETE', path: API + path});
    return this.#server.request(call, {}, (response) => response.text());
  }
}

/** A POST, its body and key made once. @param {string} path @param {object} body @param {string} [key]
 * @returns {Call} */
function posting(path, body, key) {
  // Not randomUUID: pages that came over plain HTTP from another machine do not have it.
  const chance = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, '0'));
  return {method: 'POST', path, body: JSON.stringify(body), key: key ?? chance().join('')};
}

/** @param {string | {role: string, content: string}[]} messages @param {Wish} options */
function wish(messages, {conversationId, agent, onBusy, metadata, limits}) {
  if (typeof messages === 'string') messages = [{role: 'user', content: messages}];
  return {messages, conversation_id: conversationId, agent, on_busy: onBusy, metadata, limits};
}
