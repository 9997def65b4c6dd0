/** What the list knows of each run. Pure: from pages of `GET /runs` and from the feed's entries. @module */
import {isEnded, isGoing} from './words.js';

/** @typedef {Record<string, any>} Data */
/**
 * @typedef {object} RunItem A run as `GET /runs` has it.
 * @property {string} run_id @property {string} conversation_id @property {string} state @property {string} agent
 * @property {string} by @property {string} title @property {number} seq the newest entry that is told of here
 * @property {string} created_at @property {string} updated_at @property {string} worker
 * @property {'immediate' | 'after_step' | null} [stop_mode] of a stop that was told of; the list of runs has none
 * @property {string[]} waiting_for @property {{for: string, detail: string} | null} waiting
 */
/**
 * @typedef {object} Conversation
 * @property {string} conversationId @property {string} title @property {RunItem} newest
 * @property {RunItem} shown what its row shows, and stops @property {number} behind how many runs wait for `shown` to end
 * @property {RunItem[]} runs newest first
 */
/** @typedef {'all' | 'going' | 'waiting' | 'completed' | 'failed' | 'stopped'} Filter */

/** @type {Readonly<Record<Filter, (run: RunItem) => boolean>>} */
const FILTERS = {
  all: () => true,
  going: (run) => isGoing(run.state),
  waiting: (run) => isWaiting(run),
  completed: (run) => run.state === 'completed',
  failed: (run) => run.state === 'failed',
  stopped: (run) => run.state === 'stopped',
};

/** Whether a person must answer. @param {RunItem} run */
const isWaiting = (run) => run.waiting_for.length > 0 && !isEnded(run.state) && run.state !== 'stopping';

export class RunIndex {
  /** @type {Map<string, RunItem>} */ runs = new Map();
  /** Of runs that were removed: an entry that comes late must not bring one back. @type {Set<string>} */ #removed = new Set();

  /** When the feed last told of a run, by `moment`. @type {Map<string, number>} */ #told = new Map();
  /** Grows with each entry of the feed. */ moment = 0;
  /** What the feed told of runs of which nothing else is known yet. @type {Map<string, {type: string, seq: number, data: Data}[]>} */ #early = new Map();

