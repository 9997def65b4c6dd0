/** What is shown where no run is looked at: what can be asked, and how to go on from the demo. @module */
import {html, useRef, useState} from '../html.js';
import {CopyButton} from './copy.js';

/** @typedef {Record<string, any>} Data */
/** @typedef {{title: string, prompt: string, description?: string, asks?: boolean, agent: string, agentLabel: string}} Offer */
/** @typedef {(prompt: string, agent: string) => unknown} OnTask */

/** What an agent can be asked that says nothing of what it does. */
const EXAMPLE = 'What can you do here, and with which tools?';

/** An agent that needs no model; a test serves it as it stands here. */
export const MY_AGENT = `# my_agent.py
from pathlib import Path

def write(path: str, text: str) -> int:
    return Path(path).write_text(text)

async def agent(ctx):
    await ctx.say("I would like to write that down. ")
    size = await ctx.tool(write, {"path": "note.txt", "text": ctx.text}, approval=True)
    await ctx.say(f"Written: {size} characters.")
`;

/**
 * @param {object} props
 * @param {Data[]} props.agents what the server serves; empty until a worker has come
 * @param {OnTask} props.onTask starts a task; what it returns is waited for, so that it is started once
 * @param {boolean} [props.keyless] whether the server wants no key
 */
export function Welcome({agents, onTask, keyless = true}) {
  return html`<section class="welcome" aria-labelledby="welcome-title">
    <h1 id="welcome-title">What is to be done?</h1>
    <p class="muted">Write it below, or take one of these. You see each step as it happens, approve what changes something,
      and can stop it at any time. Close the page whenever you like: runs go on without it.</p>
    <${Offers} agents=${agents} onTask=${onTask} />
    <${GoOn} keyless=${keyless} />
  </section>`;
}

/** @param {{agents: Data[], onTask: OnTask}} props */
function Offers({agents, onTask}) {
  const [starting, setStarting] = useState('');
  /** What is shown as starting is known with the next rendering only; a second press may come before. */
  const busy = useRef(false);
  if (agents.length === 0) {
    return html`<p class="welcome-note" role="status">No worker serves an agent yet. One that has just been started needs
      a few seconds; where web and worker are started apart: <code>jackline serve --role worker</code>. The page looks again by itself.</p>`;
  }
  /** @param {Offer} offer */
  const start = async (offer) => {
    if (busy.current) return;
    busy.current = true;
    setStarting(offer.title);
    try {
      await onTask(offer.prompt, offer.agent);
    } finally {
      setStarting('');
      busy.current = false;
    }
  };
  return html`<ul class="welcome-tasks">
      ${offersOf(agents).map((offer) => html`<li key=${`${offer.agent} ${offer.title}`}>
        <${TaskCard} offer=${offer} starting=${starting === offer.title} onStart=${() => void start(offer)} />
      </li>`)}
    </ul>
    ${agents.some(({model}) => isScripted(model)) && html`<p class="welcome-note">This is the demo: what it says is a fixed script,
      without a language model. Its tools are real and look at <em>this</em> host; all they write is in a folder of their own.</p>`}`;
}

/** @param {{offer: Offer, starting: boolean, onStart: () => void}} props */
function TaskCard({offer, starting, onStart}) {
  return html`<button type="button" class="welcome-task" aria-disabled=${starting} onClick=${onStart}>
    <span class="welcome-task-title">${offer.title}</span>
    ${offer.description && html`<span class="welcome-task-text">${offer.description}</span>`}
    <span class="welcome-task-foot">
      ${offer.asks && html`<span class="welcome-asks">asks for your approval</span>`}
      ${offer.agentLabel && html`<span class="muted">${offer.agentLabel}</span>`}
      <span class="welcome-start">${starting ? 'Starting …' : 'Start'}</span>
    </span>
  </button>`;
}

/**
 * The tasks of all agents; of several revisions of one the first that offers any. An example where none does.
 * @param {Data[]} agents @returns {Offer[]}
 */
export function offersOf(agents) {
  /** @type {Map<string, Offer[]>} */
  const byAgent = new Map();
  const several = new Set(agents.map(({name}) => name)).size > 1;
  for (const {name, tasks = []} of agents) {
    if ((byAgent.get(name) ?? []).length > 0) continue;
    byAgent.set(name, tasks.map((/** @type {Data} */ task) => ({...task, agent: name, agentLabel: several ? name : ''})));
  }
  const offers = [...byAgent.values()].flat();
  if (offers.length > 0) return offers;
  return [...byAgent.keys()].map((agent) => ({
    title: several ? `Ask ${agent}` : 'Ask what it can do',
    prompt: EXAMPLE,
    description: `“${EXAMPLE}”`,
    agent,
    agentLabel: '',
  }));
}

/** @param {unknown} model */
function isScripted(model) {
  return typeof model === 'string' && model.includes('scripted');
}

/** @param {{keyless: boolean}} props */
function GoOn({keyless}) {
  const server = new URL('.', location.href).href.replace(/\/$/, '');
  const header = keyless ? '' : ` -H "Authorization: Bearer $JACKLINE_TOKEN"`;
  return html`<div class="welcome-more">
    <${Fold} title="Use a real model">
      <p>Stop the server with Ctrl-C and start it with a model of your provider; its runs go on. The demo’s tools stay, until
        you name your own MCP servers. Tools that say they only read run at once, everything else asks.</p>
      <${Code} label="command for a hosted model" text="OPENAI_API_KEY=… scripts/up --model openai:gpt-5.2" />
      <${Code} label="command with tools" text="OPENAI_API_KEY=… scripts/up --model openai:gpt-5.2 --mcp-config mcp.json" />
      <p>Or a small one that runs on this machine, needs no key, and only talks:</p>
      <${Code} label="command for a local model" text="scripts/up --model local" />
    <//>
    <${Fold} title="Your own agent">
      <p>A <code>pydantic_ai.Agent</code>, or an async function like this one, which needs no model. Save it as <code>my_agent.py</code>:</p>
      <${Code} label="my_agent.py" text=${MY_AGENT} />
      <${Code} label="command" text="scripts/up --agent my_agent.py:agent" />
      <p>With a list <code>agent_tasks</code> beside it, it offers tasks of its own on this page.</p>
    <//>
    <${Fold} title="From the terminal">
      <p>The same runs, from anywhere: start here and watch there, or the other way round.</p>
      ${!keyless && html`<${Code} label="key" text="export JACKLINE_TOKEN=…   # your key" />`}
      <${Code} label="chat command" text=${`.venv/bin/jackline chat --url ${server} "check the disk of this host"`} />
      <${Code} label="list command" text=${`.venv/bin/jackline runs --url ${server}`} />
      <${Code} label="curl command" text=${`curl -N ${server}/api/v1/agent/chat${header} -H 'Content-Type: application/json' \\
  -d '{"messages":[{"role":"user","content":"check the disk of this host"}]}'`} />
    <//>
  </div>`;
}

/** @param {{title: string, children?: import('../html.js').Children}} props */
function Fold({title, children}) {
  return html`<details><summary>${title}</summary><div class="welcome-fold">${children}</div></details>`;
}

/** @param {{text: string, label: string}} props */
function Code({text, label}) {
  return html`<div class="welcome-code"><pre tabindex="0"><code>${text}</code></pre><${CopyButton} text=${text} label=${label} /></div>`;
}
