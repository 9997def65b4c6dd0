/** The page's frame: the bar, the list, the run or what is shown without one. @module */
import {Component, html, useEffect, useRef, useState} from '../html.js';
import {Refused, Unreachable} from '../client.js';
import {keepDraft, keyedDraft, readDraft, wishOf} from '../state/drafts.js';
import {useObservables} from '../state/hooks.js';
import {runHref} from '../state/route.js';
import {explain} from '../state/words.js';
import {Composer} from './composer.js';
import {Help} from './help.js';
import {KeyPrompt} from './key_prompt.js';
import {RunList} from './run_list.js';
import {RunPage} from './run_page.js';
import {StopChoice, StopDock} from './stop.js';
import {Welcome} from './welcome.js';

/** @typedef {import('../state/app.js').App} App */
/** @typedef {Record<string, any>} Data */

/** How often to ask for the agents where none is served yet. */
const AGENTS_MS = 5_000;

/** @param {{app: App}} props */
export function Shell({app}) {
  useObservables(app, app.session);
  if (app.session.wants !== 'nothing') return html`<${KeyPrompt} app=${app} key=${app.session.generation} />`;
  return html`<${Signed} key=${app.session.generation} app=${app} />`;
}

/** @param {{app: App}} props */
function Signed({app}) {
  useObservables(app, app.route);
  const {agents, defaultAgent} = useAgents(app);
  const {followed} = app;
  const {place} = app.route;
  return html`<div class="shell" data-place=${place.name}>
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => {
      event.preventDefault();
      document.getElementById('main')?.focus();
    }}>Skip to the run</a>
    <${TopBar} app=${app} />
    <${Fallible} app=${app}><${RunList} app=${app} /><//>
    <main id="main" tabindex="-1">
      <${Fallible} key=${followed?.runId ?? place.name} app=${app}>
        ${followed !== null
          ? html`<${RunPage} key=${followed.runId} app=${app} followed=${followed} agents=${agents} defaultAgent=${defaultAgent} />`
          : place.name === 'conversation'
            ? html`<${Conversation} key=${place.conversationId} app=${app} conversationId=${place.conversationId} />`
            : html`<div class="home">
                <div class="home-scroll"><${Welcome} agents=${agents} keyless=${app.session.key === ''}
                  onTask=${(/** @type {string} */ prompt, /** @type {string} */ agent) => begin(app, prompt, agent, defaultAgent)} /></div>
                <${Composer} key="new" app=${app} conversationId=${null} agents=${agents} defaultAgent=${defaultAgent} />
              </div>`}
      <//>
    </main>
    <${StopDock} app=${app} />
    <${StopChoice} app=${app} />
    <${Help} app=${app} />
    <p class="hint" role="status" data-shown=${app.hint !== ''}>${app.hint}</p>
    <p class="visually-hidden" role="status" aria-label="News">${app.announcement}</p>
    ${app.broken !== null && html`<${Broken} error=${app.broken} />`}
  </div>`;
}

/** @type {Readonly<Record<import('../state/app.js').Theme, string>>} */
const THEMES = {system: 'Auto', light: 'Light', dark: 'Dark'};

/** @param {{app: App}} props */
function TopBar({app}) {
  useObservables(app, app.list);
  const [first, ...others] = app.list.index.waiting();
  const themes = /** @type {const} */ ({system: 'light', light: 'dark', dark: 'system'});
  const next = themes[app.theme];
  return html`<header class="top">
    <a class="brand" href="#/">Jackline</a>
    ${first !== undefined && html`<a class="waiting-link" href=${runHref(first.run_id)}>Waiting for you <span class="badge">${others.length + 1}</span></a>`}
    <span class="grow"></span>
    <button type="button" class="quiet" aria-label=${`${THEMES[app.theme]} colours, change to ${THEMES[next]}`} onClick=${() => app.setTheme(next)}>${THEMES[app.theme]}</button>
    <button type="button" class="quiet" aria-label="? Keyboard shortcuts" onClick=${() => app.help(true)}>?</button>
    ${app.session.key !== '' && html`<button type="button" class="quiet" onClick=${() => app.session.signOut()}>Log out</button>`}
  </header>`;
}

/**
 * The address of a conversation is that of its newest run. The server is asked for it: the list does not reach back to all.
 * @param {{app: App, conversationId: string}} props
 */
