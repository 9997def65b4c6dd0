/** The list: what waits for somebody first, then conversations with their runs. @module */
import {html, useEffect, useRef, useState} from '../html.js';
import {useObservables} from '../state/hooks.js';
import {useNow} from './tick.js';
import {runHref} from '../state/route.js';
import {conversationOf} from '../state/run_index.js';
import {ago, explain, isGoing, stateWord} from '../state/words.js';
import {ListConnection} from './connection.js';
import {RowStop} from './stop.js';

/** @typedef {import('../state/app.js').App} App */
/** @typedef {import('../state/run_index.js').RunItem} RunItem */
/** @typedef {import('../state/run_index.js').Conversation} Conversation */
/** @typedef {import('../state/run_index.js').Filter} Filter */

/** @type {readonly (readonly [Filter, string])[]} */
const FILTERS = [
  ['all', 'All'],
  ['going', 'Running'],
  ['waiting', 'Waiting for you'],
  ['completed', 'Completed'],
  ['failed', 'Failed'],
  ['stopped', 'Stopped'],
];

/** Up to so many runs of a conversation are counted before it is deleted. */
const COUNTED = 1000;

/** @param {{app: App}} props */
export function RunList({app}) {
  const {list} = app;
  useObservables(app, list);
  useNow(true, 10_000);
  const [filter, setFilter] = useState(/** @type {Filter} */ ('all'));
  const [removing, setRemoving] = useState(/** @type {RunItem | null} */ (null));
  const waiting = list.index.waiting();
  // What stands on top is not said a second time.
  const onTop = new Set(waiting.map((run) => run.run_id));
  const conversations = list.index.conversations(filter).filter(({shown}) => !onTop.has(shown.run_id));
  const selected = app.followed?.runId ?? null;
  return html`<nav class="list" aria-label="Runs">
    <div class="list-head">
      <a class="button primary" href="#/">New conversation</a>
      <select aria-label="Show" value=${filter}
        onChange=${(/** @type {Event} */ event) => setFilter(/** @type {Filter} */ (/** @type {HTMLSelectElement} */ (event.currentTarget).value))}>
        ${FILTERS.map(([name, word]) => html`<option value=${name}>${word}</option>`)}
      </select>
    </div>
    <${ListConnection} app=${app} />
    <div class="list-scroll">
      ${waiting.length > 0 && html`<section aria-labelledby="waiting-title" class="waiting">
        <h2 id="waiting-title">Waiting for you <span class="badge">${waiting.length}</span></h2>
        <ul class="plain">
          ${waiting.map((run) => html`<${ConversationRow} key=${run.run_id} app=${app} conversation=${conversationOf(list.index.ofConversation(run.conversation_id), run)}
            title=${run.title} selected=${selected} onRemove=${setRemoving} />`)}
        </ul>
      </section>`}
      <section aria-labelledby="conversations-title">
        <h2 id="conversations-title">Conversations</h2>
        ${!list.loaded && list.fault === null && html`<p class="muted pad">Asking for the runs …</p>`}
        ${list.loaded && conversations.length === 0 && html`<p class="muted pad">
          ${waiting.length > 0 && (filter === 'all' || filter === 'waiting') ? 'No others.' : filter === 'all' ? 'None yet.' : 'None in this state.'}
        </p>`}
        <ul class="plain">
          ${conversations.map((each) => html`<${ConversationRow} key=${each.conversationId} app=${app} conversation=${each} title=${each.title} selected=${selected} onRemove=${setRemoving} />`)}
        </ul>
        ${list.older !== null && html`<button type="button" class="older" disabled=${list.loadingOlder === 'loading'} onClick=${() => void list.loadOlder()}>
          ${list.loadingOlder === 'loading' ? 'Loading older runs …' : list.loadingOlder === 'failed' ? 'Older runs did not come. Try again' : 'Load older runs'}
        </button>`}
      </section>
    </div>
    ${removing !== null && html`<${Removal} app=${app} run=${removing} onClose=${() => setRemoving(null)} />`}
  </nav>`;
}

