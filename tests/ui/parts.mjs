// The page's parts, shown one by one, or all at once, from a run that was folded from frames.

import { html, render } from '/ui/html.js'
import { apply, createRun } from '/ui/model/run.js'
import { ApprovalCard } from '/ui/views/approval_card.js'
import { ErrorNote } from '/ui/views/error_note.js'
import { JsonTree } from '/ui/views/json_tree.js'
import { Markdown } from '/ui/views/markdown.js'
import { Receipt } from '/ui/views/receipt.js'
import { StepApprovals } from '/ui/views/step_approvals.js'
import { Timeline } from '/ui/views/timeline.js'
import { ToolCard } from '/ui/views/tool_card.js'
import { Usage } from '/ui/views/usage.js'
import { Artifacts } from '/ui/views/value.js'

const RUN = 'aaaaaaaaaaaaaaaaaaaa.1'
const app = document.getElementById('app')
const BEGAN = Date.parse('2026-11-22T12:00:00.000Z')
const at = (seconds) => new Date(BEGAN + seconds * 1000).toISOString()

/** A run of these entries: [type, seconds, fields]. */
function folded(entries) {
  const run = createRun(RUN)
  entries.forEach(([type, seconds, fields], index) => {
    const seq = index + 1
    apply(run, { kind: 'entry', type, seq, first: seq, id: String(seq), data: { run_id: RUN, seq, ts: at(seconds), ...fields } })
  })
  return run
}

const call = (number, name) => ({ call_id: `${RUN}.${number}`, name })
const begin = [
  ['workflow', 0, { state: 'queued', attempt: 0, agent: 'ops', by: 'user:ana', input: [{ role: 'user', content: 'Free some space on db-3' }] }],
  ['workflow', 1, { state: 'executing', attempt: 1, step: 1 }],
]

const schema = {
  type: 'object',
  properties: {
    service: { type: 'string', minLength: 1, description: 'The unit to restart.' },
    environment: { $ref: '#/$defs/Environment' },
    delay_s: { type: 'integer', minimum: 0, maximum: 600 },
    force: { type: 'boolean', description: 'Kill it if it does not stop.' },
    note: { anyOf: [{ type: 'string' }, { type: 'null' }] },
  },
  required: ['service', 'environment', 'delay_s'],
  additionalProperties: false,
  $defs: { Environment: { enum: ['production', 'staging'] } },
}
const args = { service: 'postgresql@15-main', environment: 'production', delay_s: 30, force: false }

const asking = (more = {}) => [
  ...begin,
  ['tool', 6, { ...call(1, 'restart_service'), state: 'requested', args, effect: 'writes' }],
  ['approval', 6, { ...call(1, 'restart_service'), round: 1, kind: 'call', state: 'pending', args, args_schema: schema, choices: ['approve', 'deny'],
    reason: 'The data directory is moved, and the server must be restarted to see it.\nConnections are cut for about ten seconds.', ...more }],
  ['workflow', 6, { state: 'awaiting_approval', attempt: 1 }],
]
const lost = [
  ...begin,
  ['tool', 6, { ...call(1, 'vacuum_full'), state: 'requested', args: { table: 'events' }, effect: 'writes' }],
  ['tool', 7, { ...call(1, 'vacuum_full'), state: 'started', args: { table: 'events' } }],
  ['workflow', 30, { state: 'executing', attempt: 2, reason: 'takeover' }],
  ['tool', 30, { ...call(1, 'vacuum_full'), state: 'unknown' }],
  ['approval', 30, { ...call(1, 'vacuum_full'), round: 1, kind: 'outcome', state: 'pending', args: { table: 'events' }, choices: ['retry', 'done', 'abort'] }],
  ['workflow', 30, { state: 'awaiting_approval', attempt: 2 }],
]
const answered = (fields) => [...asking(), ['approval', 60, { ...call(1, 'restart_service'), round: 1, kind: 'call', args, by: 'user:bob', ...fields }]]
const several = (numbers) => [
  ...begin,
  ...numbers.flatMap((number) => [
    ['tool', 6, { ...call(number, 'delete_file'), state: 'requested', args: { path: `/var/tmp/dump-${number}.sql.gz` }, effect: 'writes' }],
    ['approval', 6, { ...call(number, 'delete_file'), round: 1, kind: 'call', state: 'pending', args: { path: `/var/tmp/dump-${number}.sql.gz` }, choices: ['approve', 'deny'] }],
  ]),
  ['workflow', 6, { state: 'awaiting_approval', attempt: 1 }],
]

