/** What is said of times, states and failures. @module */
import {Refused, Unreachable} from '../client.js';
import {isTerminal} from '../model/run.js';
import {ownOf} from '../model/words.js';

/** @typedef {'queued' | 'executing' | 'awaiting_approval' | 'stopping' | 'stopped' | 'completed' | 'failed'} RunState */

/** @type {Readonly<Record<string, string>>} */
const STATES = {
  queued: 'queued',
  executing: 'running',
  awaiting_approval: 'waits for you',
  stopping: 'stopping',
  stopped: 'stopped',
  completed: 'completed',
  failed: 'failed',
};

/** A run's state in words; one of a later version as it is. @param {string | null} state */
export const stateWord = (state) => ownOf(STATES, state) ?? state ?? '';

/** Whether nothing can follow. @param {string | null} state */
export const isEnded = (state) => isTerminal(state);

/** Whether there is something to stop. @param {string | null} state */
export const isGoing = (state) => state !== null && state !== '' && !isEnded(state);

/** Whether a connection waits for a server that did not answer. @param {{phase: string, reason: string}} connection */
export const isAway = ({phase, reason}) => phase === 'reconnecting' || (phase === 'connecting' && reason !== '');

/** How long ago, short. @param {string | number | null | undefined} when @param {number} [now] */
export function ago(when, now = Date.now()) {
  const at = typeof when === 'number' ? when : Date.parse(when ?? '');
  if (Number.isNaN(at)) return '';
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 5) return 'now';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Seconds from now on, whole, at least 1. @param {number} at */
export const secondsUntil = (at) => Math.max(1, Math.ceil((at - Date.now()) / 1000));

/** What went wrong, for people. @param {unknown} error */
export function explain(error) {
  if (error instanceof Unreachable) return `The server does not answer: ${error.reason}.`;
  if (error instanceof Refused) return error.detail || `The server refused it (${error.status}).`;
  return error instanceof Error ? error.message : String(error);
}
