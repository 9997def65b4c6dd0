/** Stopping: the button that is always there, what became of it, and the choice where several runs go on. @module */
import {html, useEffect, useRef} from '../html.js';
import {useObservables} from '../state/hooks.js';
import {explain} from '../state/words.js';

/** @typedef {import('../state/app.js').App} App */
/** @typedef {import('../state/stops.js').Stop} Stop */

/**
 * Whether the store seems to have lost a stop that it had accepted: the log, which should tell of it, does not.
 * @param {Stop} stop @param {string | null} state @param {string | null} mode
 */
const isLost = (stop, state, mode) =>
  stop.status === 'accepted' && stop.late && !(state === 'stopping' && (stop.mode === 'after_step' || mode !== 'after_step'));

/** What is to be said of a stop. @param {Stop | null} stop @param {string | null} state of the run @param {string | null} mode as the log has it */
export function stopWords(stop, state, mode) {
  if (stop?.status === 'failed') return `Not stopped. ${explain(stop.error)}`;
  if (stop?.status === 'slow') return 'No answer yet: the stop is sent again until there is one.';
  if (stop?.status === 'sent') return 'Stop sent …';
  if (stop !== null && isLost(stop, state, mode)) return 'Accepted, but the run does not tell of it.';
  if (stop?.status === 'accepted') return stop.mode === 'after_step' ? 'Stopping after this step' : 'Stopping';
  if (state === 'stopping') return mode === 'after_step' ? 'Stopping after this step' : 'Stopping';
  return '';
}

/** Whether to stop it now can still be asked for. @param {Stop | null} stop @param {string | null} state @param {string | null} mode null: not known */
function isOpen(stop, state, mode) {
  if (stop === null || stop.status === 'failed') return state !== 'stopping' || mode !== 'immediate';
  return stop.status === 'accepted' && (stop.mode === 'after_step' || isLost(stop, state, mode));
}

/** @param {Stop | null} stop @param {string} words */
function buttonWord(stop, words) {
  if (stop?.status === 'failed') return 'Try again';
  if (stop?.status === 'accepted' && stop.mode === 'immediate') return 'Stop again';
  return words ? 'Stop now' : 'Stop';
}

/**
 * Always in the same place while anything runs: for the run that is looked at, else for whatever runs.
 * @param {{app: App}} props
 */
export function StopDock({app}) {
  useObservables(app, app.list, app.stops, app.followed);
  const targets = app.stoppable();
  const [runId] = targets;
  if (runId === undefined) return null;
  if (targets.length > 1) {
    return html`<section class="stop-dock" aria-label="Stop">
      <span class="stop-words">${targets.length} runs go on</span>
      <button type="button" class="stop" onClick=${() => app.choose(true)}>Stop …</button>
    </section>`;
  }
  const here = app.followed?.runId === runId;
  const item = app.list.index.runs.get(runId);
  const state = (here ? app.followed?.run.state : null) ?? item?.state ?? null;
  const stop = app.stops.of(runId);
  const mode = (here ? app.followed?.run.stop?.mode : null) ?? item?.stop_mode ?? null;
  const words = stopWords(stop, state, mode);
  const open = isOpen(stop, state, mode);
  const failed = stop?.status === 'failed';
  return html`<section class="stop-dock" aria-label="Stop">
    <span class="stop-words" role="status" data-failed=${failed} data-alone=${!open && stop?.status !== 'slow'}>${words || (here ? '' : (item?.title ?? ''))}</span>
    ${open && !words && state !== 'queued' && html`<button type="button" class="quiet" onClick=${() => app.stop(runId, 'after_step')}>
      Stop after this step
    </button>`}
    ${stop?.status === 'slow'
      ? html`<button type="button" class="stop" onClick=${() => app.session.wake()}>Try now</button>`
      : open && html`<button type="button" class="stop" onClick=${() => app.stop(runId, failed ? stop.mode : 'immediate')}>
          ${buttonWord(stop, words)}<kbd aria-hidden="true">Esc Esc</kbd>
        </button>`}
  </section>`;
}

/** The stop of a row in the list. @param {{app: App, run: import('../state/run_index.js').RunItem}} props */
export function RowStop({app, run}) {
  useObservables(app.stops);
  const stop = app.stops.of(run.run_id);
  const mode = run.stop_mode ?? null;
  const words = stopWords(stop, run.state, mode);
  const open = isOpen(stop, run.state, mode);
  if (words && !open) return html`<span class="row-stopping">${words}</span>`;
  return html`<button type="button" class="row-stop" title=${words || 'Stop this run'}
    aria-label=${`${stop?.status === 'failed' ? 'Try again to stop' : 'Stop'}: ${run.title || run.run_id}`} onClick=${() => app.stop(run.run_id)}>
    ${buttonWord(stop, words)}
  </button>`;
}

/** What is to be stopped, where several runs go on and none is looked at. @param {{app: App}} props */
export function StopChoice({app}) {
  useObservables(app, app.list, app.stops);
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const going = app.list.index.going();
  const shown = app.choosing && going.length > 0;
  // Each time: what closes by itself and is asked for again before it was rendered has changed nothing in between.
  useEffect(() => {
    if (shown && !dialog.current?.open) dialog.current?.showModal();
    if (!shown && dialog.current?.open) dialog.current.close();
  });
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="stop-choice" onClose=${() => app.choose(false)}>
    <h2 id="stop-choice">What is to be stopped?</h2>
    <ul class="plain choices">
      ${going.map((run) => html`<li key=${run.run_id}><span class="grow">${run.title || run.run_id}</span><${RowStop} app=${app} run=${run} /></li>`)}
    </ul>
    <div class="dialog-buttons">
      <button type="button" onClick=${() => app.choose(false)}>Close</button>
      <button type="button" autofocus class="stop" onClick=${() => going.forEach((run) => app.stop(run.run_id))}>Stop all ${going.length}</button>
    </div>
  </dialog>`;
}