const output = Array.from({ length: 40 }, (_, line) => `/dev/sd${String.fromCharCode(97 + (line % 26))}${line}   ${line}00G  ${line}% /srv/${line}`).join('\n')
const tools = [
  ...begin,
  ['workflow', 5, { state: 'executing', attempt: 1, step: 1, usage: { input_tokens: 1412, output_tokens: 131, ttft_ms: 480, model: 'gpt-5.2', cost_usd: 0.0043 } }],
  ['tool', 5, { ...call(1, 'disk_usage'), state: 'requested', args: { host: 'db-3', depth: 2 }, effect: 'read_only' }],
  ['tool', 5, { ...call(1, 'disk_usage'), state: 'started', args: { host: 'db-3', depth: 2 } }],
  ['tool', 5.8, { ...call(1, 'disk_usage'), state: 'finished', result: { filesystems: [{ mount: '/', used: 0.93 }, { mount: '/srv', used: 0.4 }] }, duration_ms: 812 }],
  ['tool', 6, { ...call(2, 'shell'), state: 'requested', args: { command: 'df -h', timeout: 5 }, effect: 'writes' }],
  ['tool', 6, { ...call(2, 'shell'), state: 'started' }],
  ['tool', 8, { ...call(2, 'shell'), state: 'finished', result: output, duration_ms: 2000 }],
  ['tool', 9, { ...call(3, 'fetch_log'), state: 'requested', args: { unit: 'nginx' }, effect: 'read_only' }],
  ['tool', 9, { ...call(3, 'fetch_log'), state: 'started' }],
  ['tool', 12, { ...call(3, 'fetch_log'), state: 'finished', result: { artifact: 'aaaaaaaaaaaaaaaaaaaa.1.3:result', bytes: 48211, preview: 'Nov 22 12:00:01 db-3 nginx[812]: reloaded' }, duration_ms: 3100 }],
  ['tool', 13, { ...call(4, 'migrate'), state: 'requested', args: { database: 'shop', steps: ['0041_split', '0042_index'] }, effect: 'writes' }],
  ['tool', 13, { ...call(4, 'migrate'), state: 'started' }],
  ['tool', 20, { ...call(4, 'migrate'), state: 'failed', error: { type: 'tool_failed', message: 'relation "orders_2026" does not exist\nLINE 1: ALTER TABLE orders_2026' }, duration_ms: 7010 }],
  ['tool', 21, { ...call(5, 'status'), state: 'requested', args: { service: 'web' }, effect: 'read_only', verifies: `${RUN}.4` }],
  ['tool', 21, { ...call(5, 'status'), state: 'started' }],
  ['tool', 21.2, { ...call(5, 'status'), state: 'finished', result: 'up', duration_ms: 190, verifies: `${RUN}.4` }],
  ['tool', 22, { ...call(6, 'drop_cache'), state: 'requested', args: {}, effect: 'writes' }],
  ['tool', 22, { ...call(6, 'drop_cache'), state: 'denied', error: { type: 'denied', message: 'denied by user:bob: not during the sale' } }],
  ['workflow', 22, { state: 'executing', attempt: 1, retry: { after_ms: 4000, error: 'model gpt-5.2: the provider’s rate limit is reached (429)' } }],
  ['workflow', 26, { state: 'executing', attempt: 1, step: 2 }],
  ['workflow', 31, { state: 'executing', attempt: 1, step: 2, usage: { input_tokens: 3012, output_tokens: 97, ttft_ms: 390, model: 'gpt-5.2', cost_usd: 0.0066 } }],
  ['tool', 31, { ...call(7, 'copy_backup'), state: 'requested', args: { from: 's3://backups/db-3', to: '/srv/restore' }, effect: 'idempotent' }],
  ['tool', 31, { ...call(7, 'copy_backup'), state: 'started' }],
  ['tool', 36, { ...call(7, 'copy_backup'), state: 'progress', progress: { progress: 34, total: 96, message: 'copying base/16384' } }],
]

