/** The page's state, all of it in one place. @module */
import {FollowedRun} from './followed_run.js';
import {LiveList} from './live_list.js';
import {Observable} from './observable.js';
import {Route} from './route.js';
import {Session} from './session.js';
import {keep, newKey, recall} from './storage.js';
import {Stops} from './stops.js';
import {isEnded, isGoing} from './words.js';

/** @typedef {import('../client.js').Decision} Decision */
/** @typedef {import('./run_index.js').RunItem} RunItem */
/** @typedef {'system' | 'light' | 'dark'} Theme */

export class App extends Observable {
  session = new Session();
  route = new Route();
  stops = new Stops(this.session);
  list = new LiveList(this.session);
  /** The run that is looked at. @type {FollowedRun | null} */ followed = null;
  /** What a screen reader is told. */ announcement = '';
  /** A short note on the page, like the hint after the first Esc. */ hint = '';
  /** What broke in the page itself. @type {unknown} */ broken = null;
  helpShown = false;
  /** Whether the choice of what to stop is open. */ choosing = false;
  /** Whether single letters do something: they get in the way of those who speak to their computer. */
  singleKeys = recall('localStorage', 'single-keys') !== 'off';
  /** @type {Set<() => void>} */ #jumps = new Set();
  /** @type {Set<(draft: import('./drafts.js').Draft) => void>} */ #drafts = new Set();
  /** @type {Theme} */ theme = /** @type {Theme} */ (recall('localStorage', 'theme') ?? 'system');
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #hintTimer;
  /** Decisions sent, by their content: the same again goes under the same key. @type {Map<string, string>} */ #keys = new Map();
  /** Calls that were answered here. @type {Set<string>} */ answered = new Set();
  #generation = 0;

  constructor() {
    super();
    this.route.subscribe(() => this.#place());
    this.session.subscribe(() => this.#signed());
    this.list.subscribe(() => {
      this.#title();
      for (const run of this.list.index.runs.values()) if (isEnded(run.state)) this.stops.settled(run.run_id);
    });
    this.#place();
  }

  // -- places

  #place() {
    const {place} = this.route;
    const runId = place.name === 'run' ? place.runId : null;
    if (this.followed?.runId !== runId) {
      this.followed?.close();
      this.followed = runId === null ? null : new FollowedRun(this.session, runId);
      const {followed} = this;
      followed?.subscribe(() => {
        if (followed.ended || followed.missing) this.stops.settled(followed.runId);
        if (followed.missing) this.list.gone(followed.runId);
      });
    }
    this.#title();
    this.changed();
  }

  #signed() {
    if (this.#generation === this.session.generation) return;
    this.#generation = this.session.generation;
    this.followed?.close();
    this.followed = null;
    this.#place();
  }

  #title() {
    const waiting = this.list.index.waiting().length;
    const shown = this.followed === null ? null : this.list.index.runs.get(this.followed.runId);
    const title = [shown?.title.slice(0, 60), 'Jackline'].filter(Boolean).join(' · ');
    document.title = waiting > 0 ? `(${waiting}) ${title}` : title;
  }

  // -- what is told

  /** Tell a screen reader. @param {string} text */
  announce(text) {
    this.announcement = text;
    this.changed();
  }

  /** Show a short note for a while; with '' take it away. @param {string} text @param {number} [ms] */
  say(text, ms = 4_000) {
    clearTimeout(this.#hintTimer);
    this.hint = text;
    if (text !== '') this.#hintTimer = setTimeout(() => this.say(''), ms);
    this.changed();
  }

  /** @param {unknown} error */
  broke(error) {
    this.broken = error;
    this.changed();
  }

  /** @param {boolean} shown */
  help(shown) {
    this.helpShown = shown;
    this.changed();
  }

  /** @param {boolean} shown */
  choose(shown) {
    if (this.choosing === shown) return;
    this.choosing = shown;
    this.changed();
  }

  /** @param {boolean} on */
  setSingleKeys(on) {
    this.singleKeys = on;
    keep('localStorage', 'single-keys', on ? null : 'off');
    this.changed();
  }

  // -- what one view asks of another

  /** Be told to show the newest entry. @param {() => void} listener */
  onJump(listener) {
    this.#jumps.add(listener);
    return () => void this.#jumps.delete(listener);
  }

  jump() { this.#jumps.forEach((listener) => listener()); }

  /** Be told to take a text to be sent. @param {(draft: import('./drafts.js').Draft) => void} listener */
  onDraft(listener) {
    this.#drafts.add(listener);
    return () => void this.#drafts.delete(listener);
  }

  /** Put a text where it can be sent. @param {import('./drafts.js').Draft} draft */
  draft(draft) { this.#drafts.forEach((listener) => listener(draft)); }

  /** @param {Theme} theme */
  setTheme(theme) {
    this.theme = theme;
    keep('localStorage', 'theme', theme === 'system' ? null : theme);
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    this.changed();
  }

  // -- commands

  /** What a stop from anywhere on the page means: the run that is looked at, else the only one that goes on. @returns {string[]} */
  stoppable() {
    const {followed} = this;
    const known = followed === null ? null : (this.list.index.runs.get(followed.runId)?.state ?? null);
    if (followed !== null && !followed.ended && !followed.missing && isGoing(followed.run.state ?? known)) return [followed.runId];
    return this.list.index.going().map((run) => run.run_id);
  }

  /** @param {string} runId @param {import('./stops.js').Mode} [mode] */
  stop(runId, mode) {
    this.announce('Stop sent');
    void this.stops.stop(runId, mode);
  }

  /** Answer a question. Throws what the server said. @param {string} callId @param {Decision} decision */
  async decide(callId, decision) {
    const key = this.#keyOf(JSON.stringify([callId, decision]));
    return this.#asked([callId], this.session.jackline.decide(callId, decision, {key}));
  }

  /** Answer all questions of a step, all or none. @param {({call_id: string} & Decision)[]} decisions */
  async decideAll(decisions) {
    const key = this.#keyOf(JSON.stringify(decisions));
    return this.#asked(decisions.map((each) => each.call_id), this.session.jackline.decideAll(decisions, {key}));
  }

  /** @template T @param {string[]} callIds @param {Promise<T>} answer @returns {Promise<T>} */
  async #asked(callIds, answer) {
    callIds.forEach((callId) => this.answered.add(callId));
    try {
      return await answer;
    } catch (error) {
      callIds.forEach((callId) => this.answered.delete(callId));
      this.session.refused(error);
      throw error;
    }
  }

  /** @param {string} content */
  #keyOf(content) {
    const key = this.#keys.get(content) ?? newKey();
    this.#keys.set(content, key);
    return key;
  }
}
