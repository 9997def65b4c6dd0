/** Stopping: the button that is always there, what became of it, and the choice where several runs go on. @module */
import {html, useEffect, useRef} from '../html.js';
import {useObservables} from '../state/hooks.js';
import {explain} from '../state/words.js';
import {useNow} from './tick.js';

/** @typedef {import('../state/app.js').App} App */
/** @typedef {import('../state/stops.js').Stop} Stop */

/** What tells this page of the run: its own stream, or the feed. `hearsSince`: null while nothing tells of what it does now.
 * @typedef {{phase: import('../state/followed_run.js').FollowedRun['phase'], hearsSince: number | null}} Ear */

/** When the log must have told of a stop that was accepted: else the store may have lost it, and it is to be sent again. */
const LATE_MS = 5_000;

/** Whether a run that stands so tells of the stop. @param {Stop} stop @param {string | null} state @param {string | null} mode */
const tells = (stop, state, mode) => state === 'stopping' && (stop.mode === 'after_step' || mode !== 'after_step');

/**
 * What has become of a stop that was accepted. `lost`: the log should tell of it, and does not. `unheard`: it may do so, and
 * this page would not know. The time in which it has to tell counts only while the page hears.
 * @param {Stop | null} stop @param {string | null} state @param {string | null} mode @param {Ear} ear @returns {'fine' | 'lost' | 'unheard'}
 */
function fate(stop, state, mode, {hearsSince}) {
  if (stop?.status !== 'accepted' || tells(stop, state, mode)) return 'fine';
  const now = Date.now();
  if (now - (stop.acceptedAt ?? now) < LATE_MS) return 'fine';
  if (hearsSince === null) return 'unheard';
  return now - hearsSince < LATE_MS ? 'fine' : 'lost';
}

/** What the page does to hear of the run. @param {Ear['phase']} phase */
function unheardWords(phase) {
  switch (phase) {
    case 'connecting':
      return 'Accepted. Connecting, to hear of the run.';
    case 'reconnecting':
      return 'Accepted. Reconnecting, to hear of the run.';
    case 'catching-up':
      return 'Accepted. Catching up with the run.';
    default:
      return 'Accepted. The run is not followed now.';
  }
}

/**
 * What is to be said of a stop. @param {Stop | null} stop @param {string | null} state of the run @param {string | null} mode as the log has it
 * @param {Ear} ear
 */
export function stopWords(stop, state, mode, ear) {
  if (stop?.status === 'failed') return `Not stopped. ${explain(stop.error)}`;
  if (stop?.status === 'slow') return 'No answer yet: the stop is sent again until there is one.';
  if (stop?.status === 'sent') return 'Stop sent …';
  const became = fate(stop, state, mode, ear);
  if (became === 'lost') return 'Accepted, but the run does not tell of it.';
  if (became === 'unheard') return unheardWords(ear.phase);
  if (stop?.status === 'accepted') return stop.mode === 'after_step' ? 'Stopping after this step' : 'Stopping';
  if (state === 'stopping') return mode === 'after_step' ? 'Stopping after this step' : 'Stopping';
  return '';
}

/**
 * Whether to stop it now can still be asked for. Not again where the page only does not hear of it: that changes nothing.
 * @param {Stop | null} stop @param {string | null} state @param {string | null} mode null: not known @param {Ear} ear
 */
export function isOpen(stop, state, mode, ear) {
  if (stop === null || stop.status === 'failed') return state !== 'stopping' || mode !== 'immediate';
  return stop.status === 'accepted' && (stop.mode === 'after_step' || fate(stop, state, mode, ear) === 'lost');
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
  const stop = runId === undefined ? null : app.stops.of(runId);
  useNow(stop?.status === 'accepted');
  if (runId === undefined) return null;
  if (targets.length > 1) {
    return html`<section class="stop-dock" aria-label="Stop">
      <span class="stop-words">${targets.length} runs go on</span>
      <button type="button" class="stop" onClick=${() => app.choose(true)}>Stop …</button>
    </section>`;
  }
  const here = app.followed?.runId === runId;
  const ear = (here ? app.followed : null) ?? app.list;
  const item = app.list.index.runs.get(runId);
  const state = (here ? app.followed?.run.state : null) ?? item?.state ?? null;
  const mode = (here ? app.followed?.run.stop?.mode : null) ?? item?.stop_mode ?? null;
  const words = stopWords(stop, state, mode, ear);
  const open = isOpen(stop, state, mode, ear);
  const failed = stop?.status === 'failed';
  return html`<section class="stop-dock" aria-label="Stop">
    <span class="stop-words" role="status" data-failed=${failed} data-alone=${!open && stop?.status !== 'slow'}>${words || (here ? '' : (item?.title ?? ''))}</span>
    ${open && !words && state !== 'queued' && html`<button type="button" class="quiet" onClick=${() => app.stop(runId, 'after_step')}>
      Stop after this step
    </button>`}
    ${stop?.status === 'slow'
      ? html`<button type="button" class="stop" onClick=${() => app.stops.again(runId)}>Try now</button>`
      : open && html`<button type="button" class="stop" onClick=${() => app.stop(runId, failed ? stop.mode : 'immediate')}>
          ${buttonWord(stop, words)}<kbd aria-hidden="true">Esc Esc</kbd>
        </button>`}
  </section>`;
}

/** The stop of a row in the list. @param {{app: App, run: import('../state/run_index.js').RunItem}} props */
export function RowStop({app, run}) {
  useObservables(app.stops, app.list);
  const stop = app.stops.of(run.run_id);
  useNow(stop?.status === 'accepted');
  const mode = run.stop_mode ?? null;
  const words = stopWords(stop, run.state, mode, app.list);
  const open = isOpen(stop, run.state, mode, app.list);
  // There is room for the first few words only; the dock and the connection's own notes say the rest.
  if (words && !open) return html`<span class="row-stopping" title=${words}>${words.split(/[.:] /)[0]}</span>`;
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