const narration = `I looked at **db-3**: the root filesystem is *93 %* full. What takes the space:

| path | size | since |
|:-----|-----:|-------|
| \`/var/log\` | 41 GB | March |
| \`/var/tmp\` | 12 GB | yesterday |

1. Rotate the logs now
2. Delete the dumps in \`/var/tmp\`
   - [x] they are in the backup
   - [ ] nobody reads them

\`\`\`bash
logrotate --force /etc/logrotate.conf
rm /var/tmp/dump-*.sql.gz
\`\`\`

> The retention is 14 days: see the [runbook](https://wiki.example.org/runbook).

### Next
I restart the server &mdash; that needs your word.`

const receipt = {
  by: 'user:ana', requested_at: at(40), quiet_ms: 412, model: 'closed',
  tools: [
    { call_id: `${RUN}.1`, name: 'disk_usage', outcome: 'finished_before_stop' },
    { call_id: `${RUN}.2`, name: 'copy_backup', outcome: 'killed' },
    { call_id: `${RUN}.3`, name: 'resize', outcome: 'unknown', answer: { text: 'cannot be cancelled any more' } },
    { call_id: `${RUN}.4`, name: 'notify', outcome: 'not_started' },
  ],
}
const value = {
  host: 'db-3', full: true, used: 0.93, none: null, empty: [], nothing: {}, mounts: [{ path: '/', free_gb: 4 }, { path: '/srv', free_gb: 912 }],
  script: 'set -e\nfor f in /var/tmp/*; do\n  echo "$f"\ndone', long: 'x'.repeat(900), many: Array.from({ length: 120 }, (_, index) => index),
  deep: { a: { b: { c: { d: 1 } } } }, 'odd "key"\u202e': 'turned \u202earound',
}

window.said = []
/** What `onDecide` does next: an answer, or what it throws. */
window.answer = async () => ({})
const onDecide = async (callId, decision) => {
  window.said.push([callId, decision])
  return window.answer()
}
const onDecideAll = async (decisions) => {
  window.said.push(decisions)
  return window.answer()
}
const refused = (status, problem) => Object.assign(new Error(`${status} ${problem.detail}`), { name: 'Refused', status, problem, detail: problem.detail })
window.refuse = (status, problem) => {
  window.answer = async () => {
    throw status === 0 ? new Error('the server is not reachable') : refused(status, problem)
  }
}

const approvalOf = (run) => html`<${ApprovalCard} approval=${run.approvals.get(`${RUN}.1`)[0]} call=${run.calls.get(`${RUN}.1`)}
  now=${Date.parse(at(10))} onDecide=${onDecide} />`
const toolCards = (run) => [...run.calls.values()].map((each) => html`<${ToolCard} key=${each.key} call=${each} run=${run} onShow=${(id) => window.said.push(['show', id])} />`)
const sideOf = (run) => html`<aside class="side" aria-label="Timeline and figures"><${Timeline} run=${run} onShow=${(span) => window.said.push(['span', span.callId])} /><${Usage} usage=${run.usage} /></aside>`

