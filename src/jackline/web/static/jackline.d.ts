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
export const PACE: Readonly<{
    heartbeatMs: 15000;
    silentHeartbeats: 2.5;
    requestMs: 30000;
    stopMs: 5000;
    firstBudgetMs: 30000;
    followBudgetMs: 300000;
    readyMs: 10000;
    againMs: 300000;
    backoffMs: 500;
    backoffCapMs: 20000;
    commandCapMs: 2000;
    tickMs: 1000;
}>;
/** Root of what the client throws; besides it only an aborted signal's reason, and TypeError for misuse. */
export class JacklineError extends Error {
}
/** Nobody answered until the budget was over. A POST may have arrived: send it again with the same key only. */
export class Unreachable extends JacklineError {
    /** @param {string} url @param {string} reason @param {number} triedMs */
    constructor(url: string, reason: string, triedMs: number);
    reason: string;
    triedMs: number;
}
/** The server said no. `problem` is its problem document (RFC 9457), with `errors`: the fields at fault. */
export class Refused extends JacklineError {
    /** @param {number} status @param {Data} problem @param {number | null} retryAfterMs */
    constructor(status: number, problem: Data, retryAfterMs: number | null);
    status: number;
    problem: Data;
    detail: string;
    retryAfterMs: number | null;
}
/** What answers is no Jackline, or its log has a hole that stays. */
export class ProtocolViolation extends JacklineError {
}
/**
 * @typedef {{event: string, data: string, id: string | null, lastEventId: string}} ServerSentEvent
 *   `id` is the id that this very event carried, `lastEventId` what EventSource would report.
 */
/** Reads one stream as the WHATWG HTML standard says, however it was cut into chunks. */
export class Decoder {
    /** @param {number} [limit] characters that an unfinished event may have: a broken server must not fill the memory */
    constructor(limit?: number);
    lastEventId: string;
    /** @type {number | null} */ retryMs: number | null;
    /**
     * The events that `chunk` completes, in order. Throws RangeError for one above the limit.
     * @param {Uint8Array} chunk
     */
    feed(chunk: Uint8Array): ServerSentEvent[];
    #private;
}
/**
 * A run's frames, as an async iterator: entries in order, none twice, none missing, over any number of cuts,
 * deploys and time-outs. It throws Refused, Unreachable, ProtocolViolation, and the signal's reason. The run is
 * not changed by any of it. Nothing is sent before the first iteration.
 * @extends {Connected<Frame>}
 */
