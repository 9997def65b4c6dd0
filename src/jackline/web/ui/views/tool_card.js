/** A tool call: what it is given, how far it is, what it came to. @module */
import {html, useId} from '../html.js';
import {changes} from '../model/form.js';
import {answerWord, argsLine, callWord, dateOf, duration, effectWord, jsonOf, oneLine, ticking, timeOf, valueLine, visible} from '../model/words.js';
import {CopyButton} from './copy.js';
import {ErrorNote} from './error_note.js';
import {useKept} from './kept.js';
import {useNow} from './tick.js';
import {Value} from './value.js';

/** @typedef {import('../model/run.js').Call} Call */
/** @typedef {Record<string, any>} Data */

/**
 * @param {object} props
 * @param {Call} props.call
 * @param {{runId: string, skewMs: number}} props.run
 * @param {((callId: string) => void) | undefined} [props.onShow] go to another call
 */
export function ToolCard({call, run, onShow}) {
  const id = useId();
  const [wanted, want] = useKept('card', /** @type {boolean | null} */ (null));
  const {state} = call;
  const waits = call.rounds.at(-1)?.state === 'pending';
  // What needs eyes is open; what went well is one line. So is what waits: its question has all of it.
  const open = wanted ?? (['started', 'failed', 'unknown'].includes(state) && !waits);
  const effect = effectWord(call.effect);
  return html`<section class="jl-tool" role="group" data-state=${waits ? 'waits' : state} data-call=${call.callId} aria-labelledby=${id}>
    <div class="jl-tool-head">
      <button type="button" class="jl-tool-toggle" aria-expanded=${open} aria-controls=${`${id}-body`} onClick=${() => want(!open)}>
        <span class="jl-tool-name" id=${id}>${visible(call.name)}</span>
        ${!open && html`<code class="jl-line">${argsLine(call.args)}</code>`}
      </button>
      <span class="jl-tool-facts">
        ${effect && call.effect !== 'read_only' && html`<span class="jl-effect" data-effect=${call.effect}>${effect}</span>`}
        <span class="jl-badge" data-tone=${tone(call, waits)}>${callWord(call)}</span>
        <${Duration} call=${call} skewMs=${run.skewMs} />
      </span>
    </div>
    ${!open && html`<${Short} call=${call} />`}
    ${!open && call.verifies !== null && html`<${Verifies} call=${call} onShow=${onShow} />`}
    <div id=${`${id}-body`} class="jl-tool-body" hidden=${!open}>${open && html`<${Body} call=${call} runId=${run.runId} onShow=${onShow} />`}</div>
  </section>`;
}

/** @param {Call} call @param {boolean} waits */
function tone({state}, waits) {
  if (waits) return 'warn';
  return {requested: 'muted', started: 'accent', finished: 'ok', failed: 'danger', denied: 'danger', cancelled: 'muted', unknown: 'warn'}[state];
}

/** How long it took, or runs by now. @param {{call: Call, skewMs: number}} props */
function Duration({call, skewMs}) {
  const running = call.state === 'started';
  const now = useNow(running);
  if (call.startedAt === null) return null;
  const took = call.durationMs ?? (call.endedAt === null ? null : Date.parse(call.endedAt) - Date.parse(call.startedAt));
  const words = running ? ticking(now + skewMs - Date.parse(call.startedAt)) : took === null ? '' : duration(took);
  return html`<span class="jl-duration" title=${dateOf(call.startedAt)}>${words}</span>`;
}

/** The result in a line. @param {{call: Call}} props */
function Short({call}) {
  if (call.error !== null) return html`<p class="jl-line jl-short" data-tone="danger">${oneLine(call.error.message)}</p>`;
  if (call.result === undefined || call.result === null || call.result === '') return null;
  return html`<p class="jl-line jl-short">${valueLine(call.result)}</p>`;
}

/** @param {{call: Call, onShow: ((callId: string) => void) | undefined}} props */
function Verifies({call, onShow}) {
  const {verified, verifies} = call;
  if (verifies === null) return null;
  const what = verified ? html`<code>${verified.name}</code>` : html`<code>${verifies}</code>`;
  return html`<p class="jl-verifies">Checks what ${onShow ? html`<button type="button" class="jl-link" onClick=${() => onShow(verifies)}>${what}</button>` : what} did</p>`;
}

