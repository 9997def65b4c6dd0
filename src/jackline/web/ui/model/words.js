/** What is said of calls, questions, errors and sizes. Pure. @module */

/** @typedef {Record<string, any>} Data */

/**
 * What a table has under a name that came from elsewhere. A plain look-up would find what every object has, too:
 * an error of the type `constructor` would have a function for its words.
 * @template T @param {Readonly<Record<string, T>>} table @param {string | null | undefined} name @returns {T | undefined}
 */
export const ownOf = (table, name) => (name != null && Object.hasOwn(table, name) ? table[name] : undefined);

/** @param {number} ms */
export function duration(ms) {
  if (!Number.isFinite(ms)) return '';
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A duration that ticks: whole seconds, so that it does not flicker. @param {number} ms */
export const ticking = (ms) => (ms < 1000 ? '0 s' : duration(Math.floor(ms / 1000) * 1000).replace('.0 s', ' s'));

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** @param {number} value */
export const count = (value) => value.toLocaleString('en-US');

/** A cost: two digits that count, and no fewer than whole cents. @param {number} usd */
export function dollars(usd) {
  if (usd === 0) return '$0';
  const digits = usd >= 0.01 ? 2 : Math.min(8, 1 - Math.floor(Math.log10(usd)));
  return `$${usd.toLocaleString('en-US', {minimumFractionDigits: digits, maximumFractionDigits: digits})}`;
}

/** The time of day where the page is looked at. @param {string | null} at */
export function timeOf(at) {
  const moment = new Date(at ?? '');
  if (Number.isNaN(moment.getTime())) return '';
  return moment.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false});
}

/** The whole of it, for a title. @param {string | null} at */
export function dateOf(at) {
  const moment = new Date(at ?? '');
  return Number.isNaN(moment.getTime()) ? '' : moment.toLocaleString([], {dateStyle: 'medium', timeStyle: 'long'});
}

/** @type {Readonly<Record<string, string>>} */
const CALLS = {
  requested: 'requested',
  started: 'running',
  finished: 'done',
  failed: 'failed',
  denied: 'denied',
  cancelled: 'cancelled',
  unknown: 'outcome unknown',
};

/** @param {import('./run.js').Call} call */
export function callWord(call) {
  const asked = call.rounds.at(-1);
  if (asked?.state === 'pending') return asked.kind === 'outcome' ? 'outcome unknown: waits for an answer' : 'waits for approval';
  if (call.state === 'requested' && asked?.state === 'granted') return 'approved, about to run';
  if (call.state === 'cancelled' && call.startedAt === null) return 'not started';
  return ownOf(CALLS, call.state) ?? call.state;
}

/** @type {Readonly<Record<string, string>>} */
const EFFECTS = {read_only: 'only reads', idempotent: 'safe to repeat', writes: 'makes changes'};

/** What a tool is declared to do. @param {string | null | undefined} effect */
export const effectWord = (effect) => (effect ? (ownOf(EFFECTS, effect) ?? effect) : '');

/** @type {Readonly<Record<string, string>>} */
const OUTCOMES = {
  not_started: 'never began',
  cancelled: 'cancelled while it ran; what it did before that is done',
  killed: 'its process was killed; what it did before that is done',
  finished_before_stop: 'had finished before the stop',
  unknown: 'unknown: nobody saw its end. Look before you trust either',
};

/** What became of a call when its run was stopped. @param {string} outcome */
export const outcomeWord = (outcome) => ownOf(OUTCOMES, outcome) ?? outcome;

/** What a person's answer was. @param {import('./run.js').Round} round */
export function answerWord(round) {
  switch (round.state) {
    case 'pending':
      return 'waits for you';
    case 'granted':
      return 'approved';
    case 'denied':
      return 'denied';
    case 'expired':
      return 'not answered in time: that means no';
    case 'withdrawn':
      return 'withdrawn, because the run was stopped or has ended';
    case 'answered':
      return ownOf({retry: 'to be run again', done: 'marked as done', abort: 'given up'}, round.outcome) ?? 'answered';
  }
}

/** @typedef {{title: string, advice: string}} Told */

/** @type {Readonly<Record<string, Told>>} */
const ERRORS = {
  model_error: {
    title: 'The model could not be asked',
    advice: 'Once what the message names is put right, ask again in this conversation.',
  },
  limit_reached: {
    title: 'A limit of the run was reached',
    advice: 'Ask again in this conversation to go on from here, or start it with a higher limit.',
  },
  usage_limit: {
    title: 'The agent’s own limit of model usage was reached',
    advice: 'Ask again in this conversation to go on from here, or raise the limit in the agent.',
  },
  max_attempts: {
    title: 'The run ended its workers too often',
    advice: 'Look at the worker’s log before you start it again: something in this run ends the process.',
  },
  aborted: {
    title: 'A person gave up on it',
    advice: 'Look at what the call whose outcome is unknown has done before you ask again.',
  },
  log_lost: {
    title: 'The store lost entries of this run',
    advice: 'What it did in them is not told here. Check the systems that it works on before you start it again.',
  },
  unexpected_model_behavior: {
    title: 'The model answered what the agent cannot use',
    advice: 'Ask again, or take another model.',
  },
  agent_misused: {title: 'The agent is not set up correctly', advice: 'The message says what its developer has to change.'},
  agent_error: {title: 'The agent failed', advice: 'Ask again; if it fails again, the worker’s log says more.'},
  tool_failed: {title: 'The tool failed', advice: ''},
  denied: {title: 'A person denied it', advice: ''},
  expired: {title: 'Nobody answered in time', advice: 'That means no. Ask the agent again if it shall run after all.'},
  denied_by_policy: {title: 'The operator’s policy does not allow this tool', advice: 'The settings of the worker say which tools are allowed.'},
  not_executed: {title: 'It was never run', advice: ''},
  invalid_call: {title: 'The model called it wrongly', advice: 'It was told so, and did not run.'},
  CancelledError: {title: 'The agent cancelled itself', advice: 'The worker’s log says more.'},
  TimeoutError: {title: 'It took too long', advice: ''},
};