  /**
   * Take what the server told of a run, unless the feed has told newer things meanwhile. A smaller `seq` alone is no sign of
   * age: a store may have come back without the end of a log.
   * @param {RunItem} item @param {number} asked the `moment` when the server was asked
   */
  put(item, asked) {
    const {run_id: runId} = item;
    if (this.#removed.has(runId)) return;
    const known = this.runs.get(runId);
    if (known === undefined || item.seq >= known.seq || (this.#told.get(runId) ?? 0) <= asked) this.runs.set(runId, item);
    // The server may have told it before it wrote what the feed has brought meanwhile.
    const early = this.#early.get(runId) ?? [];
    this.#early.delete(runId);
    for (const {type, seq, data} of early) this.apply(type, runId, seq, data);
  }

  /**
   * Take an entry of the feed; it may come twice. False where the run must be asked for: nothing was known of it, or its
   * log was cut.
   * @param {string} type @param {string} runId @param {number} seq @param {Data} data
   */
  apply(type, runId, seq, data) {
    if (this.#removed.has(runId)) return true;
    this.moment += 1;
    this.#told.set(runId, this.moment);
    const known = this.runs.get(runId);
    if (known === undefined) {
      if (type !== 'workflow' || seq !== 1) {
        this.#early.set(runId, [...(this.#early.get(runId) ?? []), {type, seq, data}]);
        return false;
      }
      this.runs.set(runId, started(runId, data));
      return true;
    }
    // Written later than all that is known, and yet no further: the store came back without the log's end. The time is all
    // there is to go by: an entry of the feed has no epoch, and its cursor is opaque, and a new one where it is told again.
    // It is the store's time, as each worker has measured it. Where that is some ms behind, the entries after this one show
    // the cut; where it is ahead, the run is asked for once too often.
    const cut = seq <= known.seq && String(data.ts ?? '') > known.updated_at;
    if (seq <= known.seq && !cut) return true;
    const next = {...known, seq, updated_at: String(data.ts ?? known.updated_at)};
    if (type === 'approval') {
      const others = known.waiting_for.filter((callId) => callId !== data.call_id);
      next.waiting_for = data.state === 'pending' ? [...others, String(data.call_id)] : others;
    } else if (type === 'workflow') {
      next.state = String(data.state ?? known.state);
      next.waiting = null;
      if (next.state === 'stopping') next.stop_mode = data.mode ?? 'immediate';
      if (isEnded(next.state)) next.waiting_for = [];
    }
    this.runs.set(runId, next);
    return !cut;
  }

  /** @param {string} runId */
  remove(runId) {
    this.#removed.add(runId);
    this.#early.delete(runId);
    this.#told.delete(runId);
    this.runs.delete(runId);
  }

  /** Forget runs, which may come again. @param {Iterable<string>} runIds */
  forget(runIds) {
    for (const runId of runIds) this.runs.delete(runId);
  }

  /** Runs that wait for a person, the one that waits longest first. */
  waiting() {
    return [...this.runs.values()].filter(isWaiting).sort((one, other) => (one.updated_at < other.updated_at ? -1 : 1));
  }

  /** Runs that can be stopped. */
  going() { return [...this.runs.values()].filter((run) => isGoing(run.state)); }

  /** The conversation's runs, newest first. @param {string} conversationId */
  ofConversation(conversationId) {
    return [...this.runs.values()].filter((run) => run.conversation_id === conversationId).sort(newestFirst);
  }

  /** Conversations with a run that passes, the one with the newest run first. @param {Filter} filter @returns {Conversation[]} */
  conversations(filter) {
    /** @type {Map<string, RunItem[]>} */ const grouped = new Map();
    for (const run of this.runs.values()) {
      const row = grouped.get(run.conversation_id);
      if (row === undefined) grouped.set(run.conversation_id, [run]);
      else row.push(run);
    }
    /** @type {Conversation[]} */ const found = [];
    for (const runs of grouped.values()) {
      runs.sort(newestFirst);
      const passing = runs.filter(FILTERS[filter]);
      // What is queued is newer than what runs: a row that showed it would hide the run that acts, and its stop.
      const shown = passing.findLast((run) => isGoing(run.state)) ?? passing[0];
      if (shown !== undefined) found.push(conversationOf(runs, shown));
    }
    return found.sort((one, other) => newestFirst(one.newest, other.newest));
  }
}

/** @param {RunItem[]} runs all of them, newest first @param {RunItem} shown one of them @returns {Conversation} */
export function conversationOf(runs, shown) {
  const going = runs.filter((run) => isGoing(run.state));
  const first = /** @type {RunItem} */ (runs.at(-1));
  return {
    conversationId: shown.conversation_id,
    title: first.title || first.run_id,
    newest: /** @type {RunItem} */ (runs[0]),
    shown,
    behind: going.at(-1) === shown ? going.length - 1 : 0,
    runs,
  };
}

/** @param {RunItem} one @param {RunItem} other */
function newestFirst(one, other) {
  if (one.created_at !== other.created_at) return one.created_at < other.created_at ? 1 : -1;
  return one.run_id < other.run_id ? 1 : -1;
}

/** A run by its first entry. @param {string} runId @param {Data} data @returns {RunItem} */
function started(runId, data) {
  const ts = String(data.ts ?? '');
  return {
    run_id: runId,
    conversation_id: String(data.conversation_id ?? runId.slice(0, runId.lastIndexOf('.'))),
    state: String(data.state ?? 'queued'),
    agent: String(data.agent ?? ''),
    by: String(data.by ?? ''),
    title: titleOf(data.input),
    seq: 1,
    created_at: ts,
    updated_at: ts,
    worker: 'none',
    waiting_for: [],
    waiting: null,
  };
}

/** The same title as the server gives. @param {unknown} input */
function titleOf(input) {
  const last = Array.isArray(input) ? input.at(-1) : null;
  return String(last?.content ?? '').split(/\s+/).filter(Boolean).join(' ').slice(0, 120);
}

/** A run by its snapshot. @param {Data} snapshot @returns {RunItem} */
export function itemOf(snapshot) {
  const asked = snapshot.transcript.filter((/** @type {Data} */ message) => message.role === 'user').at(-1);
  const pending = snapshot.approvals.filter((/** @type {Data} */ approval) => approval.state === 'pending');
  return {
    run_id: snapshot.run_id,
    conversation_id: snapshot.conversation_id,
    state: snapshot.state,
    agent: snapshot.agent,
    by: snapshot.by,
    title: titleOf([{content: asked?.text}]),
    seq: snapshot.seq,
    created_at: snapshot.created_at,
    updated_at: snapshot.updated_at,
    worker: 'none',
    stop_mode: snapshot.stop?.mode ?? null,
    waiting_for: pending.map((/** @type {Data} */ approval) => String(approval.call_id)),
    waiting: snapshot.waiting ?? null,
  };
}