/** @param {{app: App, conversation: Conversation, title: string, selected: string | null, onRemove: (run: RunItem) => void}} props */
function ConversationRow({app, conversation, title, selected, onRemove}) {
  const {runs, shown, behind} = conversation;
  const open = runs.length > 1 && runs.some((run) => run.run_id === selected);
  return html`<${RunRow} app=${app} run=${shown} title=${title} onRemove=${onRemove} count=${runs.length} behind=${behind} selected=${selected === shown.run_id}>
    ${open && html`<ul class="plain nested" aria-label="Runs of this conversation">
      ${runs.map((run) => html`<li key=${run.run_id} class="nested-run" data-run=${run.run_id}>
        <a href=${runHref(run.run_id)} class="run-link" aria-current=${run.run_id === selected ? 'page' : undefined}>
          <span class="state-dot" data-state=${run.state} aria-hidden="true"></span>
          <span class="grow ellipsis">${run.title}</span><span class="muted">${ago(run.created_at, Date.now() + app.list.skewMs)}</span>
        </a>
        ${run !== shown && isGoing(run.state) && html`<${RowStop} app=${app} run=${run} />`}
      </li>`)}
    </ul>`}
  <//>`;
}

/**
 * @param {{app: App, run: RunItem, title: string, selected: boolean, onRemove: (run: RunItem) => void, count: number,
 *   behind: number, children?: unknown}} props
 */
function RunRow({app, run, title, selected, onRemove, count, behind, children}) {
  const asks = run.waiting_for.length;
  const state = run.state === 'awaiting_approval' && asks > 1 ? `asks ${asks} questions` : stateWord(run.state);
  return html`<li class="run-row" data-run=${run.run_id} data-selected=${selected}>
    <div class="run-row-main">
      <a href=${runHref(run.run_id)} class="run-link run-row-link" aria-current=${selected ? 'page' : undefined}>
        <span class="run-row-title ellipsis">${title || run.run_id}</span>
        <span class="run-row-meta">
          <span class="state" data-state=${run.state}>${state}</span>
          ${behind > 0 && html`<span class="behind">${behind === 1 ? '1 more waits' : `${behind} more wait`}</span>`}
          <span class="ellipsis">${run.agent}${count > 1 ? ` · ${count} runs` : ''}</span>
          <span class="when">${ago(run.updated_at, Date.now() + app.list.skewMs)}</span>
        </span>
        ${run.waiting !== null && run.waiting.for !== 'approval' && isGoing(run.state) && html`<span class="run-row-why">${run.waiting.detail}</span>`}
      </a>
      ${isGoing(run.state)
        ? html`<${RowStop} app=${app} run=${run} />`
        : html`<button type="button" class="row-delete" aria-label=${`Delete: ${title || run.run_id}`} title="Delete" onClick=${() => onRemove(run)}>Delete</button>`}
    </div>
    ${children}
  </li>`;
}

/** @param {{app: App, run: RunItem, onClose: () => void}} props */
function Removal({app, run, onClose}) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [said, setSaid] = useState('');
  const [trying, setTrying] = useState(false);
  const listed = app.list.index.ofConversation(run.conversation_id).length;
  /** How many runs the conversation has on the server: the list may know only some. */
  const [count, setCount] = useState(/** @type {{least: number, more: boolean}} */ ({least: listed, more: true}));
  useEffect(() => {
    dialog.current?.showModal();
    app.session.jackline.runs({conversation_id: run.conversation_id, limit: COUNTED}).then(
      (page) => setCount({least: page.runs.length, more: page.next !== null}),
      // Then it is not known how many more there are, as before.
      (error) => void app.session.refused(error),
    );
  }, []);

  /** @param {boolean} all */
  const remove = async (all) => {
    setTrying(true);
    try {
      await app.list.remove(run, all);
      // The run in front may be older than the list reaches: that it is not listed says nothing.
      const front = app.followed?.run;
      if (all ? front?.conversationId === run.conversation_id : front?.runId === run.run_id) app.route.go('#/');
      app.announce('Deleted');
      onClose();
    } catch (error) {
      if (!app.session.refused(error)) setSaid(explain(error));
      setTrying(false);
    }
  };
  // Its button stands first: where it goes once the runs are counted, the others stay under the pointer.
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="delete-title" onClose=${onClose}>
    <h2 id="delete-title">Delete for good?</h2>
    <p>“${run.title || run.run_id}” is removed everywhere, with all that was said and done. There is no way back.</p>
    <p class="said" role="alert">${said}</p>
    <div class="dialog-buttons">
      ${(count.more || count.least > 1) && html`<button type="button" class="danger" disabled=${trying} onClick=${() => void remove(true)}>
        Delete the conversation (${count.more ? 'all its runs' : `${count.least} runs`})
      </button>`}
      <button type="button" autofocus onClick=${onClose}>Keep it</button>
      <button type="button" class="danger" disabled=${trying} onClick=${() => void remove(false)}>Delete this run</button>
    </div>
  </dialog>`;
}
