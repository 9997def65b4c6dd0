/** What was typed and not sent: it outlives a reload, and a sending that failed. @module */
import {keep, newKey, recall} from './storage.js';

/** @typedef {{text: string, agent: string, key: string, sent: string}} Draft
 *   `sent`: what the key was last used for; the same again goes under the same key, anything else needs a new one. */

/** @param {string | null} conversationId null: of a new conversation @returns {Draft} */
export function readDraft(conversationId) {
  try {
    const {text = '', agent = '', key = '', sent = ''} = JSON.parse(recall('localStorage', name(conversationId)) ?? '{}');
    return {text, agent, key, sent};
  } catch {
    return {text: '', agent: '', key: '', sent: ''};
  }
}

/** @param {string | null} conversationId @param {Draft | null} draft */
export function keepDraft(conversationId, draft) {
  const empty = draft === null || (draft.text === '' && draft.key === '');
  keep('localStorage', name(conversationId), empty ? null : JSON.stringify(draft));
}

/** The draft with the key to send `body` under. @param {Draft} draft @param {string} body @returns {Draft} */
export function keyedDraft(draft, body) {
  return draft.key !== '' && draft.sent === body ? draft : {...draft, key: newKey(), sent: body};
}

/** @param {string | null} conversationId */
const name = (conversationId) => `draft:${conversationId ?? 'new'}`;