/** An error in words, and what to do. @param {{type: string, message: string}} error @returns {Told} */
export const errorWords = ({type}) =>
  ownOf(ERRORS, type) ?? {title: `It failed: ${type || 'unknown error'}`, advice: 'The worker’s log says where.'};

/** @type {Readonly<Record<import('./timeline.js').SpanKind, string>>} */
export const SPANS = {
  queued: 'Queued',
  model: 'Model',
  agent: 'Agent',
  person: 'Waiting for a person',
  retry: 'Pause before asking again',
  worker: 'Waiting for a worker',
  lost: 'No worker',
  stopping: 'Stopping',
  unseen: 'Before; not told one by one',
  tool: 'Tools',
};

/**
 * Characters that would not be seen, or that turn around what is: shown as what they are, so that nobody approves
 * what reads differently from what is sent.
 * @param {string} text
 */
export const visible = (text) =>
  text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );

/** A terminal's colours and cursor movements, which mean nothing here. @param {string} text */
export const withoutAnsi = (text) => text.replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g, '');

/** Whether a number is what was sent: larger whole numbers than 2⁵³ are rounded where JSON is read. @param {number} value */
export const isExact = (value) => Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));

/** Stands at a number that may be another than was sent. */
export const ROUNDED = '(rounded by the browser)';

/** A value as JSON, to be copied: a number that is not what was sent is a text that says so, not another number. @param {unknown} value */
export const jsonOf = (value) => JSON.stringify(value, (_, each) => (typeof each === 'number' && !isExact(each) ? `${each} ${ROUNDED}` : each), 2);

/** One line of a value, for where there is no room. @param {unknown} value @param {number} [most] */
export function oneLine(value, most = 160) {
  const text = typeof value === 'string' ? value : beginningOf(value, most * 4 + 1);
  const line = visible(text.slice(0, most * 4).replace(/\s+/g, ' ')).trim();
  return line.length > most || text.length > most * 4 ? `${line.slice(0, most)}…` : line;
}

/**
 * How a value's JSON begins: at least `least` characters of it, or all. Written down here, since `JSON.stringify`
 * writes all of it before one can cut it off, and gives up where a value is nested deeper than its stack.
 * @param {unknown} value @param {number} least @returns {string}
 */
export function beginningOf(value, least) {
  let text = '';
  /** What is still to be written, the next one last. @type {{text: string, value?: unknown}[]} */
  const rest = [{text: '', value}];
  for (let next = rest.pop(); next !== undefined && text.length < least; next = rest.pop()) {
    text += next.text;
    if (!('value' in next)) continue;
    const each = next.value;
    if (each === null || typeof each !== 'object') {
      text += typeof each === 'number' && !isExact(each) ? `${each} ${ROUNDED}` : (JSON.stringify(typeof each === 'string' ? each.slice(0, least) : each) ?? '');
      continue;
    }
    const list = Array.isArray(each);
    text += list ? '[' : '{';
    rest.push({text: list ? ']' : '}'});
    // No member is written shorter than two characters: more of them than that would be cut off anyway.
    const names = list ? null : Object.keys(each);
    const count = Math.min(list ? each.length : (names?.length ?? 0), least);
    for (let at = count - 1; at >= 0; at -= 1) {
      const name = names?.[at];
      const member = name === undefined ? /** @type {unknown[]} */ (each)[at] : /** @type {Data} */ (each)[name];
      rest.push({text: `${at > 0 ? ',' : ''}${name === undefined ? '' : `${JSON.stringify(name)}:`}`, value: member});
    }
  }
  return text;
}

/** Arguments in a line: `host=db-3 depth=2`. @param {unknown} args @param {number} [most] */
export function argsLine(args, most = 120) {
  if (args === null || typeof args !== 'object' || Array.isArray(args) || isStandIn(args)) return valueLine(args, most);
  let line = '';
  for (const [name, value] of Object.entries(args)) {
    if (line.length > most * 4) break;
    line += `${line && '  '}${name}=${oneLine(value, most)}`;
  }
  return oneLine(line, most);
}

/** A value in a line; of what is stored aside, how it begins. @param {unknown} value @param {number} [most] */
export function valueLine(value, most = 160) {
  return isStandIn(value) ? `${size(value.bytes)}: ${oneLine(value.preview, most)}` : oneLine(value, most);
}

/** Whether a value only says where one is stored that is too large for an entry. @param {unknown} value
 * @returns {value is {artifact: string, bytes: number, preview: unknown}} */
export function isStandIn(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  const keys = Object.keys(value);
  if (keys.length !== 3 || !['artifact', 'bytes', 'preview'].every((key) => keys.includes(key))) return false;
  // Arguments may happen to have these names: what cannot be a stand-in is shown as what it is.
  const {artifact, bytes} = /** @type {Data} */ (value);
  return typeof artifact === 'string' && typeof bytes === 'number';
}