export class Follow extends Connected<Frame> {
    /** @param {Server} server @param {Source} source @param {FollowOptions} options */
    constructor(server: Server, source: Source, options: FollowOptions);
    /** The run's id; null until the answer to a POST has come. @type {string | null} */ runId: string | null;
    /** @type {string | null} */ conversationId: string | null;
    /** The run's state as of the last frame. @type {string | null} */ state: string | null;
    #private;
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
export class Feed extends Connected<FeedFrame> {
    /** @param {Server} server @param {string | null} after @param {Listening} options */
    constructor(server: Server, after: string | null, options: Listening);
    #private;
}
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
    /** @param {string} [url] in a page its own origin if missing @param {Options} [options] */
    constructor(url?: string, options?: Options);
    /** Listen to the page no longer. What is followed goes on until it is closed. */
    close(): void;
    /** Look at once: whoever waits for the next try tries now. A page's events `online` and `pageshow` do this. */
    wake(): void;
    /**
     * Start a run and follow it from its first entry. A string is one message of the user's.
     * @param {string | {role: string, content: string}[]} messages the new ones only
     * @param {Wish & FollowOptions & Sending} [options]
     */
    chat(messages: string | {
        role: string;
        content: string;
    }[], options?: Wish & FollowOptions & Sending): Follow;
    /** Start a run without watching it. @param {string | {role: string, content: string}[]} messages
     * @param {Wish & Sending} [options] */
    start(messages: string | {
        role: string;
        content: string;
    }[], options?: Wish & Sending): Promise<Data>;
    /** Follow a run. @param {string} runId @param {FollowOptions} [options] */
    follow(runId: string, options?: FollowOptions): Follow;
    /** What happens in all runs from a cursor on. @param {FeedOptions} [options] */
    feed(options?: FeedOptions): Feed;
    /** Let a call run, with edited `args` if given. The first decision wins; for another one Refused (409) says
     * who decided. @param {string} callId @param {{args?: Data, reason?: string} & Sending} [options] */
    approve(callId: string, { args, reason, ...sending }?: {
        args?: Data;
        reason?: string;
    } & Sending): Promise<Data>;
    /** @param {string} callId @param {{reason?: string} & Sending} [options] */
    deny(callId: string, { reason, ...sending }?: {
        reason?: string;
    } & Sending): Promise<Data>;
    /** Any answer to a question. @param {string} callId @param {Decision} decision @param {Sending} [options] */
    decide(callId: string, decision: Decision, options?: Sending): Promise<Data>;
    /** Several answers of one run, all or none. @param {({call_id: string} & Decision)[]} decisions
     * @param {Sending} [options] */
    decideAll(decisions: ({
        call_id: string;
    } & Decision)[], options?: Sending): Promise<Data>;
    /** Decide, and follow the run from the decision's entry on. @param {string} callId @param {Decision} decision
     * @param {FollowOptions & Sending} [options] */
    decideAndFollow(callId: string, decision: Decision, options?: FollowOptions & Sending): Follow;
    /** Stop a run: accepted at once. @param {string} runId @param {StopOptions & Sending} [options] */
    stop(runId: string, { waitMs, reason, mode, ...sending }?: StopOptions & Sending): Promise<Data>;
    /** Stop a conversation's active run and those that wait behind it. @param {string} conversationId
     * @param {StopOptions & Sending} [options] */
    stopConversation(conversationId: string, { waitMs, reason, mode, ...sending }?: StopOptions & Sending): Promise<Data>;
    /** @param {{state?: string, conversation_id?: string, limit?: number, cursor?: string}} [query] */
    runs(query?: {
        state?: string;
        conversation_id?: string;
        limit?: number;
        cursor?: string;
    }): Promise<Data>;
    /** How a run stands. @param {string} runId */
    run(runId: string): Promise<Data>;
    /** Entries after a cursor. @param {string} runId @param {{after?: string | number, limit?: number}} [query] */
    page(runId: string, query?: {
        after?: string | number;
        limit?: number;
    }): Promise<Data>;
    /** @param {{limit?: number, cursor?: string}} [query] */
    conversations(query?: {
        limit?: number;
        cursor?: string;
    }): Promise<Data>;
    /** @param {string} conversationId @param {{limit?: number, cursor?: string}} [query] */
    conversation(conversationId: string, query?: {
        limit?: number;
        cursor?: string;
    }): Promise<Data>;
    /** @param {{state?: string, limit?: number, cursor?: string}} [query] pending ones if no `state` is given */
    approvals(query?: {
        state?: string;
        limit?: number;
        cursor?: string;
    }): Promise<Data>;
    /** @param {string} callId */
    approval(callId: string): Promise<Data>;
    agents(): Promise<Data>;
    tools(): Promise<Data>;
    /** A result that was stored aside. @param {string} runId @param {string} artifactId @returns {Promise<Blob>} */
    artifact(runId: string, artifactId: string): Promise<Blob>;
    /** Remove a finished run everywhere. @param {string} runId */
    deleteRun(runId: string): Promise<void>;
    /** Remove a conversation whose runs have finished. @param {string} conversationId */
    deleteConversation(conversationId: string): Promise<void>;
    #private;
}
/**
 * Of a followed run's connection; `catching-up`: what comes was written before it was opened.
 */
export type Phase = "connecting" | "live" | "catching-up" | "reconnecting" | "ended";
/**
 * JSON as it is on the wire, members of later versions included
 */
export type Data = Record<string, any>;
export type Sign = {
    kind: "ready" | "heartbeat" | "end" | "shutdown";
    data: Data;
};
/**
 * The entries `data.from` … `data.to` cannot be had any more; `data.snapshot` says how the run stands.
 */
export type Gap = {
    kind: "gap";
    id: string | null;
    data: Data;
};
/**
 * An entry of the log. `first` … `seq` is what it stands for: more than one where tokens were merged.
 */
export type Entry = {
    kind: "entry";
    type: string;
    seq: number;
    first: number;
    id: string;
    data: Data;
};
export type Frame = Sign | Gap | Entry;
/**
 * Told whenever the connection's state changes; `retryInMs`: when the next try is.
 */
export type OnState = (phase: Phase, reason: string, retryInMs: number | null) => void;
/**
 * `key`: the Idempotency-Key of a POST, to send the same again later; made by chance if it is missing.
 */
export type Sending = {
    signal?: AbortSignal;
    key?: string;
};
export type FollowOptions = {
    /**
     * the cursor to begin after: a `seq`, or an entry's `id`
     */
    after?: string | number | null | undefined;
    /**
     * end also where the run waits for a person
     */
    until?: "pause" | undefined;
    /**
     * false: never merge tokens
     */
    compact?: boolean | undefined;
    /**
     * how streams are read
     */
    via?: "fetch" | "eventsource" | undefined;
    onState?: OnState | undefined;
    signal?: AbortSignal | undefined;
};
/**
 * What a run is started with.
 */
