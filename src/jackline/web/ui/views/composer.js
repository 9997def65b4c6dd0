/** Where a task is written: of a new conversation, or as the next of this one. @module */
import {html, useEffect, useLayoutEffect, useRef, useState} from '../html.js';
import {Refused, Unreachable} from '../client.js';
import {keepDraft, keyedDraft, readDraft, wishOf} from '../state/drafts.js';
import {runHref} from '../state/route.js';
import {explain} from '../state/words.js';

/** @typedef {import('../state/app.js').App} App */
/** @typedef {Record<string, any>} Data */
/** @typedef {'no' | 'sending' | 'busy' | 'failed'} Trouble */

/** After which time without an answer it is said that there is none. */
const SLOW_MS = 2_000;

/**
 * @param {object} props
 * @param {App} props.app
 * @param {string | null} props.conversationId null: a new conversation
 * @param {string | null} [props.agent] the conversation's
 * @param {Data[]} props.agents those that are served
 * @param {string | null} props.defaultAgent
 */
export function Composer({app, conversationId, agent = null, agents, defaultAgent}) {
  const {who} = app.session;
  const [draft, setDraft] = useState(() => readDraft(who, conversationId));
  const [sending, setSending] = useState(/** @type {'no' | 'sending' | 'slow'} */ ('no'));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const left = useRef(false);
  useEffect(() => () => void (left.current = true), []);
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const button = useRef(/** @type {HTMLElement | null} */ (null));
  const busy = error instanceof Refused && error.status === 409;
  const chosen = draft.agent || agent || defaultAgent || '';

  /** @param {Partial<import('../state/drafts.js').Draft>} change */
  const edit = (change) => {
    setError(null);
    setDraft((before) => {
      const after = {...before, ...change};
      keepDraft(who, conversationId, after);
      return after;
    });
  };
  useEffect(() => app.onDraft((given) => {
    edit(given);
    field.current?.focus();
  }), [conversationId]);
  useLayoutEffect(() => {
    const area = field.current;
    if (area === null) return;
    area.style.height = 'auto';
    area.style.height = `${Math.min(area.scrollHeight + 2, innerHeight / 3)}px`;
  }, [draft.text]);

  /** How it was sent last: the same again must be the same message. */
  const sentHow = useRef(/** @type {'queue' | 'stop' | undefined} */ (undefined));
  /** @param {'queue' | 'stop'} [how] */
  const send = async (how) => {
    const onBusy = how ?? (error instanceof Unreachable ? sentHow.current : undefined);
    const text = draft.text.trim();
    // What offers to send again goes: who was there is not left without a place.
    if (document.activeElement?.closest('.composer .notice')) button.current?.focus();
    if (text === '' || sending !== 'no') return;
    sentHow.current = onBusy;
    const wish = wishOf(conversationId, chosen, defaultAgent, onBusy);
    const keyed = keyedDraft(draft, text, wish);
    keepDraft(who, conversationId, keyed);
    setDraft(keyed);
    setError(null);
    setSending('sending');
    const slow = setTimeout(() => setSending('slow'), SLOW_MS);
    try {
      const {run_id: runId} = await app.session.jackline.start(text, {...wish, key: keyed.key});
      keepDraft(who, conversationId, null);
      setDraft({text: '', agent: draft.agent, key: '', sent: ''});
      // Who has gone elsewhere meanwhile stays there: the run is in the list.
      if (!left.current) app.route.go(runHref(runId));
    } catch (failure) {
      app.session.refused(failure);
      setError(failure);
    } finally {
      clearTimeout(slow);
      setSending('no');
    }
  };

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void send();
  };
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    void send();
  };

  const label = conversationId === null ? 'Task of a new conversation' : 'Next message of this conversation';
  return html`<form class="composer" onSubmit=${submit} aria-label="Message">
    ${busy && html`<div class="notice" data-tone="warn" role="alert">
      <span>An earlier run of this conversation goes on.</span>
      <button type="button" onClick=${() => void send('queue')}>Send when it has ended</button>
      <button type="button" class="danger" onClick=${() => void send('stop')}>Stop it, then send</button>
    </div>`}
    ${error !== null && !busy && html`<div class="notice" data-tone="danger" role="alert">
      <span>${error instanceof Unreachable
        ? `It is not known whether this arrived. ${explain(error)} If it did, the run is in the list. The same again is safe: it starts no second run. Changed, it starts another one.`
        : `Not sent. ${explain(error)} What you wrote is kept.`}</span>
      <button type="submit">Try again</button>
    </div>`}
    <div class="composer-row">
      <textarea ref=${field} id="composer" rows="1" aria-label=${label} placeholder=${conversationId === null ? 'What is to be done?' : 'Go on with this conversation'}
        value=${draft.text} readOnly=${sending !== 'no'} onKeyDown=${onKeyDown}
        onInput=${(/** @type {InputEvent} */ event) => edit({text: /** @type {HTMLTextAreaElement} */ (event.currentTarget).value})}></textarea>
      ${agents.length > 1 && html`<select aria-label="Agent" value=${chosen}
        onChange=${(/** @type {Event} */ event) => edit({agent: /** @type {HTMLSelectElement} */ (event.currentTarget).value})}>
        ${agents.map(({name}) => html`<option value=${name}>${name}</option>`)}
      </select>`}
      <button type="submit" class="primary" ref=${button} disabled=${draft.text.trim() === ''} aria-disabled=${sending !== 'no'}>
        ${sending === 'no' ? 'Send' : 'Sending …'}
      </button>
    </div>
    <p class="composer-hint">
      ${sending === 'slow'
        ? html`No answer yet; it is sent again until there is one. <button type="button" class="quiet" onClick=${() => app.session.wake()}>Try now</button>`
        : html`<span class="keys-hint"><kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> begins a new line</span>`}
    </p>
  </form>`;
}
