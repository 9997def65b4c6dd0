/** What the run's model requests cost. @module */
import {html} from '../html.js';
import {count, dollars, duration} from '../model/words.js';

/** @param {{usage: import('../model/run.js').Usage}} props */
export function Usage({usage}) {
  const {input_tokens: input, output_tokens: output, model, ttft_ms: first, cost_usd: cost, byStep} = usage;
  if (input + output === 0 && model === null) return html`<p class="jl-none">No figures of a model yet.</p>`;
  return html`<div class="jl-usage">
    <dl class="jl-facts-list">
      <div><dt>Tokens in</dt><dd>${count(input)}</dd></div>
      <div><dt>Tokens out</dt><dd>${count(output)}</dd></div>
      ${cost !== null && html`<div><dt>Cost</dt><dd title="By the provider's list prices">${dollars(cost)}</dd></div>`}
      ${model !== null && html`<div><dt>Model</dt><dd><code>${model}</code></dd></div>`}
      ${first !== null && html`<div><dt>First token after</dt><dd>${duration(first)}</dd></div>`}
      ${byStep !== null && byStep.length > 0 && html`<div><dt>Requests</dt><dd>${count(byStep.length)}</dd></div>`}
    </dl>
    ${byStep !== null && byStep.length > 1 && html`<details><summary>By step</summary><div class="jl-table" role="region" aria-label="Usage by step" tabindex="0"><table>
      <thead><tr><th scope="col">Step</th><th scope="col">In</th><th scope="col">Out</th>${cost !== null && html`<th scope="col">Cost</th>`}<th scope="col">First</th></tr></thead>
      <tbody>${byStep.slice(-100).map((step) => html`<tr><th scope="row">${step.step}</th><td>${count(step.input_tokens)}</td><td>${count(step.output_tokens)}</td>${cost !== null && html`<td>${dollars(step.cost_usd ?? 0)}</td>`}<td>${step.ttft_ms === null ? '' : duration(step.ttft_ms)}</td></tr>`)}</tbody>
    </table></div></details>`}
  </div>`;
}
