/** A question to a person, as a document: what is asked, why, with which arguments; and the answer. @module */
import {html, useId, useLayoutEffect, useMemo, useRef, useState} from '../html.js';
import {exact, fieldErrors, fieldsOf, read, same, tooDeep, typedOf} from '../model/form.js';
import {answerWord, dateOf, effectWord, isStandIn, ticking, timeOf, visible} from '../model/words.js';
import {Checker} from '../state/checker.js';
import {ArgsForm} from './args_form.js';
import {useNow} from './tick.js';
import {Value} from './value.js';

/** @typedef {import('../model/run.js').Round} Round */
/** @typedef {import('../model/run.js').Call} Call */
/** @typedef {{approve: boolean, args?: Record<string, any>, reason?: string} | {outcome: 'retry' | 'done' | 'abort', result?: unknown, reason?: string}} Decision */
/** @typedef {(callId: string, decision: Decision) => Promise<unknown>} OnDecide */

/**
 * Where an answer stands that was given here. `lost`: it may have arrived.
 * @typedef {{at: 'none'} | {at: 'sending', what: string, slow?: boolean} | {at: 'sent', what: string}
 *   | {at: 'refused', words: string, fields: Map<string, string>} | {at: 'lost', words: string}} Sending
 */

/** After which time without an answer it is said that there is none. */
const SLOW_MS = 2_000;

/**
 * @param {object} props
 * @param {Round} props.approval one that waits
 * @param {Call | undefined} [props.call] what is asked about
 * @param {number} [props.now] by the server's clock: for how long the question still waits
 * @param {OnDecide} props.onDecide
 */
export function ApprovalCard({approval, call, now, onDecide}) {
  const id = useId();
  const {state, kind, name} = approval;
  const title = kind === 'outcome' ? html`What became of <code>${visible(name)}</code>?` : html`May <code>${visible(name)}</code> run?`;
  const effect = effectWord(call?.effect);
  return html`<article class="jl-approval" data-state=${state} data-call=${approval.callId} aria-labelledby=${id} tabindex="-1">
    <header>
      <h3 id=${id}>${title}</h3>
      <span class="jl-badge" data-tone="warn">${answerWord(approval)}</span>
    </header>
    <p class="jl-facts">
      ${effect && html`<span data-effect=${call?.effect}>${effect}</span>`}
      <span title=${dateOf(approval.requestedAt)}>asked at ${timeOf(approval.requestedAt)}</span>
      ${approval.round > 1 && html`<span>question ${approval.round} about this call</span>`}
      ${approval.expiresAt !== null && html`<${Expiry} approval=${approval} now=${now} />`}
    </p>
    ${kind === 'outcome' && html`<p class="jl-why">The worker was lost while this call ran, and nobody saw how it ended. Look at what it was to change before you answer.</p>`}
    ${approval.question !== null && approval.question !== '' && html`<div class="jl-why"><p class="jl-label">Why</p><p class="jl-plain">${visible(approval.question)}</p></div>`}
    ${kind === 'outcome' ? html`<${OutcomeForm} approval=${approval} onDecide=${onDecide} />` : html`<${CallForm} approval=${approval} onDecide=${onDecide} />`}
  </article>`;
}

/** @param {{approval: Round, now: number | undefined}} props */
function Expiry({approval, now}) {
  const local = useNow(true);
  // The server's clock goes on between two renderings of the page.
  const skew = useMemo(() => (now === undefined ? 0 : now - Date.now()), [now === undefined, approval]);
  const left = Date.parse(approval.expiresAt ?? '') - (local + skew);
  const means = approval.kind === 'outcome' ? 'the run is given up' : approval.onExpiry === 'approve' ? 'it is approved' : 'it is denied';
  if (Number.isNaN(left)) return null;
  const words = left > 0 ? `${ticking(left)} left, then ${means}` : `time is over: ${means}`;
  return html`<span class="jl-expiry" data-soon=${left < 60_000} title=${dateOf(approval.expiresAt)}>${words}</span>`;
}

/** @param {{approval: Round}} props */
const Args = ({approval}) => html`<div class="jl-args"><p class="jl-label">Arguments</p>
  <${Value} value=${approval.args} label="Arguments" runId=${runOf(approval)} /></div>`;

/** @param {Round} approval */
const runOf = ({callId}) => callId.slice(0, Math.max(0, callId.lastIndexOf('.')));

/**
 * Sends an answer, and says what became of it.
 * @param {Round} approval @param {OnDecide} onDecide
 * @returns {[Sending, (decision: Decision, what: string) => Promise<void>, () => void]}
 */
function useSending(approval, onDecide) {
  const [sending, tell] = useState(/** @type {Sending} */ ({at: 'none'}));
  const busy = useRef(false);
  /** @param {Decision} decision @param {string} what */
  const send = async (decision, what) => {
    if (busy.current) return;
    busy.current = true;
    tell({at: 'sending', what});
    const slow = setTimeout(() => tell({at: 'sending', what, slow: true}), SLOW_MS);
    try {
      await onDecide(approval.callId, decision);
      tell({at: 'sent', what});
    } catch (error) {
      tell(failure(error));
    } finally {
      clearTimeout(slow);
      busy.current = false;
    }
  };
  return [sending, send, () => tell({at: 'none'})];
}