export type Wish = {
    /**
     * go on with this conversation
     */
    conversationId?: string | undefined;
    agent?: string | undefined;
    /**
     * what to do where the conversation has an active run; else 409
     */
    onBusy?: "queue" | "stop" | undefined;
    metadata?: Data | undefined;
    limits?: Data | undefined;
};
/**
 * `round`: of the question that is answered; a later one about the same call is then never taken for it.
 */
export type Decision = {
    approve: boolean;
    args?: Data;
    reason?: string;
    round?: number;
} | {
    outcome: "retry" | "done" | "abort";
    result?: unknown;
    reason?: string;
    round?: number;
};
export type StopOptions = {
    reason?: string | undefined;
    mode?: "immediate" | "after_step" | undefined;
    /**
     * answer when the run is quiet, at the latest after so long
     */
    waitMs?: number | undefined;
};
export type Query = Record<string, string | number | boolean | null | undefined>;
/**
 * One request as it is sent, also the second time.
 */
export type Call = {
    method: "GET" | "POST" | "DELETE";
    path: string;
    query?: Query;
    body?: string;
    key?: string;
    headers?: Record<string, string>;
};
export type Pace = { -readonly [name in keyof typeof PACE]: number; };
/**
 * `id` is the id that this very event carried, `lastEventId` what EventSource would report.
 */
export type ServerSentEvent = {
    event: string;
    data: string;
    id: string | null;
    lastEventId: string;
};
/**
 * `read` gives what came next, null where the connection has ended; `retryMs`: what `retry:` asked for.
 */
export type Stream = {
    read(): Promise<ServerSentEvent[] | null>;
    close(): void;
    retryMs: number | null;
};
/**
 * Where a followed stream comes from.
 */
export type Source = {
    runId: string | null;
    /**
     * null where only the POST, sent again, knows where its stream begins
     */
    after: string | null;
    /**
     * whose answer is the stream
     */
    post: Call | null;
};
/**
 * The parts of the options that all streams have.
 */
