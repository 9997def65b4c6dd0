/** One answer to all questions of a step: nothing runs before each of them is answered. @module */
import {html, useId, useState} from '../html.js';
import {argsLine, effectWord, visible} from '../model/words.js';

/** @typedef {import('../model/run.js').Round} Round */
/** @typedef {{call_id: string, approve: boolean, reason?: string}} Decision */

/**
 * @param {object} props
 * @param {Round[]} props.approvals those that wait
 * @param {Map<string, import('../model/run.js').Call>} [props.calls]
 * @param {(decisions: Decision[]) => Promise<unknown>} props.onDecideAll all or none
 */
export function StepApprovals({approvals, calls, onDecideAll}) {
  const id = useId();
  const [asked, ask] = useState(/** @type {boolean | null} */ (null));
  const [reason, setReason] = useState('');
  const [state, tell] = useState(/** @type {{busy: boolean, sent: boolean, error: string}} */ ({busy: false, sent: false, error: ''}));
  const those = approvals.filter((each) => each.state === 'pending' && each.kind === 'call');
  const others = approvals.filter((each) => each.state === 'pending').length - those.length;
  if (those.length < 2) return null;
  const decide = async () => {
    if (asked === null || state.busy) return;
    tell({busy: true, sent: false, error: ''});
    const said = reason.trim() === '' ? {} : {reason: reason.trim()};
    try {
      await onDecideAll(those.map(({callId, round}) => ({call_id: callId, round, approve: asked, ...said})));
      tell({busy: false, sent: true, error: ''});
    } catch (error) {
      tell({busy: false, sent: false, error: words(error)});
    }
  };
  const over = state.busy || state.sent;
  return html`<section class="jl-step" aria-labelledby=${id}>
    <div class="jl-step-head">
      <h3 id=${id}>${those.length} calls of this step wait for you</h3>
      ${asked === null && html`<div class="jl-buttons">
        <button type="button" onClick=${() => ask(true)}>Approve all …</button>
        <button type="button" class="danger" onClick=${() => ask(false)}>Deny all …</button>
      </div>`}
    </div>
    ${others > 0 && html`<p class="jl-about">${others === 1 ? 'One question about an unknown outcome' : `${others} questions about unknown outcomes`} must be answered apart.</p>`}
    ${asked !== null && html`<form onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), void decide())}>
      <p>${asked ? 'These run, as they are:' : 'None of these runs:'}</p>
      <ul class="jl-list">${those.map((each) => html`<li><code>${visible(each.name)}</code> <span class="jl-muted">${effectWord(calls?.get(each.callId)?.effect)}</span> <code class="jl-line">${argsLine(each.args, 200)}</code></li>`)}</ul>
      <div class="jl-field"><label for=${`${id}-reason`}><span class="jl-name">Reason</span><span class="jl-type">may be left empty; the same for all</span></label>
        <input type="text" id=${`${id}-reason`} maxlength="10000" autocomplete="off" disabled=${over} value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)} /></div>
      <div class="jl-buttons">
        <button type="submit" class=${asked ? 'primary' : 'danger'} disabled=${over}>${asked ? `Approve ${those.length} calls` : `Deny ${those.length} calls`}</button>
        <button type="button" class="quiet" disabled=${over} onClick=${() => (ask(null), tell({busy: false, sent: false, error: ''}))}>Cancel</button>
      </div>
      <div role="status" class="jl-sending">${state.busy && 'Sending …'}${state.sent && 'The server has it. The run goes on in a moment.'}</div>
      ${state.error !== '' && html`<p class="jl-error" role="alert">${state.error}</p>`}
    </form>`}
  </section>`;
}

/** @param {any} error */
function words(error) {
  if (error?.status === 409) return `Nothing was changed: one of them was answered meanwhile${error.problem?.by ? ` by ${error.problem.by}` : ''}. Look at what is left, and answer again.`;
  if (error?.status !== undefined) return `Nothing was changed. The server refused it: ${error.detail || error.status}`;
  return `${error instanceof Error ? error.message : error}. It is not known whether the answers arrived. The same again is safe: the first one counts.`;
}