function Conversation({app, conversationId}) {
  const [missing, setMissing] = useState(false);
  const [fault, setFault] = useState(/** @type {unknown} */ (null));
  const left = useRef(false);
  const ask = async () => {
    setFault(null);
    try {
      const [newest] = (await app.session.jackline.runs({conversation_id: conversationId, limit: 1})).runs;
      if (left.current) return;
      if (newest === undefined) setMissing(true);
      else app.route.go(runHref(newest.run_id), {replace: true});
    } catch (error) {
      if (left.current || app.session.refused(error)) return;
      if (error instanceof Refused && error.status === 400) setMissing(true); // what is no id
      else setFault(error);
    }
  };
  useEffect(() => {
    void ask();
    return () => void (left.current = true);
  }, []);
  if (missing) {
    return html`<section class="missing">
      <h1>There is no such conversation</h1><p>It was deleted, or is somebody else’s. <a href="#/">Back to the list</a></p>
    </section>`;
  }
  return html`<section class="missing">
    ${fault === null
      ? html`<p class="muted">Looking for the conversation …</p>`
      : html`<p role="alert">${explain(fault)}</p><button type="button" onClick=${() => void ask()}>Try again</button>`}
  </section>`;
}

/**
 * Start an offered task. Where that fails it stands where it can be sent again: under the same key, so that a task that has
 * arrived all the same is not started twice, be it from there or by its card.
 * @param {App} app @param {string} prompt @param {string} agent @param {string | null} defaultAgent
 */
async function begin(app, prompt, agent, defaultAgent) {
  const {who} = app.session;
  const text = prompt.trim();
  const wish = wishOf(null, agent, defaultAgent);
  const before = readDraft(who, null);
  const draft = {...keyedDraft(before, text, wish), text, agent};
  try {
    const {run_id: runId} = await app.session.jackline.start(text, {...wish, key: draft.key});
    if (before.key === draft.key && before.text.trim() === text) keepDraft(who, null, null);
    app.route.go(runHref(runId));
  } catch (error) {
    if (app.session.refused(error) || app.session.who !== who) return;
    app.draft(draft);
    const said = error instanceof Unreachable ? 'It may have arrived: then the list shows it. Sent again it is the same run.' : 'Not started.';
    app.say(`${said} ${explain(error)}`, 10_000);
  }
}

/**
 * The agents that are served. A worker that comes or goes tells the page nothing: they are asked for again where a new
 * conversation may begin, when somebody comes back to the page, when the server does, and while there is none.
 * @param {App} app
 */
function useAgents(app) {
  const [found, setFound] = useState(/** @type {{agents: Data[], defaultAgent: string | null}} */ ({agents: [], defaultAgent: null}));
  const {name: place} = app.route.place;
  useEffect(() => {
    const over = new AbortController();
    const {signal} = over;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
    let asking = false;
    const ask = async () => {
      if (asking || document.hidden) return;
      clearTimeout(timer);
      asking = true;
      let again = true;
      try {
        const {agents, default: name} = await app.session.jackline.agents();
        if (!signal.aborted) setFound({agents, defaultAgent: name});
        again = agents.length === 0;
      } catch (error) {
        again = !app.session.refused(error);
      }
      asking = false;
      if (again && !signal.aborted) timer = setTimeout(ask, AGENTS_MS);
    };
    void ask();
    addEventListener('focus', ask, {signal});
    document.addEventListener('visibilitychange', ask, {signal});
    let cut = false;
    const end = app.list.subscribe(() => {
      const {phase} = app.list;
      if (cut && phase === 'live') void ask();
      cut = phase === 'reconnecting' || (cut && phase !== 'live');
    });
    return () => {
      over.abort();
      clearTimeout(timer);
      end();
    };
  }, [place]);
  return found;
}

/** @typedef {{app: App, children?: import('../html.js').Children}} FallibleProps */

/** What is shown where a view breaks: the rest of the page, and the stop, go on. @extends {Component<FallibleProps, {error: unknown}>} */
class Fallible extends Component {
  state = {error: /** @type {unknown} */ (null)};

  /** @param {unknown} error */
  componentDidCatch(error) {
    console.error(error);
    this.setState({error});
  }

  render() {
    if (this.state.error === null) return /** @type {any} */ (this.props.children);
    return html`<section class="missing" role="alert">
      <h1>This view has failed</h1>
      <p>${explain(this.state.error)}</p>
      <p>The run goes on, and can be stopped. Its log is whole: <code>jackline tail RUN</code> shows it too.</p>
      <p>
        <button type="button" onClick=${() => this.setState({error: null})}>Show it again</button>
        <button type="button" onClick=${() => location.reload()}>Reload the page</button>
      </p>
    </section>`;
  }
}

/** @param {{error: unknown}} props */
function Broken({error}) {
  return html`<div class="broken" role="alert">
    Something in this page has failed: ${explain(error)}. Runs go on without it.
    <button type="button" onClick=${() => location.reload()}>Reload the page</button>
  </div>`;
}
