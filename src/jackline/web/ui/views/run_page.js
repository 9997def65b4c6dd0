/** A run: what was said and done, what it asks, and beside it where the time went. @module */
import {html, useEffect, useLayoutEffect, useMemo, useRef, useState} from '../html.js';
import {answerWord, duration} from '../model/words.js';
import {useObservables} from '../state/hooks.js';
import {runHref} from '../state/route.js';
import {isEnded, isGoing, stateWord} from '../state/words.js';
import {ApprovalCard} from './approval_card.js';
import {Composer} from './composer.js';
import {Connection} from './connection.js';
import {JsonTree} from './json_tree.js';
import {EarlierRow, RunRow} from './run_rows.js';
import {onlyPressed, onlySettled, useSettling} from './settling.js';
import {StepApprovals} from './step_approvals.js';
import {useNow} from './tick.js';
import {Timeline} from './timeline.js';
import {Usage} from './usage.js';
import {Artifacts} from './value.js';
import {VirtualList} from './virtual_list.js';

/** @typedef {import('../state/app.js').App} App */
/** @typedef {import('../state/followed_run.js').FollowedRun} FollowedRun */
/** @typedef {Record<string, any>} Data */

/** Rows are shown anew where the server's clock is found to be off by so much more. */
const CLOCK_MS = 5_000;
/** How long it is shown that a question was answered elsewhere. */
const ANSWERED_MS = 10_000;

/** @param {{app: App, followed: FollowedRun, agents: Data[], defaultAgent: string | null}} props */
export function RunPage({app, followed, agents, defaultAgent}) {
  useObservables(followed, app.list);
  const [side, setSide] = useState(false);
  const feed = useMemo(() => /** @type {import('./virtual_list.js').Handle} */ ({toEnd: () => {}, toRow: () => {}}), [followed]);
  const {run, runId, missing} = followed;
  const artifact = useMemo(() => (/** @type {string} */ of, /** @type {string} */ id) => app.session.jackline.artifact(of, id), [app]);
  const earlier = useEarlier(app, followed);
  const item = app.list.index.runs.get(runId);
  const title = run.title || item?.title || runId;
  const state = run.state ?? item?.state ?? null;
  useAnnounced(app, followed);
  // What was read of one that was deleted since stays to be read.
  if (missing && !followed.ended) return html`<${Missing} runId=${runId} />`;
  /** @param {string | null} callId */
  const show = (callId) => {
    const at = run.items.findIndex((each) => each.kind === 'call' && each.callId === callId);
    if (at >= 0) feed.toRow(earlier.length + at);
  };
  const newest = app.list.index.ofConversation(run.conversationId)[0];
  return html`<${Artifacts.Provider} value=${artifact}><div class="run" data-run=${runId} data-state=${state} data-asks=${run.pending.length > 0}>
    <header class="run-head">
      <a class="back" href="#/" aria-label="Runs: back to the list">Runs</a>
      <div class="run-title">
        <h1 class="ellipsis" title=${title}>${title}</h1>
        <p class="run-facts">
          <span class="state" data-state=${state} role="status" aria-label="State">${stateWord(state) || 'asking'}</span>
          <${Clock} run=${run} />
          <span>${[run.agent, run.by && `for ${run.by}`, run.step > 0 && `step ${run.step}`, run.attempt > 1 && `attempt ${run.attempt}`].filter(Boolean).join(' · ')}</span>
          <code class="run-id" title="The run’s id">${runId}</code>
        </p>
      </div>
      <button type="button" class="side-toggle" aria-expanded=${side} aria-controls="side" onClick=${() => setSide(!side)}>Timeline</button>
    </header>
    <${Connection} followed=${followed} />
    ${newest !== undefined && newest.run_id !== runId && newest.created_at > run.createdAt && run.createdAt !== '' && html`<p class="notice">
      This is an earlier run. <a href=${runHref(newest.run_id)}>Go to the conversation’s newest run</a>
    </p>`}
    <div class="run-body">
      <h2 class="visually-hidden">What was said and done</h2>
      <${Rows} app=${app} followed=${followed} earlier=${earlier} feed=${feed} onShow=${show} />
      <${Pending} app=${app} followed=${followed} />
      <${Composer} key=${run.conversationId} app=${app} conversationId=${run.conversationId} agent=${run.agent || null} agents=${agents} defaultAgent=${defaultAgent} />
    </div>
    <section class="side" id="side" data-open=${side} aria-label="Timeline and figures" tabindex="0">
      <button type="button" class="side-close" onClick=${() => setSide(false)}>Close</button>
      <h2>Timeline</h2>
      <${Timeline} run=${run} onShow=${(/** @type {import('../model/run.js').Span} */ span) => {
        setSide(false);
        show(span.callId);
      }} />
      <h2>Usage</h2>
      <${Usage} usage=${run.usage} />
      <${Facts} followed=${followed} />
    </section>
  </div><//>`;
}