const ended = (run) => {
  const seq = run.seq + 1
  apply(run, { kind: 'entry', type: 'workflow', seq, first: seq, id: String(seq), data: { seq, ts: at(40), state: 'failed', attempt: 1, error: { type: 'x', message: 'y' } } })
  return run
}
const running = (run) => Object.assign(run, { skewMs: BEGAN + 41_000 - Date.now() })

const scenes = {
  markdown: () => html`<${Markdown} text=${narration} />`,
  json: () => html`<${JsonTree} value=${value} label="Facts" />`,
  tools: () => toolCards(running(folded(tools))),
  tool: (number) => toolCards(running(folded(tools)))[number - 1],
  asking: (more) => approvalOf(folded(asking(more))),
  expiring: () => approvalOf(folded(asking({ expires_at: at(50), on_expiry: 'deny' }))),
  huge: () => approvalOf(folded(asking({ args: { id: 12345678901234567890 } }))),
  answered: (fields) => toolCards(folded(answered(fields))),
  lost: () => approvalOf(folded(lost)),
  several: (numbers = [1, 2, 3]) => {
    const run = folded(several(numbers))
    return html`<${StepApprovals} approvals=${run.pending} calls=${run.calls} onDecideAll=${onDecideAll} />`
  },
  receipt: (effect = 'writes') => html`<${Receipt} receipt=${receipt}
    run=${{ stop: { reason: 'the wrong host' }, calls: new Map([[`${RUN}.3`, { effect }]]) }} />`,
  error: (type) => html`<${ErrorNote} error=${{ type: type ?? 'model_error', message: 'model gpt-5.2: the provider refused the credentials (401); check the worker’s API key' }} />`,
  side: () => sideOf(running(folded(tools))),
  past: () => sideOf(ended(folded(tools))),
}

const around = (content) => html`<${Artifacts.Provider} value=${async (runId, id) => {
  window.said.push(['artifact', runId, id])
  return new Blob(['line one\nline two <b>\n'], { type: 'text/plain' })
}}>${content}<//>`

/** Show one part. */
window.show = (name, ...given) => {
  render(null, app)
  render(around(scenes[name](...given)), app)
}

/** Show it as something has changed: the part stays the one that it was. */
window.change = (name, ...given) => render(around(scenes[name](...given)), app)

/** Show this text as it grows, piece by piece; what there is after each. */
window.stream = (pieces, done) => {
  render(null, app)
  const shown = []
  let text = ''
  for (const piece of pieces) {
    text += piece
    render(around(html`<${Markdown} text=${text} done=${false} />`), app)
    shown.push(app.innerHTML)
  }
  if (done) render(around(html`<${Markdown} text=${text} done=${true} />`), app)
  return [shown, app.innerHTML]
}
/** Show this text; what it gives shows more of it. */
window.growing = (text) => {
  let all = text
  const draw = (done) => render(around(html`<${Markdown} text=${all} done=${done} />`), app)
  render(null, app)
  draw(false)
  return (more, done = false) => {
    all += more
    draw(done)
  }
}
/** What shows a text as it stands after each of its characters. */
window.prefixes = (text) => [...text].map((_, index) => () => window.stream([text.slice(0, index + 1)], false))
window.value = (it) => {
  render(null, app)
  render(around(html`<${JsonTree} value=${it} />`), app)
}
/** Everything at once, for a person, and for axe. */
window.gallery = () => {
  render(null, app)
  render(around(html`
    ${scenes.markdown()} ${scenes.asking({ expires_at: at(310), on_expiry: 'deny' })} ${scenes.several()} ${scenes.lost()}
    ${scenes.answered({ state: 'granted', args: { ...args, delay_s: 0 }, reason: 'window is now' })} ${scenes.answered({ state: 'denied', reason: 'not before six' })}
    ${scenes.tools()} ${scenes.receipt()} ${scenes.error()} ${scenes.json()} ${scenes.side()}`), app)
}
window.ready = true
