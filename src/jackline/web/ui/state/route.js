/** Where in the page one is: the address behind `#`. The browser's own history, so that its back button works. @module */
import {Observable} from './observable.js';

/** @typedef {{name: 'home'} | {name: 'run', runId: string} | {name: 'conversation', conversationId: string}} Place */

/** @param {string} hash @returns {Place} */
export function parsePlace(hash) {
  const [, kind, id] = hash.replace(/^#/, '').split('/');
  if (!id) return {name: 'home'};
  const given = decoded(id);
  if (kind === 'runs') return {name: 'run', runId: given};
  if (kind === 'conversations') return {name: 'conversation', conversationId: given};
  return {name: 'home'};
}

/** @param {string} id */
function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id; // a broken escape is no id that the server knows, and it will say so
  }
}

/** @param {string} runId */
export const runHref = (runId) => `#/runs/${encodeURIComponent(runId)}`;

export class Route extends Observable {
  place = parsePlace(location.hash);

  constructor() {
    super();
    addEventListener('hashchange', () => {
      this.place = parsePlace(location.hash);
      this.changed();
    });
  }

  /** @param {string} href @param {{replace?: boolean}} [how] `replace`: going back leads to the place before */
  go(href, {replace = false} = {}) {
    if (replace) location.replace(href);
    else location.hash = href;
  }
}
