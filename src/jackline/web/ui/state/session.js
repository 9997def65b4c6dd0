/** Who one is to the server, and the clients made for that. @module */
import {Jackline, Refused} from '../client.js';
import {Observable} from './observable.js';
import {forgetDrafts} from './drafts.js';
import {keep, newKey, onRemoved, recall} from './storage.js';

/** The page's own address without its file: a proxy may have put it under a path. */
const SERVER = new URL('.', location.href).href;

/** What is watched is never given up: whoever looks at the page sees that it tries, and when it tries next. */
const WATCHING = {followBudgetMs: Infinity, firstBudgetMs: Infinity, backoffCapMs: 10_000};

/** How often at most one connection that has come back wakes the others: two that are cut as soon as they are open must not drive each other. */
const BACK_MS = 5_000;

export class Session extends Observable {
  /** The key, empty without one. */ key = '';
  /** What stands for the key in names, and does not tell it; empty without one. */ who = '';
  /** What the server wants: nothing more, a key, or another key than the one it got. @type {'nothing' | 'key' | 'other key'} */
  wants = 'nothing';
  /** Grows with every sign-in and sign-out: what belongs to the one before is not this one's. */ generation = 0;
  /** For commands and single answers. @type {Jackline} */ jackline;
  /** For streams. @type {Jackline} */ watching;
  #backAt = -Infinity;

  constructor() {
    super();
    Object.assign(this, kept());
    [this.jackline, this.watching] = clients(this.key);
    // Who logs out means the browser that was to remember the key, not only the tab that the button is in.
    onRemoved('key', (key) => key !== null && key === this.key && this.signOut());
  }

  /** Whether an error says that the key is missing or wrong; the page then asks for one. @param {unknown} error */
  refused(error) {
    if (!(error instanceof Refused) || error.status !== 401) return false;
    this.wants = this.key === '' ? 'key' : 'other key';
    this.changed();
    return true;
  }

  /** Try a key. Throws what the server said to it. @param {string} key @param {boolean} remember beyond this tab */
  async signIn(key, remember) {
    const [jackline, watching] = clients(key);
    try {
      await jackline.runs({limit: 1});
    } catch (error) {
      jackline.close();
      watching.close();
      throw error;
    }
    const who = await standIn(key);
    // The one before was refused: where it is left, a reload would find it first.
    keepKey('sessionStorage', remember ? null : key, who);
    if (remember) keepKey('localStorage', key, who);
    else if (recall('localStorage', 'key') === this.key) keepKey('localStorage', null);
    this.#take(key, who, jackline, watching, 'nothing');
  }

  /** Forget the key, in every store of this browser, and what was typed with it. */
  signOut() {
    keepKey('sessionStorage', null);
    keepKey('localStorage', null);
    forgetDrafts(this.who);
    this.#take('', '', ...clients(''), 'key');
  }

  /** Whoever waits for the next try tries now. */
  wake() {
    this.jackline.wake();
    this.watching.wake();
  }

  /** The server was away for one connection, and is there again: the others do not wait out their time. */
  back() {
    const now = performance.now();
    if (now - this.#backAt < BACK_MS) return;
    this.#backAt = now;
    this.wake();
  }

  /** @param {string} key @param {string} who @param {Jackline} jackline @param {Jackline} watching @param {Session['wants']} wants */
  #take(key, who, jackline, watching, wants) {
    this.jackline.close();
    this.watching.close();
    Object.assign(this, {key, who, jackline, watching, wants});
    this.generation += 1;
    this.changed();
  }
}

/** @param {string} key @returns {[Jackline, Jackline]} */
function clients(key) {
  const token = key === '' ? {} : {token: key};
  return [new Jackline(SERVER, token), new Jackline(SERVER, {...token, pace: WATCHING})];
}

/** The key that this browser has. @returns {{key: string, who: string}} */
function kept() {
  for (const where of /** @type {const} */ (['sessionStorage', 'localStorage'])) {
    const key = recall(where, 'key');
    // Without a name one is made up: two keys must never have the same.
    if (key !== null) return {key, who: recall(where, 'who') ?? newKey()};
  }
  return {key: '', who: ''};
}

/** @param {import('./storage.js').Where} where @param {string | null} key @param {string | null} [who] */
function keepKey(where, key, who = null) {
  keep(where, 'who', key === null ? null : who);
  keep(where, 'key', key);
}

/** A digest of the key; without TLS, where browsers make none, a name that lasts until it is typed again. @param {string} key */
async function standIn(key) {
  if (!globalThis.crypto?.subtle) return newKey();
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(key)));
  return Array.from(bytes.slice(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
