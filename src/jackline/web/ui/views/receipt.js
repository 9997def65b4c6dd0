/** A stop's receipt: what was cancelled, what had finished, what nobody knows. @module */
import {html} from '../html.js';
import {duration, oneLine, outcomeWord, timeOf} from '../model/words.js';

/** @typedef {Record<string, any>} Data */

/** What needs eyes comes first. */
const ORDER = ['unknown', 'killed', 'cancelled', 'finished_before_stop', 'not_started'];

/** @param {{receipt: Data, run?: Pick<import('../model/run.js').Run, 'stop' | 'calls'>}} props */
export function Receipt({receipt, run}) {
  /** @type {Data[]} */ const tools = [...(receipt.tools ?? [])];
  const rank = (/** @type {Data} */ tool) => (ORDER.includes(tool.outcome) ? ORDER.indexOf(tool.outcome) : -1);
  tools.sort((one, other) => rank(one) - rank(other));
  const unknown = tools.filter((tool) => tool.outcome === 'unknown');
  // Where nothing was to be changed there is nothing to look at.
  const harmless = unknown.every((tool) => run?.calls.get(tool.call_id)?.effect === 'read_only');
  const reason = run?.stop?.reason;
  return html`<div class="jl-receipt" role="group" aria-label="Receipt of the stop">
    <p><strong>Quiet after ${duration(receipt.quiet_ms ?? 0)}.</strong> Asked for by ${receipt.by || 'somebody'} at ${timeOf(receipt.requested_at ?? null)}.</p>
    ${reason && html`<p class="jl-plain jl-reason">“${reason}”</p>`}
    <p>${receipt.model === 'closed' ? 'The model’s answer was cut off.' : 'No request to the model was open.'}</p>
    ${unknown.length > 0 && html`<p class="jl-warning">
      ${unknown.length === 1
        ? `What became of one call is unknown${harmless ? '; it only reads.' : ': look at what it was to change.'}`
        : `What became of ${unknown.length} calls is unknown${harmless ? '; they only read.' : ': look at what they were to change.'}`}
    </p>`}
    ${tools.length === 0
      ? html`<p>No call of the step was under way.</p>`
      : html`<ul class="jl-list">${tools.map((tool) => html`<li data-outcome=${tool.outcome}><code>${tool.name}</code> ${outcomeWord(tool.outcome)}${tool.answer !== undefined && html`<span class="jl-muted">; its server said: ${answerOf(tool.answer)}</span>`}</li>`)}</ul>`}
  </div>`;
}

/** @param {any} answer */
const answerOf = (answer) => oneLine(answer?.text ?? answer?.error?.message ?? answer);
