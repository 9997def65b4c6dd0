/** An error in words, with what to do. @module */
import {html} from '../html.js';
import {errorWords, visible} from '../model/words.js';

/** @param {{error: {type: string, message: string}}} props */
export function ErrorNote({error}) {
  const {title, advice} = errorWords(error);
  return html`<div class="jl-error-note">
    <p><strong>${title}</strong> <code class="jl-muted">${error.type}</code></p>
    ${error.message && html`<p class="jl-plain">${visible(error.message)}</p>`}
    ${advice && html`<p class="jl-about">${advice}</p>`}
  </div>`;
}
