/** One row of a run: what was said, a call, or what became of the run. @module */
import {html} from '../html.js';
import {runHref} from '../state/route.js';
import {duration} from '../model/words.js';
import {stateWord} from '../state/words.js';
import {ErrorNote} from './error_note.js';
import {JsonTree} from './json_tree.js';
import {useKept} from './kept.js';
import {Markdown} from './markdown.js';
import {Receipt} from './receipt.js';
import {ToolCard} from './tool_card.js';

/** @typedef {import('../model/run.js').Item} Item */
/** @typedef {import('../model/run.js').Note} Note */
/** @typedef {import('../model/run.js').Run} Run */
/** @typedef {Record<string, any>} Data */

/** @param {{item: Item, run: Run, onShow: (callId: string) => void}} props `onShow`: go to a call */
export function RunRow({item, run, onShow}) {
  switch (item.kind) {
    case 'user':
      return html`<div class="said" data-who="user"><h3 class="who">${run.by || 'You'}</h3><div class="user-text">${item.text}</div></div>`;
    case 'text':
      return html`<div class="said" data-who="agent"><h3 class="visually-hidden">${run.agent || 'Agent'}</h3>
        <${Markdown} text=${item.text} done=${!item.open} />
      </div>`;
    case 'reasoning':
      return html`<${Folded} class="reasoning">
        <summary>${item.open ? 'Thinking' : `Thought${took(item.at, item.until)}`}</summary>
        <${Markdown} text=${item.text} done=${!item.open} />
      </${Folded}>`;
    case 'call':
      return html`<${ToolCard} call=${item} run=${run} onShow=${onShow} />`;
    case 'note':
      return html`<${NoteRow} note=${item} run=${run} />`;
  }
}

/** @param {string | null} from @param {string | null} until */
function took(from, until) {
  const ms = Date.parse(until ?? '') - Date.parse(from ?? '');
  return Number.isNaN(ms) || ms < 1000 ? '' : ` for ${duration(ms)}`;
}

/** @param {{note: Note, run: Run}} props */
function NoteRow({note, run}) {
  const {data} = note;
  switch (note.note) {
    case 'stopped':
      return html`<div class="ending" data-state="stopped"><h3>Stopped${data.by ? ` by ${data.by}` : ''}</h3>
        ${run.receipt !== null && html`<${Receipt} receipt=${run.receipt} run=${run} />`}
      </div>`;
    case 'failed':
      return html`<div class="ending" data-state="failed"><h3>Failed</h3>${run.error !== null && html`<${ErrorNote} error=${run.error} />`}</div>`;
    case 'completed':
      return html`<div class="ending" data-state="completed"><h3>Completed</h3>${output(run)}</div>`;
    default:
      return html`<p class="note">${noteWords(note)}</p>`;
  }
}

/** What a run came to, where its last words do not say it already. @param {Run} run */
function output(run) {
  if (run.output === undefined || run.output === null) return null;
  const last = run.items.findLast((item) => item.kind === 'text');
  if (typeof run.output === 'string') {
    if (last?.kind === 'text' && last.text.trim() === run.output.trim()) return null;
    return html`<${Markdown} text=${run.output} done=${true} />`;
  }
  return html`<${JsonTree} value=${run.output} />`;
}

/** @param {Note} note */
function noteWords({note, data}) {
  switch (note) {
    case 'takeover':
      return `Another worker has taken the run over: attempt ${data.attempt}.`;
    case 'retry':
      return `The model is asked again in ${duration(data.retry?.after_ms ?? 0)}: ${errorWords(data.retry?.error)}`;
    case 'handed_back':
      return 'The worker has handed the run back, another one goes on.';
    case 'stopping':
      return `${data.by || 'Somebody'} asked to stop it${data.mode === 'after_step' ? ' after this step' : ''}${data.reason ? `: ${data.reason}` : '.'}`;
    case 'gap':
      return 'Earlier entries cannot be had one by one any more. What they came to is shown.';
    default:
      return data.reason || 'The log has come back from its store; what was missing was put back.';
  }
}

/** @param {unknown} error */
function errorWords(error) {
  if (error !== null && typeof error === 'object' && 'message' in error) return String(error.message);
  return String(error ?? '');
}

/** An earlier run of the conversation, folded. @param {{earlier: Data}} props */
export function EarlierRow({earlier}) {
  const messages = /** @type {Data[]} */ (earlier.transcript ?? []);
  const asked = messages.find((message) => message.role === 'user')?.text ?? '';
  return html`<${Folded} class="earlier">
    <summary><span class="ellipsis">${asked || earlier.run_id}</span> <span class="state" data-state=${earlier.state}>${stateWord(earlier.state)}</span></summary>
    ${messages.filter((message) => message.kind !== 'reasoning').map((message) => html`<div class="said" data-who=${message.role === 'user' ? 'user' : 'agent'}>
      ${message.role === 'user' ? html`<div class="user-text">${message.text}</div>` : html`<${Markdown} text=${message.text} done=${true} />`}
    </div>`)}
    <p><a href=${runHref(earlier.run_id)}>Open this run, with its calls</a></p>
  </${Folded}>`;
}

/** @param {{class: string, children?: import('../html.js').Children}} props */
function Folded({class: name, children}) {
  const [open, keep] = useKept(name, false);
  return html`<details class=${name} open=${open} onToggle=${(/** @type {any} */ event) => keep(event.currentTarget.open)}>${children}</details>`;
}