/** What went wrong, in words. @param {any} error @returns {Sending} */
function failure(error) {
  const problem = error?.problem;
  if (error?.status === 409) {
    const by = problem?.by ? ` by ${problem.by}` : '';
    const at = problem?.at ? ` at ${timeOf(problem.at)}` : '';
    const how = problem?.state ? `${problem.state}${by}${at}` : error.detail || 'it is answered already';
    return {at: 'refused', words: `Your answer came too late: ${how}.`, fields: new Map()};
  }
  if (error?.status === 422) {
    const fields = fieldErrors(problem);
    return {at: 'refused', words: `The server did not accept it: ${error.detail}`, fields};
  }
  if (error?.status !== undefined) return {at: 'refused', words: `The server refused it: ${error.detail || error.status}`, fields: new Map()};
  const words = error instanceof Error ? error.message : String(error);
  return {at: 'lost', words: `${words}. It is not known whether your answer arrived. The same answer again is safe: the first one counts.`};
}

/** @param {{sending: Sending}} props */
function SendingNote({sending}) {
  const failed = sending.at === 'refused' || sending.at === 'lost';
  return html`<div role="status" class="jl-sending">
    ${sending.at === 'sending' && `${sending.what}: ${sending.slow ? 'no answer yet; it is sent again' : 'sending …'}`}
    ${sending.at === 'sent' && `${sending.what}: the server has it. The run goes on in a moment.`}
  </div>
  ${failed && html`<p class="jl-error" role="alert">${sending.words}</p>`}`;
}

/**
 * What the schema does not allow of arguments: undefined until it is known, null where it cannot be said here.
 * @param {unknown} schema @param {Record<string, any> | null} args @returns {Map<string, string> | null | undefined}
 */
function useChecked(schema, args) {
  const [checked, tell] = useState(/** @type {import('../state/checker.js').Checked | undefined} */ (undefined));
  const checker = useRef(/** @type {Checker | null} */ (null));
  useLayoutEffect(() => {
    if (args === null) return;
    checker.current ??= new Checker(tell);
    checker.current.check(schema, args);
  }, [schema, args]);
  useLayoutEffect(() => () => checker.current?.close(), []);
  return args === null ? undefined : checked;
}

/** May a call run? @param {{approval: Round, onDecide: OnDecide}} props */
function CallForm({approval, onDecide}) {
  const id = useId();
  const {args, argsSchema: schema} = approval;
  const [editing, edit] = useState(false);
  const [asJson, setAsJson] = useState(false);
  const cannot = useMemo(() => cannotEdit(args), [args]);
  // What the form is made of: what was asked for, or what was written as JSON since. Else it would drop new names.
  const [base, setBase] = useState(args);
  const [typed, type] = useState(() => (cannot === null ? typedOf(fieldsOf(schema, args), args) : {}));
  const fields = useMemo(() => (asJson || cannot !== null ? null : fieldsOf(schema, base)), [asJson, cannot, schema, base]);
  const [reason, setReason] = useState('');
  const [sending, send, again] = useSending(approval, onDecide);
  const made = useMemo(() => (editing ? read(fields, typed, base) : null), [editing, fields, typed, base]);
  const checked = useChecked(schema, made?.args ?? null);
  const faults = made === null ? new Map() : made.errors.size > 0 ? made.errors : (checked ?? new Map());
  const errors = new Map([...(sending.at === 'refused' ? sending.fields : []), ...faults]);
  const edited = made?.args != null && !same(made.args, args);
  const wrong = faults.size > 0;
  const over = sending.at === 'sending' || sending.at === 'sent';
  const said = reason.trim() === '' ? {} : {reason: reason.trim()};
  const approve = () => {
    if (wrong || over) return;
    void send({approve: true, ...(edited && made.args !== null && {args: made.args}), ...said}, edited ? 'Approve with changes' : 'Approve');
  };
  const toggleJson = () => {
    const now = made?.args ?? args;
    setBase(now);
    type(typedOf(asJson ? fieldsOf(schema, now) : null, now));
    setAsJson(!asJson);
  };
  return html`<form class="jl-decide" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    ${editing
      ? html`<div class="jl-args" role="group" aria-label="Edit the arguments">
          <${ArgsForm} fields=${fields} typed=${typed} errors=${errors} disabled=${over} onType=${(/** @type {any} */ next) => (type(next), again())} />
          <div class="jl-buttons">
            ${fieldsOf(schema, args) !== null && html`<button type="button" class="quiet" disabled=${over || wrong} onClick=${toggleJson}>${asJson ? 'Edit as a form' : 'Edit as JSON'}</button>`}
            <button type="button" class="quiet" disabled=${over} onClick=${() => (edit(false), setAsJson(false), setBase(args), type(typedOf(fieldsOf(schema, args), args)), again())}>Undo the changes</button>
          </div>
        </div>`
      : html`<${Args} approval=${approval} />`}
    <div class="jl-field">
      <label for=${`${id}-reason`}><span class="jl-name">Reason</span><span class="jl-type">may be left empty; the agent reads it when you deny</span></label>
      <input type="text" id=${`${id}-reason`} maxlength="10000" autocomplete="off" disabled=${over} value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)} />
    </div>
    <div class="jl-buttons">
      <button type="button" class="primary" disabled=${over || wrong} onClick=${approve}>${edited ? 'Approve with changes' : 'Approve'}</button>
      <button type="button" class="danger" disabled=${over} onClick=${() => send({approve: false, ...said}, 'Deny')}>Deny</button>
      ${!editing && cannot === null && html`<button type="button" disabled=${over} onClick=${() => edit(true)}>Edit arguments</button>`}
    </div>
    ${cannot !== null && html`<p class="jl-about">${cannot}</p>`}
    ${editing && checked === null && html`<p class="jl-about">These arguments cannot be checked here: the tool’s schema takes too long, or the check was not loaded. The server checks them when you approve.</p>`}
    <${SendingNote} sending=${sending} />
  </form>`;
}

