/**
 * What was typed and not sent: it outlives a reload, and a sending that failed. `who` is whose it is, as the session has
 * it: the next one to use the browser is not to read it, or to send it.
 * @module
 */
import {forget, keep, newKey, recall} from './storage.js';

/** @typedef {{text: string, agent: string, key: string, sent: string}} Draft
 *   `sent`: what the key was last used for; the same again goes under the same key, anything else needs a new one. */
/** @typedef {{conversationId?: string, agent?: string, onBusy?: 'queue' | 'stop'}} Wish what a text is sent with */

/** @param {string} who @param {string | null} conversationId null: of a new conversation @returns {Draft} */
export function readDraft(who, conversationId) {
  try {
    const {text = '', agent = '', key = '', sent = ''} = JSON.parse(recall('localStorage', name(who, conversationId)) ?? '{}');
    return {text, agent, key, sent};
  } catch {
    return {text: '', agent: '', key: '', sent: ''};
  }
}

/** @param {string} who @param {string | null} conversationId @param {Draft | null} draft */
export function keepDraft(who, conversationId, draft) {
  const empty = draft === null || (draft.text === '' && draft.key === '');
  keep('localStorage', name(who, conversationId), empty ? null : JSON.stringify(draft));
}

/** @param {string} who */
export const forgetDrafts = (who) => forget('localStorage', `draft:${who}:`);

/** @param {string | null} conversationId @param {string} agent @param {string | null} defaultAgent @param {'queue' | 'stop'} [onBusy] @returns {Wish} */
export const wishOf = (conversationId, agent, defaultAgent, onBusy) => ({
  ...(conversationId !== null && {conversationId}),
  ...(agent !== '' && agent !== defaultAgent && {agent}),
  ...(onBusy && {onBusy}),
});

/** The draft with the key to send a text under. @param {Draft} draft @param {string} text @param {Wish} wish @returns {Draft} */
export function keyedDraft(draft, text, wish) {
  const sent = JSON.stringify([text, wish]);
  return draft.key !== '' && draft.sent === sent ? draft : {...draft, key: newKey(), sent};
}

/** @param {string} who @param {string | null} conversationId */
const name = (who, conversationId) => `draft:${who}:${conversationId ?? 'new'}`;
