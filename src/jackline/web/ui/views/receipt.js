/** A stop's receipt: what was cancelled, what had finished, what nobody knows. @module */
import {html} from '../html.js';
import {duration, oneLine, outcomeWord, timeOf} from '../model/words.js';

/** @typedef {Record<string, any>} Data */

/** What needs eyes comes first. */
const ORDER = ['unknown', 'killed', 'cancelled', 'finished_before_stop', 'not_started'];

/** @param {{receipt: Data, run?: {stop: import('../model/run.js').Stop | null}}} props */
export function Receipt({receipt, run}) {
  /** @type {Data[]} */ const tools = [...(receipt.tools ?? [])];
  const rank = (/** @type {Data} */ tool) => (ORDER.includes(tool.outcome) ? ORDER.indexOf(tool.outcome) : -1);
  tools.sort((one, other) => rank(one) - rank(other));
  const unknown = tools.filter((tool) => tool.outcome === 'unknown').length;
  const reason = run?.stop?.reason;
  return html`<div class="jl-receipt" role="group" aria-label="Receipt of the stop">
    <p><strong>Quiet after ${duration(receipt.quiet_ms ?? 0)}.</strong> Asked for by ${receipt.by || 'somebody'} at ${timeOf(receipt.requested_at ?? null)}.</p>
    ${reason && html`<p class="jl-plain jl-reason">“${reason}”</p>`}
    <p>${receipt.model === 'closed' ? 'The model’s answer was cut off.' : 'No request to the model was open.'}</p>
    ${unknown > 0 && html`<p class="jl-warning">${unknown === 1 ? 'What became of one call is unknown' : `What became of ${unknown} calls is unknown`}: look at what it was to change.</p>`}
    ${tools.length === 0
      ? html`<p>No call of the step was under way.</p>`
      : html`<ul class="jl-list">${tools.map((tool) => html`<li data-outcome=${tool.outcome}><code>${tool.name}</code> ${outcomeWord(tool.outcome)}${tool.answer !== undefined && html`<span class="jl-muted">; its server said: ${answerOf(tool.answer)}</span>`}</li>`)}</ul>`}
  </div>`;
}

/** @param {any} answer */
const answerOf = (answer) => oneLine(answer?.text ?? answer?.error?.message ?? answer);