/** @param {unknown} args */
function cannotEdit(args) {
  if (isStandIn(args)) return 'The arguments are too large to be edited here.';
  if (tooDeep(args)) return 'The arguments are nested too deeply to be edited here.';
  return exact(args) ? null : 'The arguments cannot be edited here: they have a number with more digits than a browser can keep.';
}

/** @type {{value: 'retry' | 'done' | 'abort', label: string, about: string}[]} */
const OUTCOMES = [
  {value: 'done', label: 'It is done', about: 'You have looked, and it has happened. The agent goes on with the result that you give.'},
  {value: 'retry', label: 'Run it again', about: 'It starts once more, with the same arguments. Only if doing it twice does no harm.'},
  {value: 'abort', label: 'Give up', about: 'The call counts as failed, and so does the run.'},
];

/** What became of a call? @param {{approval: Round, onDecide: OnDecide}} props */
function OutcomeForm({approval, onDecide}) {
  const id = useId();
  const [choice, choose] = useState(/** @type {'retry' | 'done' | 'abort' | ''} */ (''));
  const [result, setResult] = useState('');
  const [reason, setReason] = useState('');
  const [sending, send] = useSending(approval, onDecide);
  const over = sending.at === 'sending' || sending.at === 'sent';
  const offered = OUTCOMES.filter(({value}) => approval.choices.length === 0 || approval.choices.includes(value));
  const value = asResult(result);
  const decide = () => {
    if (choice === '' || over) return;
    const label = OUTCOMES.find((each) => each.value === choice)?.label ?? choice;
    void send({outcome: choice, ...(choice === 'done' && result.trim() !== '' && {result: value}), ...(reason.trim() !== '' && {reason: reason.trim()})}, label);
  };
  return html`<form class="jl-decide" onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), decide())}>
    <${Args} approval=${approval} />
    <fieldset class="jl-choices" disabled=${over}>
      <legend class="jl-label">What did you find?</legend>
      ${offered.map((each) => html`<label class="jl-choice"><input type="radio" name=${id} value=${each.value} checked=${choice === each.value} onChange=${() => choose(each.value)} />
        <span><strong>${each.label}</strong><span class="jl-about">${each.about}</span></span></label>`)}
    </fieldset>
    ${choice === 'done' && html`<div class="jl-field">
      <label for=${`${id}-result`}><span class="jl-name">Result</span><span class="jl-type">${result.trim() === '' ? 'may be left empty' : typeof value === 'string' ? 'sent as text' : 'sent as JSON'}</span></label>
      <textarea id=${`${id}-result`} class="jl-mono" rows="2" disabled=${over} value=${result} onInput=${(/** @type {any} */ event) => setResult(event.currentTarget.value)}></textarea>
    </div>`}
    <div class="jl-field">
      <label for=${`${id}-reason`}><span class="jl-name">Reason</span><span class="jl-type">may be left empty</span></label>
      <input type="text" id=${`${id}-reason`} maxlength="10000" autocomplete="off" disabled=${over} value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)} />
    </div>
    <div class="jl-buttons"><button type="submit" class=${choice === 'abort' ? 'danger' : 'primary'} disabled=${over || choice === ''}>${OUTCOMES.find((each) => each.value === choice)?.label ?? 'Answer'}</button></div>
    <${SendingNote} sending=${sending} />
  </form>`;
}

/** JSON where it is an object, a list, a number or the like; else text. @param {string} typed @returns {unknown} */
function asResult(typed) {
  try {
    /** @type {unknown} */ const value = JSON.parse(typed);
    return exact(value) ? value : typed;
  } catch {
    return typed;
  }
}
