/** What is shown where no run is. @module */
import {html} from '../html.js';

/** @typedef {Record<string, any>} Data */

/** @param {{agents: Data[], onTask: (prompt: string, agent: string) => void}} props */
export function Welcome({agents, onTask}) {
  const tasks = agents.flatMap((agent) => (agent.tasks ?? []).map((/** @type {Data} */ task) => ({...task, agent: agent.name})));
  return html`<section class="welcome">
    <h1>What is to be done?</h1>
    <p class="muted">Write it below. You see each step, approve what needs it, and can stop at any time.</p>
    <ul class="plain">
      ${tasks.map((task) => html`<li><button type="button" onClick=${() => onTask(task.prompt, task.agent)}>${task.title}</button></li>`)}
    </ul>
  </section>`;
}