export type Listening = Pick<FollowOptions, "via" | "onState" | "signal">;
export type FeedEntry = {
    kind: "entry";
    type: string;
    runId: string;
    seq: number;
    id: string;
    data: Data;
};
export type FeedFrame = {
    kind: "ready" | "heartbeat" | "shutdown";
    data: Data;
} | {
    kind: "gap";
    id: string | null;
    data: Data;
} | FeedEntry;
export type FeedOptions = {
    /**
     * a cursor; `now`: only what comes from now on. From the oldest entry held if missing
     */
    after?: string | null | undefined;
    /**
     * how streams are read
     */
    via?: "fetch" | "eventsource" | undefined;
    onState?: OnState | undefined;
    signal?: AbortSignal | undefined;
};
export type Options = {
    /**
     * an API key
     */
    token?: string | undefined;
    pace?: Partial<Pace> | undefined;
    /**
     * in the place of the platform's, for headers or cookies of your own
     */
    fetch?: typeof fetch | undefined;
    /**
     * in the place of the platform's
     */
    EventSource?: {
        new (url: string | URL, eventSourceInitDict?: EventSourceInit): EventSource;
        prototype: EventSource;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSED: 2;
    } | undefined;
    /**
     * the wall clock
     */
    clock?: (() => number) | undefined;
    /**
     * 0 to 1
     */
    chance?: (() => number) | undefined;
};
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
declare class Connected<F extends {
    kind: string;
}> implements AsyncIterable<F> {
    /** @param {Server} server @param {string | null} after @param {Listening} options */
    constructor(server: Server, after: string | null, options: Listening);
    /** The opaque id to resume from: of the last entry handed out. @type {string | null} */ cursor: string | null;
    /** The connection's state. @type {Phase} */ phase: Phase;
    /** When anything was last heard of the server, by this machine's clock. @type {number | null} */ heardAt: number | null;
    /** The server's heartbeat as it was learned from this stream, null until two of them were compared. */
    get heartbeatMs(): number | null;
    /** The next frame; `done` where the stream has ended. */
    next(): Promise<IteratorResult<F, void>>;
    /** Let the connection go: the iteration ends. Nothing else is changed by it. */
    close(): void;
    /** What is asked for now. @protected @returns {Call} */
    protected _call(): Call;
    /** The same for polling, where asking for it takes a request of its own.
     * @protected @param {(call: Call) => Promise<{response: Response, body: Data}>} once @returns {Promise<Call>} */
    protected _pollable(once: (call: Call) => Promise<{
        response: Response;
        body: Data;
    }>): Promise<Call>;
    /** Whether a page is to wait for news. @protected */
    protected get _waits(): boolean;
    /** Whether it lives by pages. @protected */
    protected get _polling(): boolean;
    /** An answer has come. @protected @param {Response} response */
    protected _answered(response: Response): void;
    /** Whether it is worth to keep trying although nothing has come yet. @protected */
    protected get _lasting(): boolean;
    /** The frame of an event, null for one that is none. @protected @param {ServerSentEvent} event @returns {F | null} */
    protected _frame(event: ServerSentEvent): F | null;
    /** The frames that a stream would have had instead of this page. @protected @param {Data} page @returns {F[]} */
    protected _framesOf(page: Data): F[];
    /** The frame if it is to be handed out. @protected @param {F} frame @returns {F | null} */
    protected _take(frame: F): F | null;
    /** The stream's first frame: from here on it counts as open. @protected @param {boolean} behind */
    protected _opened(behind: boolean): void;
    /** What was missed has come. @protected */
    protected _caughtUp(): void;
    /** The stream works: the next failure is a first one. @protected */
    protected _progress(): void;
    /** @protected @param {Data} heartbeat */
    protected _beat(heartbeat: Data): void;
    /** There will be no more frames. @protected */
    protected _finish(): void;
    /** From now on over fetch. @protected */
    protected _byFetch(): void;
    /** Give this connection up, with what has come on it. @protected @param {string} reason @param {number} [atLeastMs] */
    protected _drop(reason: string, atLeastMs?: number): void;
    [Symbol.asyncIterator](): AsyncGenerator<F, void, unknown>;
    #private;
}
/** A server over HTTP: what is sent, tried again, and given up. No frames here. */
declare class Server {
    /** @param {string} url @param {Options} options */
    constructor(url: string, options: Options);
    /** Whether something on the way was seen to hold streams back. */ holdsBack: boolean;
    /** How often the network came back: what was opened before is not to be trusted. */ network: number;
    url: string;
    token: string | undefined;
    /** @type {Pace} */
    pace: Pace;
    fetch: typeof fetch;
    EventSource: {
        new (url: string | URL, eventSourceInitDict?: EventSourceInit): EventSource;
        prototype: EventSource;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSED: 2;
    };
    clock: () => number;
    chance: () => number;
    /** Look now instead of at the next tick. @param {boolean} drop the open connections are not to be trusted */
    wake(drop: boolean): void;
    /** Wait, but no longer when woken. @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
    sleep(ms: number, signal: AbortSignal): Promise<void>;
    /**
     * What `work` comes to, which `trying` aborts. Throws Failed once nothing came of it for `limitMs`, counted anew
     * whenever it calls `heard`, or when it is not to be trusted any more. This goes by the wall clock, looked at
     * often: timers sleep with a laptop, and in the tabs that nobody looks at.
     * @template T @param {(heard: () => void) => Promise<T>} work @param {number} limitMs @param {AbortController} trying
     * @param {string} silent the reason
     * @returns {Promise<T>}
     */
    watch<T>(work: (heard: () => void) => Promise<T>, limitMs: number, trying: AbortController, silent?: string): Promise<T>;
    /** One try. Throws Failed, Refused. @param {Call} call @param {string} accept @param {AbortSignal} signal */
    send(call: Call, accept: string, signal: AbortSignal): Promise<Response>;
    /**
     * One try for a whole answer, however long that takes: the response, and its body read by `how`. Throws Failed,
     * also once nothing came for `limitMs`, and Refused.
     * @template T @param {Call} call @param {number} limitMs @param {AbortController} trying
     * @param {string} accept @param {(response: Response, url: string) => Promise<T>} how
     */
    once<T>(call: Call, limitMs: number, trying: AbortController, accept: string, how: (response: Response, url: string) => Promise<T>): Promise<{
        response: Response;
        body: Awaited<T>;
    }>;
    /**
     * The whole answer, tried again within the budget. Throws Refused, Unreachable, ProtocolViolation.
     * @template T @param {Call} call
     * @param {{signal?: AbortSignal | undefined, waitMs?: number, firstMs?: number, accept?: string}} options
     *   `waitMs`: how much longer than usual it may be silent; `firstMs`: how long usual is for the first try, doubled for
     *   each one after it up to `requestMs`
     * @param {(response: Response, url: string) => Promise<T>} how
     */
    request<T>(call: Call, { signal, waitMs, firstMs, accept }: {
        signal?: AbortSignal | undefined;
        waitMs?: number;
        firstMs?: number;
        accept?: string;
    }, how: (response: Response, url: string) => Promise<T>): Promise<{
        response: Response;
        body: Awaited<T>;
    }>;
    /** @param {Call} call @param {{signal?: AbortSignal, waitMs?: number, firstMs?: number}} [options] @returns {Promise<Data>} */
    json(call: Call, options?: {
        signal?: AbortSignal;
        waitMs?: number;
        firstMs?: number;
    }): Promise<Data>;
    #private;
}
export {};
