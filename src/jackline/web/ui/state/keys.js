/** The keyboard, for the whole page. @module */

/** @typedef {import('./app.js').App} App */

/** Two Escs within this time are a stop. */
const TWICE_MS = 1_000;
/** Who hammers on Esc means what the first two were for: until there is a pause, nothing else is stopped by it. */
const QUIET_MS = 2_000;
/** Who types into a field that is no longer there goes on until there is a pause of so long. */
const TYPING_MS = 2_000;

/** @param {EventTarget | null} target */
const isTyping = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** @param {EventTarget | null} target */
const fieldOfQuestion = (target) =>
  target instanceof Element && target.closest('.jl-approval, .jl-step') !== null ? target : null;

/** Listen to the keyboard. @param {App} app */
export function listenToKeys(app) {
  /** What the first Esc has named. */ let named = {at: -Infinity, runs: ''};
  /** What was stopped by key. */ let stopped = {at: -Infinity, runs: ''};
  // In the capturing phase: nothing that has the focus may keep a stop from being heard.
  addEventListener(
    'keydown',
    (event) => {
      if (event.key !== 'Escape' || event.isComposing) return;
      // The Escs that opened the choice, and go on, must not close it: nothing would be stopped.
      if (app.choosing && event.timeStamp - stopped.at <= QUIET_MS) event.preventDefault();
      if (event.repeat) return;
      const targets = stopTargets(app);
      const at = event.timeStamp;
      const runs = targets.join(' ');
      const meant = runs !== stopped.runs && targets.length === 1 && targets[0] === app.followed?.runId;
      if (at - stopped.at <= QUIET_MS && !meant) {
        stopped.at = at;
        return;
      }
      if (app.choosing) return; // it closes
      // What was named may have ended since: another run is named first, before it can be stopped.
      const twice = at - named.at <= TWICE_MS && named.runs === runs;
      named = twice ? {at: -Infinity, runs: ''} : {at, runs};
      if (targets.length === 0) return;
      if (!twice) return app.say(targets.length > 1 ? `Press Esc again to stop: ${targets.length} runs go on` : `Press Esc again to stop${nameOf(app, targets[0])}`, TWICE_MS);
      app.say('');
      stopped = {at, runs};
      // This Esc must not close the dialog that it opens.
      event.preventDefault();
      if (targets.length > 1) app.choose(true);
      else if (targets[0] !== undefined) app.stop(targets[0]);
    },
    {capture: true},
  );
  /** The field of a question that had the focus last, and the latest key that came after it had gone. */
  let answering = {field: /** @type {Element | null} */ (null), at: Infinity};
  addEventListener('focusin', (event) => {
    if (isTyping(event.target)) answering = {field: fieldOfQuestion(event.target), at: Infinity};
  });
  addEventListener('pointerdown', () => (answering = {field: null, at: Infinity}));
  addEventListener('keydown', (event) => {
    if (isTyping(event.target)) return;
    // A field goes when its question is answered by another: who types into it does not mean what letters do elsewhere.
    if (answering.field?.isConnected === false && event.timeStamp - answering.at < TYPING_MS) {
      answering.at = event.timeStamp;
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!app.singleKeys || document.querySelector('dialog[open]') !== null) return;
    const does = KEYS[event.key];
    if (does === undefined) return;
    event.preventDefault();
    does(app);
  });
}

/** The focused row of the list, else what a stop means anywhere. @param {App} app */
function stopTargets(app) {
  const row = document.activeElement?.closest('.list [data-run]')?.getAttribute('data-run');
  const going = new Set(app.list.index.going().map((run) => run.run_id));
  return row && going.has(row) ? [row] : app.stoppable();
}

/** @param {App} app @param {string | undefined} runId */
function nameOf(app, runId) {
  const title = runId === undefined ? '' : app.list.index.runs.get(runId)?.title;
  return title ? `: ${title.slice(0, 60)}` : '';
}

/** @param {number} by */
function moveInList(by) {
  const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('.list .run-link')]);
  const focused = links.findIndex((link) => link === document.activeElement);
  const current = links.findIndex((link) => link.getAttribute('aria-current') === 'page');
  const at = focused >= 0 ? focused + by : current >= 0 ? current + by : 0;
  links[Math.max(0, Math.min(links.length - 1, at))]?.focus();
}

/** To a button of the question that has the focus, not through it: the key alone must not decide. @param {string} kind */
function toDecision(kind) {
  const button = document.activeElement?.closest('.jl-approval')?.querySelector(`.jl-decide > .jl-buttons > button.${kind}`);
  if (button instanceof HTMLElement) button.focus();
}

/** @type {Readonly<Record<string, (app: App) => void>>} */
const KEYS = {
  '?': (app) => app.help(true),
  j: () => moveInList(1),
  k: () => moveInList(-1),
  a: () => toDecision('primary'),
  d: () => toDecision('danger'),
  e: (app) => app.jump(),
  c: () => document.getElementById('composer')?.focus(),
  n: (app) => app.route.go('#/'),
  w: (app) => {
    const [first] = app.list.index.waiting();
    if (first !== undefined) app.route.go(`#/runs/${encodeURIComponent(first.run_id)}`);
  },
  q: () => {
    const card = document.querySelector('.pending .jl-approval');
    if (card instanceof HTMLElement) card.focus();
  },
};
