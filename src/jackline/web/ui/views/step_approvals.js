/** One answer to all questions of a step: nothing runs before each of them is answered. @module */
import {html, useId, useLayoutEffect, useRef, useState} from '../html.js';
import {argsLine, effectWord, visible} from '../model/words.js';
import {useSettling} from './settling.js';

/** @typedef {import('../model/run.js').Round} Round */
/** @typedef {{call_id: string, approve: boolean, reason?: string}} Decision */

/**
 * What is about to be answered: the questions that were listed when it was chosen, and no others.
 * @typedef {{approve: boolean, those: Round[], reason: string, at: 'asked' | 'sending' | 'sent'}} Answer
 */

/** What went wrong, told while one of the questions that it is about waits. @typedef {{words: string, of: Round[]}} Trouble */

/**
 * @param {object} props
 * @param {Round[]} props.approvals those that wait
 * @param {Map<string, import('../model/run.js').Call>} [props.calls]
 * @param {(decisions: Decision[]) => Promise<unknown>} props.onDecideAll all or none
 */
export function StepApprovals({approvals, calls, onDecideAll}) {
  const id = useId();
  const region = useRef(/** @type {HTMLElement | null} */ (null));
  const [chosen, choose] = useState(/** @type {Answer | null} */ (null));
  const [trouble, tell] = useState(/** @type {Trouble | null} */ (null));
  const waiting = new Set(approvals.filter((each) => each.state === 'pending').map(keyOf));
  const those = approvals.filter((each) => each.state === 'pending' && each.kind === 'call');
  const others = waiting.size - those.length;
  // Where one of them has been answered, or the next step asks, nobody has confirmed what waits now.
  const answer = chosen?.those.every((each) => waiting.has(keyOf(each))) ? chosen : null;
  useLayoutEffect(() => {
    if (answer === null) choose(null);
  }, [answer === null]);
  useSettling(region, answer === null ? '' : 'asked');
  const told = trouble?.of.some((each) => waiting.has(keyOf(each))) && html`<p class="jl-error" role="alert">${trouble.words}</p>`;
  if (those.length < 2) return told || null;
  /** @param {boolean} approve */
  const ask = (approve) => {
    tell(null);
    choose({approve, those, reason: '', at: 'asked'});
  };
  const decide = async () => {
    if (answer === null || answer.at !== 'asked') return;
    const said = answer.reason.trim() === '' ? {} : {reason: answer.reason.trim()};
    /** @param {Answer['at']} at */
    const go = (at) => choose((now) => (now?.those === answer.those ? {...now, at} : now));
    tell(null);
    go('sending');
    try {
      await onDecideAll(answer.those.map(({callId, round}) => ({call_id: callId, round, approve: answer.approve, ...said})));
      go('sent');
    } catch (error) {
      tell({words: words(error), of: answer.those});
      go('asked');
    }
  };
  const over = answer !== null && answer.at !== 'asked';
  const many = answer?.those.length;
  return html`<section class="jl-step" aria-labelledby=${id} ref=${region}>
    <div class="jl-step-head">
      <h3 id=${id}>${those.length} calls of this step wait for you</h3>
      ${answer === null && html`<div class="jl-buttons">
        <button type="button" onClick=${() => ask(true)}>Approve all …</button>
        <button type="button" class="danger" onClick=${() => ask(false)}>Deny all …</button>
      </div>`}
    </div>
    ${others > 0 && html`<p class="jl-about">${others === 1 ? 'One question about an unknown outcome' : `${others} questions about unknown outcomes`} must be answered apart.</p>`}
    ${answer !== null && html`<form onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), void decide())}>
      <p>${answer.approve ? 'These run, as they are:' : 'None of these runs:'}</p>
      <ul class="jl-list">${answer.those.map((each) => html`<li><code>${visible(each.name)}</code> <span class="jl-muted">${effectWord(calls?.get(each.callId)?.effect)}</span> <code class="jl-line">${argsLine(each.args, 200)}</code></li>`)}</ul>
      <div class="jl-field"><label for=${`${id}-reason`}><span class="jl-name">Reason</span><span class="jl-type">may be left empty; the same for all</span></label>
        <input type="text" id=${`${id}-reason`} maxlength="10000" autocomplete="off" disabled=${over} value=${answer.reason} onInput=${(/** @type {any} */ event) => choose({...answer, reason: event.currentTarget.value})} /></div>
      <div class="jl-buttons">
        <button type="submit" class=${answer.approve ? 'primary' : 'danger'} disabled=${over}>${answer.approve ? `Approve ${many} calls` : `Deny ${many} calls`}</button>
        <button type="button" class="quiet" disabled=${over} onClick=${() => choose(null)}>Cancel</button>
      </div>
      <div role="status" class="jl-sending">${answer.at === 'sending' && 'Sending …'}${answer.at === 'sent' && 'The server has it. The run goes on in a moment.'}</div>
    </form>`}
    ${told}
  </section>`;
}

/** @param {Round} round */
const keyOf = ({callId, round}) => `${callId}-${round}`;

/** @param {any} error */
function words(error) {
  if (error?.status === 409) return `Nothing was changed: one of them was answered meanwhile${error.problem?.by ? ` by ${error.problem.by}` : ''}. Look at what is left, and answer again.`;
  if (error?.status !== undefined) return `Nothing was changed. The server refused it: ${error.detail || error.status}`;
  return `${error instanceof Error ? error.message : error}. It is not known whether the answers arrived. The same again is safe: the first one counts.`;
}