/** How long it runs, or ran. @param {{run: import('../model/run.js').Run}} props */
function Clock({run}) {
  const going = isGoing(run.state);
  useNow(going);
  if (run.createdAt === '') return null;
  const end = run.endedAt !== null ? Date.parse(run.endedAt) : Date.now() + run.skewMs;
  return html`<span class="clock">${duration(end - Date.parse(run.createdAt))}</span>`;
}

/**
 * @param {{app: App, followed: FollowedRun, earlier: Data[], feed: import('./virtual_list.js').Handle,
 *   onShow: (callId: string) => void}} props
 */
function Rows({app, followed, earlier, feed, onShow}) {
  const {run} = followed;
  useEffect(() => app.onJump(() => feed.toEnd()), [feed]);
  const first = earlier.length;
  // What a call lasts is told by the server's clock, which may be learned after its card is shown.
  const clock = Math.round(run.skewMs / CLOCK_MS);
  return html`<${VirtualList} key=${followed.runId} label="What was said and done" count=${first + run.items.length} handle=${feed}
    busy=${followed.phase === 'catching-up'}
    keyOf=${(/** @type {number} */ index) => (index < first ? `e${earlier[index]?.run_id}` : (run.items[index - first]?.key ?? `i${index}`))}
    versionOf=${(/** @type {number} */ index) => `${run.items[index - first]?.version ?? 0} ${clock}`}
    row=${(/** @type {number} */ index) => {
      const item = run.items[index - first];
      if (item !== undefined) return html`<${RunRow} item=${item} run=${run} onShow=${onShow} />`;
      return index < first ? html`<${EarlierRow} earlier=${earlier[index]} />` : null;
    }} />`;
}

/** The questions that wait, where they cannot be overlooked. @param {{app: App, followed: FollowedRun}} props */
function Pending({app, followed}) {
  const {run} = followed;
  const region = useRef(/** @type {HTMLElement | null} */ (null));
  const over = isEnded(run.state) || run.state === 'stopping';
  useToldElsewhere(app, run);
  const shown = over ? [] : run.pending;
  useSettling(region, shown.map(keyOf).join(' '));
  const onFocus = useFocusKept(region, shown);
  if (shown.length === 0) return null;
  return html`<section class="pending" aria-label="Questions of this run" ref=${region} ...${onFocus}
    onClickCapture=${onlySettled} onKeyDownCapture=${onlyPressed}>
    <h2 class="visually-hidden">Questions of this run</h2>
    <${StepApprovals} approvals=${run.pending} calls=${run.calls} onDecideAll=${(/** @type {any} */ decisions) => app.decideAll(decisions)} />
    ${run.pending.map((approval) => html`<${ApprovalCard} key=${keyOf(approval)} approval=${approval} call=${run.calls.get(approval.callId)} now=${Date.now() + run.skewMs}
      onDecide=${(/** @type {string} */ callId, /** @type {any} */ decision) => app.decide(callId, {...decision, round: approval.round})} />`)}
  </section>`;
}

/** @param {import('../model/run.js').Round} round */
const keyOf = ({callId, round}) => `${callId}-${round}`;

/**
 * Where the question that has the focus goes, the next one has it, else what became of the call.
 * @param {{current: HTMLElement | null}} region @param {import('../model/run.js').Round[]} rounds those that are shown
 */
