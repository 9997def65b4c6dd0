/** How the connection stands, in words. Nothing here turns for ever: each state says since when, or when next. @module */
import {html} from '../html.js';
import {useObservables} from '../state/hooks.js';
import {useNow} from './tick.js';
import {count, duration} from '../model/words.js';
import {explain, secondsUntil} from '../state/words.js';

/** @typedef {import('../state/followed_run.js').FollowedRun} FollowedRun */
/** @typedef {{tone: 'ok' | 'warn' | 'danger' | 'muted', text: string, detail: string, again: boolean}} Standing
 *   `again`: there is something to try now */

/** Where a heartbeat of the server is late by so much, it is said. How often it comes is a setting of the server. */
const LATE_MS = 5_000;

/** @param {Standing['tone']} tone @param {string} text @param {string} [detail] @param {boolean} [again] @returns {Standing} */
const standing = (tone, text, detail = '', again = false) => ({tone, text, detail, again});

/** @param {'connecting' | 'reconnecting'} phase @param {string} reason @param {number | null} retryAt @returns {Standing} */
function trying(phase, reason, retryAt) {
  const offline = navigator.onLine ? '' : 'This machine says that it is offline. ';
  const why = offline + (reason ? `${reason[0]?.toUpperCase()}${reason.slice(1)}.` : '');
  const word = phase === 'connecting' ? 'Connecting' : 'Reconnecting';
  if (retryAt === null || retryAt <= Date.now()) return standing('warn', `${word}: trying now`, why);
  return standing('warn', `${word} in ${secondsUntil(retryAt)} s`, why, true);
}

/** @param {FollowedRun} followed @returns {Standing} */
export function standingOf(followed) {
  const {phase, reason, retryAt, run, newest, fault, missing} = followed;
  if (missing) {
    return standing('danger', 'Deleted', 'The server has this run no more: somebody has deleted it, or its time was over. What you see is what this tab had read.');
  }
  if (fault !== null) return standing('danger', 'Not followed any more', explain(fault), true);
  switch (phase) {
    case 'connecting':
      return reason === '' ? standing('muted', 'Connecting') : trying(phase, reason, retryAt);
    case 'reconnecting':
      return trying(phase, reason, retryAt);
    case 'catching-up':
      return standing('muted', `Catching up: ${count(run.seq)} of ${count(Math.max(newest, run.seq))}`);
    case 'hidden':
      return standing('muted', 'Paused while nobody looks');
    case 'ended':
      return standing('muted', 'Ended', 'Nothing follows any more.');
    case 'polling':
      return standing('ok', 'Live, every 2 s', 'Other tabs have this browser’s streams. Click into this one to take one over.');
    case 'live':
      return live(followed, reason);
  }
}

/** @param {FollowedRun} followed @param {string} reason @returns {Standing} */
function live({heartbeat, heartbeatMs, waiting, heardAt, entryAt, run}, reason) {
  if (heartbeat?.store === 'away') {
    return standing('danger', 'The store does not answer', 'Shown is what was known last. It goes on when the store is back.');
  }
  if (heartbeat?.store === 'doubt') {
    return standing('warn', 'The store came back', 'The worker puts back what may be missing.');
  }
  if (waiting !== null && waiting.for !== 'approval') return standing('warn', 'Waits', waiting.detail);
  const silent = heardAt === null ? 0 : Date.now() - heardAt;
  if (heartbeatMs !== null && silent > heartbeatMs + LATE_MS) return standing('warn', 'Live, but silent', `Nothing heard of the server for ${duration(silent)}.`);
  if (!navigator.onLine) {
    const heard = heardAt === null ? '' : ` Last heard of the server ${Math.round(silent / 1000)} s ago.`;
    return standing('warn', 'This machine says that it is offline', `The connection is still open.${heard}`);
  }
  if (heartbeat?.worker === 'lost') return standing('warn', 'The worker is lost', 'Another one takes the run over.');
  return standing('ok', 'Live', reason || workerWords(heartbeat, entryAt, run.state));
}

/**
 * A heartbeat tells when the worker's loop last turned; an entry that comes is a sign of it too.
 * @param {FollowedRun['heartbeat']} heartbeat @param {number | null} entryAt @param {string | null} state
 */
function workerWords(heartbeat, entryAt, state) {
  if (state === 'awaiting_approval') return 'No worker is needed while it waits for you.';
  if (heartbeat?.worker === 'none' || (heartbeat === null && entryAt === null)) return '';
  const turnedAt = heartbeat === null ? 0 : heartbeat.at - heartbeat.idleMs;
  const seconds = Math.round((Date.now() - Math.max(turnedAt, entryAt ?? 0)) / 1000);
  return `Last heard of the worker ${Math.max(0, seconds)} s ago.`;
}

/** The connection of the run that is looked at. @param {{followed: FollowedRun}} props */
export function Connection({followed}) {
  useObservables(followed);
  useNow(!followed.ended);
  const {tone, text, detail, again} = standingOf(followed);
  return html`<div class="connection" data-tone=${tone} data-phase=${followed.phase} role="group" aria-label="Connection">
    <span class="dot" aria-hidden="true"></span>
    <span class="connection-text">${text}</span>
    ${detail && html`<span class="connection-detail">${detail}</span>`}
    ${again && html`<button type="button" class="quiet" onClick=${() => followed.now()}>Try now</button>`}
  </div>`;
}

/** The connection of the list, where it is not simply live. @param {{app: import('../state/app.js').App}} props */
export function ListConnection({app}) {
  const {list} = app;
  useObservables(list);
  const {phase, reason, retryAt, fault} = list;
  useNow(phase !== 'live' && phase !== 'catching-up');
  if (fault !== null) {
    return html`<div class="notice" data-tone="danger" role="alert">
      The list is not kept: ${explain(fault)}
      <button type="button" class="quiet" onClick=${() => list.again()}>Try again</button>
    </div>`;
  }
  if (phase === 'live' || phase === 'catching-up' || (phase === 'connecting' && reason === '')) return null;
  const {text, detail, again} = trying(phase === 'connecting' ? phase : 'reconnecting', reason, retryAt);
  return html`<div class="notice" data-tone="warn" role="group" aria-label="Connection of the list">
    ${text}. ${detail}
    ${again && html`<button type="button" class="quiet" onClick=${() => app.session.wake()}>Try now</button>`}
  </div>`;
}
