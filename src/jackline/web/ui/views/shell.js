/** The page's frame: the bar, the list, the run or what is shown without one. @module */
import {Component, html, useEffect, useState} from '../html.js';
import {Unreachable} from '../client.js';
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
            ? html`<${NoConversation} app=${app} />`
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

/** @param {{app: App}} props */
function NoConversation({app}) {
  useObservables(app.list);
  return html`<section class="missing">
    ${app.list.loaded
      ? html`<h1>There is no such conversation</h1><p>It was deleted, is somebody else’s, or is older than the list reaches. <a href="#/">Back to the list</a></p>`
      : html`<p class="muted">Looking for the conversation …</p>`}
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
    if (before.key === draft.key) keepDraft(who, null, null);
    app.route.go(runHref(runId));
  } catch (error) {
    if (app.session.refused(error) || app.session.who !== who) return;
    app.draft(draft);
    const said = error instanceof Unreachable ? 'It may have arrived: then the list shows it. Sent again it is the same run.' : 'Not started.';
    app.say(`${said} ${explain(error)}`, 10_000);
  }
}

/** The agents that are served; asked for again until there is one. @param {App} app */
function useAgents(app) {
  const [found, setFound] = useState(/** @type {{agents: Data[], defaultAgent: string | null}} */ ({agents: [], defaultAgent: null}));
  useEffect(() => {
    let left = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
    const ask = async () => {
      try {
        const {agents, default: name} = await app.session.jackline.agents();
        if (left) return;
        setFound({agents, defaultAgent: name});
        if (agents.length > 0) return;
      } catch (error) {
        if (app.session.refused(error)) return;
      }
      if (!left) timer = setTimeout(ask, AGENTS_MS);
    };
    void ask();
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, []);
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