function useFocusKept(region, rounds) {
  /** The call whose question has the focus; '' for that about all, null for none. */
  const focused = useRef(/** @type {string | null} */ (null));
  const before = useRef(rounds);
  useLayoutEffect(() => {
    const calls = before.current.map(({callId}) => callId);
    before.current = rounds;
    // A button that is disabled while its answer is sent has lost the focus already, and nobody else has got it.
    if (focused.current === null || (document.activeElement ?? document.body) !== document.body) return;
    if (calls.length === 0 || rounds.some(({callId}) => callId === focused.current)) return;
    const at = Math.max(0, calls.indexOf(focused.current));
    const next = calls.slice(at).concat(calls).find((callId) => rounds.some((round) => round.callId === callId)) ?? rounds[0]?.callId;
    const row = document.querySelector(`[role="feed"] .jl-tool[data-call="${CSS.escape(calls[at] ?? '')}"]`)?.closest('.feed-row');
    const to = next !== undefined ? region.current?.querySelector(`[data-call="${CSS.escape(next)}"]`) : (row ?? document.querySelector('[role="feed"]'));
    if (next === undefined) focused.current = null;
    if (to instanceof HTMLElement) to.focus({preventScroll: next === undefined});
  }, [rounds.map(keyOf).join(' ')]);
  return {
    onFocusIn: (/** @type {FocusEvent} */ {target}) => {
      focused.current = (target instanceof Element && target.closest('.jl-approval')?.getAttribute('data-call')) || '';
    },
    onFocusOut: (/** @type {FocusEvent} */ {relatedTarget}) => {
      if (relatedTarget instanceof Node && !region.current?.contains(relatedTarget)) focused.current = null;
    },
  };
}

/** A question goes once it is answered: who had it before their eyes is told by whom. @param {App} app @param {import('../model/run.js').Run} run */
function useToldElsewhere(app, run) {
  const before = useRef(/** @type {import('../model/run.js').Round[]} */ ([]));
  useEffect(() => {
    const gone = before.current.filter(({callId, state}) => state !== 'pending' && state !== 'withdrawn' && !app.answered.has(callId));
    before.current = [...run.pending];
    const [round] = gone;
    if (round === undefined) return;
    const who = round.by === null || round.by === 'system' ? '' : ` by ${round.by}`;
    const how = round.state === 'expired' ? 'was' : 'was answered meanwhile:';
    app.say(gone.length > 1 ? `${gone.length} questions were answered meanwhile` : `${round.name} ${how} ${answerWord(round)}${who}`, ANSWERED_MS);
  });
}

/** @param {{followed: FollowedRun}} props */
function Facts({followed: {run}}) {
  const {metadata, limits} = run;
  return html`${metadata ? html`<h2>Metadata</h2><${JsonTree} value=${metadata} />` : null}
    ${limits ? html`<h2>Limits</h2><${JsonTree} value=${limits} />` : null}`;
}

/** @param {{runId: string}} props */
function Missing({runId}) {
  return html`<section class="missing">
    <h1>There is no such run</h1>
    <p>The server knows no run <code>${runId}</code> of yours: it was deleted, its time was over, or it is somebody else’s.</p>
    <p><a href="#/">Back to the list</a></p>
  </section>`;
}

/** The conversation's runs before this one. @param {App} app @param {FollowedRun} followed @returns {Data[]} */
function useEarlier(app, followed) {
  const [found, setFound] = useState(/** @type {{of: string, runs: Data[]}} */ ({of: '', runs: []}));
  const {conversationId, runId} = followed.run;
  useEffect(() => {
    if (conversationId === '' || runId.endsWith('.1')) return undefined;
    let left = false;
    const ask = async () => {
      const runs = [];
      /** @type {string | null} */ let cursor = '';
      while (cursor !== null && !left) {
        const page = /** @type {Data} */ (await app.session.jackline.conversation(conversationId, cursor ? {cursor} : {}));
        runs.push(...page.runs);
        cursor = page.runs.some((/** @type {Data} */ run) => run.run_id === runId) ? null : page.next;
      }
      const own = runs.findIndex((run) => run.run_id === runId);
      if (!left) setFound({of: runId, runs: runs.slice(0, own < 0 ? runs.length : own)});
    };
    ask().catch((error) => app.session.refused(error) || app.say('The conversation’s earlier runs did not come. Reload to try again.'));
    return () => {
      left = true;
    };
  }, [conversationId, runId]);
  return found.of === runId ? found.runs : [];
}

/** Tell a screen reader what changes, but not each token. @param {App} app @param {FollowedRun} followed */
function useAnnounced(app, followed) {
  const {run, phase, missing} = followed;
  const asks = run.pending.map((approval) => approval.name).join(', ');
  useEffect(() => {
    if (phase === 'catching-up' || run.state === null) return;
    if (asks !== '' && isGoing(run.state)) app.announce(`The run waits for you: ${asks}`);
    else app.announce(`The run is ${stateWord(run.state)}`);
  }, [run.state, asks, phase === 'catching-up']);
  useEffect(() => {
    if (phase === 'reconnecting') app.announce('Connection lost, reconnecting');
  }, [phase]);
  useEffect(() => {
    if (missing) app.announce('The server does not have this run');
  }, [missing]);
}
