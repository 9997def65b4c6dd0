/**
 * Checks arguments against schemas where that can be ended: a schema comes from a tool, so perhaps from a
 * stranger's server, and a pattern in it can backtrack for years. @module
 */

/** How long a check may take. */
const LIMIT_MS = 2_000;

/** What is wrong, by field; null: it cannot be said here, the server will. @typedef {Map<string, string> | null} Checked */

/** @returns {Worker} */
const thread = () => new Worker(new URL('../model/check_worker.js', import.meta.url), {type: 'module'});

/** The checks of one form. Only the newest counts. */
export class Checker {
  /** @type {Worker | null} */ #worker = null;
  #ready = false;
  #id = 0;
  #sent = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {{schema: unknown, args: unknown} | null} */ #wanted = null;
  /** Schemas that were given up. @type {Set<unknown>} */ #endless = new Set();

  /**
   * @param {(checked: Checked) => void} onChecked what the newest check came to
   * @param {{make?: () => Worker, limitMs?: number}} [options]
   */
  constructor(onChecked, {make = thread, limitMs = LIMIT_MS} = {}) {
    this.onChecked = onChecked;
    this.make = make;
    this.limitMs = limitMs;
  }

  /** Check these; an earlier check's answer is not told any more. @param {unknown} schema @param {unknown} args */
  check(schema, args) {
    this.#id += 1;
    this.#wanted = {schema, args};
    if (this.#endless.has(schema)) this.#tell(null);
    else if (this.#worker === null) this.#begin();
    else this.#send();
  }

  /** End it: nothing is told any more. */
  close() {
    this.#id += 1;
    this.#wanted = null;
    this.#end();
  }

  #begin() {
    try {
      this.#worker = this.make();
    } catch {
      this.#tell(null);
      return;
    }
    this.#worker.onmessage = ({data}) => {
      if (data.ready) this.#ready = true;
      else this.#done(data);
      this.#send();
    };
    // It could not be loaded, or failed as it did.
    this.#worker.onerror = () => {
      this.#end();
      this.#tell(null);
    };
  }

  /** The time runs when it has begun to check, not while it is loaded. */
  #send() {
    if (!this.#ready || this.#sent !== 0 || this.#wanted === null) return;
    const wanted = this.#wanted;
    this.#wanted = null;
    this.#sent = this.#id;
    this.#timer = setTimeout(() => this.#giveUp(wanted), this.limitMs);
    this.#worker?.postMessage({id: this.#id, ...wanted});
  }

  /** @param {{id: number, errors: Map<string, string>}} answer */
  #done({id, errors}) {
    clearTimeout(this.#timer);
    this.#sent = 0;
    if (id === this.#id) this.#tell(errors);
  }

  /** @param {{schema: unknown}} sent */
  #giveUp({schema}) {
    this.#endless.add(schema);
    this.#end();
    if (this.#wanted === null || this.#wanted.schema === schema) this.#tell(null);
    else this.#begin();
  }

  #end() {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
    this.#ready = false;
    this.#sent = 0;
  }

  /** @param {Checked} checked */
  #tell(checked) {
    this.#wanted = null;
    this.onChecked(checked);
  }
}