/** @param {{call: Call, runId: string, onShow: ((callId: string) => void) | undefined}} props */
function Body({call, runId, onShow}) {
  const {args, result, error, rounds, state} = call;
  return html`
    <${Verifies} call=${call} onShow=${onShow} />
    <p class="jl-label">Arguments</p>
    <${Value} value=${args} label="Arguments" runId=${runId} />
    ${rounds.filter((round) => round.state !== 'pending').map((round) => html`<${Decided} round=${round} />`)}
    ${call.progress !== undefined && html`<${Progress} call=${call} runId=${runId} />`}
    ${error !== null && html`<${ErrorNote} error=${error} />`}
    ${result !== undefined && html`<p class="jl-label">Result</p><${Value} value=${result} label="Result" runId=${runId} />`}
    ${state === 'unknown' && html`<p class="jl-about">Nobody saw how it ended: it may have happened, in whole or in part.</p>`}
    <p class="jl-foot"><code>${call.callId}</code>${call.startedAt && html`<span title=${dateOf(call.startedAt)}>started at ${timeOf(call.startedAt)}</span>`}
      <${CopyButton} label="the call as JSON" text=${() => jsonOf(plain(call))} /></p>`;
}

/** Who answered a question about it, and what they changed. @param {{round: import('../model/run.js').Round}} props */
function Decided({round}) {
  const edited = round.grantedArgs === undefined ? [] : changes(round.args, round.grantedArgs);
  return html`<div class="jl-decided" data-state=${round.state}>
    <p>${round.kind === 'outcome' ? 'Outcome' : 'Approval'}: <strong>${answerWord(round)}</strong>${round.by && round.by !== 'system' ? ` by ${round.by}` : ''}
      ${round.at && html` <span class="jl-muted" title=${dateOf(round.at)}>at ${timeOf(round.at)}</span>`}${round.reason && html`<span class="jl-plain">: “${round.reason}”</span>`}</p>
    ${edited.length > 0 && html`<p class="jl-label">Changed before it ran</p><dl class="jl-changes">${edited.map(({name, before, after}) => html`<div>
      <dt>${visible(name) || 'Arguments'}</dt><dd><del>${before === undefined ? '(not given)' : valueLine(before)}</del> <span class="jl-hidden">became</span><ins>${after === undefined ? '(left out)' : valueLine(after)}</ins></dd>
    </div>`)}</dl>`}
  </div>`;
}

/** The call as one would put it into a ticket. @param {Call} call */
const plain = ({callId, name, state, args, result, error, startedAt, durationMs}) =>
  ({call_id: callId, name, state, args, result, error: error ?? undefined, started_at: startedAt ?? undefined, duration_ms: durationMs ?? undefined});

/** How far it is. A percentage, or so much of so much, is drawn too. @param {{call: Call, runId: string}} props */
function Progress({call, runId}) {
  const {progress, state} = call;
  const share = shareOf(progress);
  const live = state === 'started';
  const {message} = /** @type {Data} */ (progress !== null && typeof progress === 'object' ? progress : {});
  const known = share !== null && Object.keys(/** @type {object} */ (progress)).every((key) => ['percent', 'progress', 'done', 'total', 'message'].includes(key));
  return html`<div class="jl-progress">
    <p class="jl-label">${live ? 'Progress' : 'Last progress'}</p>
    ${share !== null && html`<div class="jl-bar"><progress max="100" value=${share.percent} aria-label=${`${call.name}: progress`}></progress><span>${share.words}</span></div>`}
    ${known ? typeof message === 'string' && html`<p class="jl-plain">${message}</p>` : html`<${Value} value=${progress} label="Progress" runId=${runId} />`}
  </div>`;
}

/** @param {unknown} progress @returns {{percent: number, words: string} | null} */
function shareOf(progress) {
  if (progress === null || typeof progress !== 'object') return null;
  const {percent, total, done, progress: so} = /** @type {Data} */ (progress);
  if (typeof percent === 'number') return {percent: Math.min(100, Math.max(0, percent)), words: `${Math.round(percent)} %`};
  const far = done ?? so;
  if (typeof far !== 'number' || typeof total !== 'number' || total <= 0) return null;
  return {percent: Math.min(100, Math.max(0, (100 * far) / total)), words: `${far} of ${total}`};
}
