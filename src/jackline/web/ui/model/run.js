// What a run's frames come to, for viewing: a fold like the server's, which also keeps the order in which
// things were said and done, and where the time went. Pure: no DOM, no clock of its own.

import { closeTimeline, createTimeline, timelineApproval, timelineTool, timelineWorkflow } from './timeline.js'

/** @typedef {import('../../jackline.js').Frame} Frame */
/** @typedef {Record<string, any>} Data */
/** @typedef {import('./timeline.js').Span} Span */
/** @typedef {'queued'|'executing'|'awaiting_approval'|'stopping'|'stopped'|'completed'|'failed'} RunState */
/** @typedef {'requested'|'started'|'finished'|'failed'|'denied'|'cancelled'|'unknown'} CallState */
/** @typedef {{type: string, message: string}} ErrorInfo */
/** @typedef {{mode: string, by: string, requested_at: string, reason: string | null}} Stop */

/**
 * A person's message, or one of the model's. `pieces` counts its tokens entries.
 * @typedef {object} Said
 * @property {string} key
 * @property {'user' | 'text' | 'reasoning'} kind
 * @property {number} version grows with each change
 * @property {string} messageId
 * @property {number} seq where it begins
 * @property {string} text
 * @property {string | null} at when it began; null where only a snapshot tells of it
 * @property {string | null} until when its last piece came
 * @property {boolean} open whether more of it may come: nothing else has come after it, and the run goes on
 */

/**
 * A tool call. `args`: those really executed, once it has started.
 * @typedef {object} Call
 * @property {string} key
 * @property {'call'} kind
 * @property {number} version
 * @property {string} callId
 * @property {string} name
 * @property {CallState} state
 * @property {unknown} requestedArgs
 * @property {unknown} args
 * @property {number | null} step null where only a snapshot tells of it
 * @property {string | null} effect
 * @property {unknown} result undefined where there is none
 * @property {unknown} progress the newest; undefined where there is none
 * @property {number} progressCount
 * @property {ErrorInfo | null} error
 * @property {number | null} durationMs
 * @property {string | null} verifies
 * @property {Call | null} verified the call that `verifies` names
 * @property {string | null} requestedAt
 * @property {string | null} startedAt
 * @property {string | null} endedAt
 * @property {number} seq where it was requested
 * @property {Round[]} rounds the questions about it, oldest first
 */

/**
 * One question to a person, and its answer.
 * @typedef {object} Round
 * @property {string} callId
 * @property {number} round
 * @property {'call' | 'outcome'} kind
 * @property {string} name
 * @property {'pending'|'granted'|'denied'|'answered'|'expired'|'withdrawn'} state
 * @property {number} version
 * @property {number} seq
 * @property {unknown} args
 * @property {unknown} argsSchema
 * @property {string[]} choices
 * @property {string | null} question why the agent asks
 * @property {string} requestedAt
 * @property {string | null} expiresAt
 * @property {string | null} onExpiry
 * @property {string | null} outcome
 * @property {unknown} result
 * @property {unknown} grantedArgs undefined unless it was granted
 * @property {string | null} by
 * @property {string | null} at
 * @property {string | null} reason what was answered
 */

/**
 * Something that happened to the run itself.
 * @typedef {object} Note
 * @property {string} key
 * @property {'note'} kind
 * @property {number} version
 * @property {number} seq
 * @property {string} at
 * @property {'takeover'|'retry'|'handed_back'|'stopping'|'stopped'|'completed'|'failed'|'gap'|'log'} note
 * @property {Data} data the entry's fields
 */

/** @typedef {Said | Call | Note} Item */

/** @typedef {{step: number, attempt: number, input_tokens: number, output_tokens: number, ttft_ms: number | null,
 *   model: string | null, cost_usd: number | null}} StepUsage */
/** @typedef {{input_tokens: number, output_tokens: number, model: string | null, ttft_ms: number | null,
 *   cost_usd: number | null, byStep: StepUsage[] | null}} Usage `byStep`: null once only a snapshot has told of some */

/**
 * @typedef {object} Run
 * @property {string} runId
 * @property {string} conversationId
 * @property {RunState | null} state null before the first entry
 * @property {string} agent
 * @property {string} by
 * @property {number} attempt
 * @property {number} step
 * @property {number} seq of the last entry that was folded
 * @property {number} newest the newest one that the server told of: what lies between is still to come
 * @property {string} title
 * @property {string} createdAt
 * @property {string} updatedAt
 * @property {string | null} endedAt
 * @property {Item[]} items in the order in which they began
 * @property {number} revision grows when items come or go
 * @property {Map<string, Call>} calls
 * @property {Map<string, Round[]>} approvals
 * @property {Round[]} pending the questions without an answer, oldest first
 * @property {Span[]} timeline
 * @property {Usage} usage
 * @property {Stop | null} stop
 * @property {Data | null} receipt
 * @property {unknown} output undefined where there is none
 * @property {ErrorInfo | null} error
 * @property {unknown} metadata
 * @property {unknown} limits
 * @property {'alive' | 'lost' | 'none' | null} worker null before the first heartbeat
 * @property {number | null} idleMs how long ago the loop that drives the agent last turned
 * @property {'away' | 'doubt' | null} store
 * @property {number} skewMs what to add to this machine's time to have the server's
 * @property {number} version grows with each change
 * @property {import('./timeline.js').Timeline} clock
 * @property {Map<string, Said>} said by key
 * @property {Said | null} speaking the one that the last entry belonged to
 * @property {boolean} synced whether `skewMs` was learned
 */

const RUN_STATES = new Set(['queued', 'executing', 'awaiting_approval', 'stopping', 'stopped', 'completed', 'failed'])
const CALL_STATES = new Set(['requested', 'started', 'progress', 'finished', 'failed', 'denied', 'cancelled', 'unknown'])
const APPROVAL_STATES = new Set(['pending', 'granted', 'denied', 'answered', 'expired', 'withdrawn'])
const TERMINAL = new Set(['stopped', 'completed', 'failed'])

/** Whether nothing follows a state. @param {string | null} state */
export const isTerminal = (state) => state !== null && TERMINAL.has(state)

/** A run of which nothing is known yet. @param {string} runId @returns {Run} */
export function createRun(runId) {
  return {
    runId,
    conversationId: runId.slice(0, Math.max(0, runId.lastIndexOf('.'))),
    state: null,
    agent: '',
    by: '',
    attempt: 0,
    step: 0,
    seq: 0,
    newest: 0,
    title: '',
    createdAt: '',
    updatedAt: '',
    endedAt: null,
    items: [],
    revision: 0,
    calls: new Map(),
    approvals: new Map(),
    pending: [],
    timeline: [],
    usage: { input_tokens: 0, output_tokens: 0, model: null, ttft_ms: null, cost_usd: null, byStep: [] },
    stop: null,
    receipt: null,
    output: undefined,
    error: null,
    metadata: null,
    limits: null,
    worker: null,
    idleMs: null,
    store: null,
    skewMs: 0,
    version: 0,
    clock: createTimeline(),
    said: new Map(),
    speaking: null,
    synced: false,
  }
}

/**
 * Fold one frame. Entries that were folded already, and what this version does not know, change nothing.
 * @param {Run} run @param {Frame} frame
 * @param {number} [now] when it came, by this machine's clock: the server's is learned from it
 */
export function apply(run, frame, now) {
  const { data } = frame
  if (now !== undefined) learnSkew(run, frame, now)
  switch (frame.kind) {
    case 'entry':
      if (frame.seq <= run.seq) return
      applyEntry(run, frame.type, frame.seq, data)
      run.seq = frame.seq
      run.newest = Math.max(run.newest, frame.seq)
      break
    case 'gap':
      applySnapshot(run, data)
      break
    case 'ready':
      run.conversationId = data.conversation_id ?? run.conversationId
      run.newest = Math.max(run.newest, data.newest ?? 0)
      break
    case 'heartbeat':
      run.worker = data.worker ?? null
      run.idleMs = data.idle_ms ?? null
      run.store = data.store ?? null
      run.newest = Math.max(run.newest, data.seq ?? 0)
      break
    case 'end':
      if (run.speaking) close(run)
      break
    default:
      return
  }
  run.version += 1
}

/**
 * No frame comes before it was written. So the largest difference that was seen is the nearest to the truth; a
 * heartbeat's is near it always.
 * @param {Run} run @param {Frame} frame @param {number} now
 */
function learnSkew(run, frame, now) {
  if (frame.kind !== 'heartbeat' && frame.kind !== 'entry') return
  const sample = Date.parse(frame.data.ts) - now
  if (Number.isNaN(sample)) return
  if (frame.kind === 'heartbeat' && (!run.synced || Math.abs(sample - run.skewMs) > 5000)) {
    run.skewMs = sample
    run.synced = true
  } else if (sample > run.skewMs) {
    run.skewMs = sample
  }
}

/** @param {Run} run @param {string} type @param {number} seq @param {Data} data */
function applyEntry(run, type, seq, data) {
  switch (type) {
    case 'token':
      if (typeof data.text !== 'string' || !['text', 'reasoning'].includes(data.kind)) return
      token(run, seq, data)
      break
    case 'workflow':
      if (!RUN_STATES.has(data.state)) return
      close(run)
      workflow(run, seq, data)
      break
    case 'tool':
      if (!CALL_STATES.has(data.state)) return
      close(run)
      tool(run, seq, data)
      break
    case 'approval':
      if (!APPROVAL_STATES.has(data.state)) return
      close(run)
      approval(run, seq, data)
      break
    default:
      return
  }
  run.updatedAt = data.ts ?? run.updatedAt
}

/** What was being said is said. @param {Run} run */
function close(run) {
  if (!run.speaking) return
  run.speaking.open = false
  run.speaking.version += 1
  run.speaking = null
}

/** @param {Run} run @param {Item} item */
function add(run, item) {
  run.items.push(item)
  run.revision += 1
}

/** @param {Run} run @param {number} seq @param {Data} data */
function token(run, seq, data) {
  const key = `${data.message_id}:${data.kind}`
  let said = run.said.get(key)
  if (!said) {
    said = newSaid(key, data.kind, data.message_id, data.merged_from ?? seq, '', data.ts)
    run.said.set(key, said)
    add(run, said)
  }
  if (run.speaking !== said) {
    close(run)
    said.open = true
    run.speaking = said
  }
  said.text += data.text
  said.until = data.ts ?? said.until
  said.version += 1
}

/**
 * @param {string} key @param {'user' | 'text' | 'reasoning'} kind @param {string} messageId @param {number} seq
 * @param {string} text @param {string | null} [at] @returns {Said}
 */
const newSaid = (key, kind, messageId, seq, text, at = null) =>
  ({ key, kind, version: 1, messageId, seq, text, at, until: at, open: false })

/** @param {Run} run @param {number} seq @param {Data} data */
function workflow(run, seq, data) {
  if (run.state === null && data.state === 'queued') begin(run, seq, data)
  timelineWorkflow(run, data)
  run.state = data.state
  run.attempt = Math.max(run.attempt, data.attempt ?? 0)
  run.step = data.step ?? run.step
  if (data.usage) addUsage(run, data)
  if (data.supersedes?.length) drop(run, new Set(data.supersedes))
  if (data.state === 'stopping') stopping(run, data)
  if (data.output !== undefined) run.output = data.output
  run.error = data.error ?? run.error
  run.receipt = data.receipt ?? run.receipt
  if (TERMINAL.has(data.state)) run.endedAt = data.ts
  const note = noteOf(data)
  if (note) add(run, { key: `n${seq}`, kind: 'note', version: 1, seq, at: data.ts, note, data })
}

/** @param {Data} data @returns {Note['note'] | null} */
function noteOf(data) {
  if (data.state === 'executing') {
    if (data.reason === 'takeover') return 'takeover'
    if (data.reason === 'handed back') return 'handed_back'
    if (data.retry) return 'retry'
    return data.supersedes?.length ? 'retry' : null
  }
  return ['stopping', 'stopped', 'completed', 'failed'].includes(data.state) ? data.state : null
}

/** @param {Run} run @param {number} seq @param {Data} data */
function begin(run, seq, data) {
  run.conversationId = data.conversation_id ?? run.conversationId
  run.agent = data.agent ?? ''
  run.by = data.by ?? ''
  run.metadata = data.metadata ?? null
  run.limits = data.limits ?? null
  run.createdAt = data.ts
  /** @type {Data[]} */ const input = Array.isArray(data.input) ? data.input : []
  input.forEach((message, at) => {
    const id = `u${at + 1}`
    const said = newSaid(`${id}:user`, 'user', id, seq, String(message.content), data.ts)
    run.said.set(said.key, said)
    add(run, said)
  })
  run.title = titleOf(input.at(-1)?.content)
}

/** As lists have it. @param {unknown} text */
const titleOf = (text) =>
  typeof text === 'string' ? [...text.split(/\s+/u).filter(Boolean).join(' ')].slice(0, 120).join('') : ''

/** The messages that will be said again. @param {Run} run @param {Set<string>} messageIds */
function drop(run, messageIds) {
  for (const [key, said] of run.said) {
    if (said.kind !== 'user' && messageIds.has(said.messageId)) run.said.delete(key)
  }
  run.items = run.items.filter((item) => !(isSaid(item) && item.kind !== 'user' && messageIds.has(item.messageId)))
  run.revision += 1
}

/** @param {Item} item @returns {item is Said} */
const isSaid = (item) => item.kind === 'user' || item.kind === 'text' || item.kind === 'reasoning'

/** @param {Run} run @param {Data} data */
function addUsage(run, data) {
  const { usage } = run
  /** @type {Data} */ const more = data.usage
  const cost = more.cost_usd ?? null
  if (usage.model === null && usage.input_tokens + usage.output_tokens === 0) usage.cost_usd = cost
  else usage.cost_usd = usage.cost_usd === null || cost === null ? null : usage.cost_usd + cost
  usage.input_tokens += more.input_tokens ?? 0
  usage.output_tokens += more.output_tokens ?? 0
  usage.ttft_ms = more.ttft_ms ?? usage.ttft_ms
  usage.model = more.model || usage.model
  usage.byStep?.push({
    step: data.step ?? run.step,
    attempt: data.attempt ?? run.attempt,
    input_tokens: more.input_tokens ?? 0,
    output_tokens: more.output_tokens ?? 0,
    ttft_ms: more.ttft_ms ?? null,
    model: more.model ?? null,
    cost_usd: cost,
  })
}

/** @param {Run} run @param {Data} data */
function stopping(run, data) {
  const mode = data.mode ?? 'immediate'
  if (!run.stop) run.stop = { mode, by: data.by ?? '', requested_at: data.ts, reason: data.reason ?? null }
  else if (mode === 'immediate') run.stop.mode = mode
}

/** The call; made if its request was never seen. @param {Run} run @param {number} seq @param {Data} data */
function callOf(run, seq, data) {
  const known = run.calls.get(data.call_id)
  if (known) return known
  const rounds = run.approvals.get(data.call_id) ?? []
  /** @type {Call} */ const call = {
    key: data.call_id,
    kind: 'call',
    version: 0,
    callId: data.call_id,
    name: data.name ?? '',
    state: 'requested',
    requestedArgs: data.args ?? null,
    args: data.args ?? null,
    step: run.step,
    effect: data.effect ?? null,
    result: undefined,
    progress: undefined,
    progressCount: 0,
    error: null,
    durationMs: null,
    verifies: null,
    verified: null,
    requestedAt: data.ts ?? null,
    startedAt: null,
    endedAt: null,
    seq,
    rounds,
  }
  run.calls.set(call.callId, call)
  run.approvals.set(call.callId, rounds)
  add(run, call)
  return call
}

/** @param {Run} run @param {number} seq @param {Data} data */
function tool(run, seq, data) {
  const call = callOf(run, seq, data)
  call.version += 1
  call.verifies = data.verifies ?? call.verifies
  call.verified = (call.verifies && run.calls.get(call.verifies)) || null
  if (data.state === 'progress') {
    call.progress = data.progress
    call.progressCount += 1
    return
  }
  if (data.state !== 'requested') {
    call.state = data.state
    call.result = data.result
    call.error = data.error ?? null
    call.durationMs = data.duration_ms ?? null
  }
  if (data.state === 'started') {
    call.startedAt = data.ts
    call.endedAt = null
    call.args = data.args === undefined ? call.requestedArgs : data.args
  } else if (data.state !== 'requested') {
    call.endedAt = data.ts
  }
  timelineTool(run, call, data)
}

/** @param {Run} run @param {number} seq @param {Data} data */
function approval(run, seq, data) {
  const call = callOf(run, seq, data)
  call.version += 1
  const round = call.rounds.find((each) => each.round === data.round)
  if (data.state === 'pending') {
    if (round) return
    const asked = newRound(seq, data)
    call.rounds.push(asked)
    run.pending = [...run.pending, asked]
  } else if (round) {
    answer(round, data)
    run.pending = run.pending.filter((each) => each !== round)
  }
  timelineApproval(run, data)
}

/** @param {number} seq @param {Data} data @returns {Round} */
const newRound = (seq, data) => ({
  callId: data.call_id,
  round: data.round,
  kind: data.kind,
  name: data.name,
  state: 'pending',
  version: 1,
  seq,
  args: data.args,
  argsSchema: data.args_schema,
  choices: data.choices ?? [],
  question: data.reason ?? null,
  requestedAt: data.ts,
  expiresAt: data.expires_at ?? null,
  onExpiry: data.on_expiry ?? null,
  outcome: null,
  result: undefined,
  grantedArgs: undefined,
  by: null,
  at: null,
  reason: null,
})

/** @param {Round} round @param {Data} data */
function answer(round, data) {
  round.state = data.state
  round.outcome = data.outcome ?? null
  round.result = data.result
  round.by = data.by ?? null
  round.at = data.ts
  round.reason = data.reason ?? null
  if (data.state === 'granted') round.grantedArgs = data.args
  round.version += 1
}

// -- snapshots

/** All anew from a snapshot: what was there before is not to be trusted. @param {Run} run @param {Data} gap */
function applySnapshot(run, gap) {
  /** @type {Data} */ const snapshot = gap.snapshot ?? {}
  const { runId, worker, idleMs, store, skewMs, synced, version, revision, newest } = run
  Object.assign(run, createRun(runId), { worker, idleMs, store, skewMs, synced, version, revision: revision + 1 })
  run.conversationId = snapshot.conversation_id ?? run.conversationId
  run.state = RUN_STATES.has(snapshot.state) ? snapshot.state : null
  run.seq = snapshot.seq ?? gap.to
  run.newest = Math.max(newest, run.seq)
  run.agent = snapshot.agent ?? ''
  run.by = snapshot.by ?? ''
  run.attempt = snapshot.attempt ?? 0
  run.step = snapshot.step ?? 0
  run.createdAt = snapshot.created_at ?? ''
  run.updatedAt = snapshot.updated_at ?? ''
  run.usage = { ...run.usage, ...snapshot.usage, byStep: null }
  run.stop = snapshot.stop ? { ...snapshot.stop } : null
  run.receipt = snapshot.receipt ?? null
  run.output = snapshot.output ?? undefined
  run.error = snapshot.error ?? null
  run.metadata = snapshot.metadata ?? null
  run.limits = snapshot.limits ?? null
  run.endedAt = isTerminal(run.state) ? run.updatedAt : null
  snapshotItems(run, gap, snapshot)
  run.clock = createTimeline(snapshot)
  if (run.clock.phase) run.timeline.push(run.clock.phase)
  if (isTerminal(run.state)) closeTimeline(run, run.updatedAt)
}

/** @param {Run} run @param {Data} gap @param {Data} snapshot */
function snapshotItems(run, gap, snapshot) {
  /** @type {Item[]} */ const items = []
  for (const each of snapshot.transcript ?? []) {
    const kind = each.role === 'user' ? 'user' : each.kind
    const said = newSaid(`${each.message_id}:${kind}`, kind, each.message_id, each.seq, each.text)
    run.said.set(said.key, said)
    items.push(said)
  }
  /** @type {Data[]} */ const tools = snapshot.tools ?? []
  for (const each of tools) callOf(run, each.seq ?? run.seq, { ...each, ts: null })
  for (const each of tools) {
    const call = /** @type {Call} */ (run.calls.get(each.call_id))
    call.version += 1
    call.step = null
    call.state = CALL_STATES.has(each.state) ? each.state : call.state
    call.result = each.result
    call.progress = each.progress
    call.error = each.error ?? null
    call.durationMs = each.duration_ms ?? null
    call.verifies = each.verifies ?? null
    call.verified = (call.verifies && run.calls.get(call.verifies)) || null
    call.startedAt = each.started_at ?? null
    items.push(call)
  }
  for (const each of snapshot.approvals ?? []) {
    const call = run.calls.get(each.call_id)
    if (!call) continue
    const round = newRound(each.seq, { ...each, ts: each.requested_at, reason: each.question })
    if (each.state !== 'pending') {
      answer(round, { ...each, ts: each.at, args: each.granted_args })
    }
    call.rounds.push(round)
  }
  run.pending = [...run.approvals.values()].flat().filter((round) => round.state === 'pending')
  // Stable: what was requested together stays in its order.
  items.sort((one, other) => one.seq - other.seq)
  const note = { kind: /** @type {const} */ ('note'), version: 1, seq: run.seq, at: run.updatedAt }
  /** @type {Note} */ const told = { ...note, key: `g${run.seq}`, note: 'gap', data: { from: gap.from, to: gap.to } }
  // The entry that tells how it ended is among those that are missing, and nothing follows it.
  const ending = isTerminal(run.state) ? noteOf(snapshot) : null
  run.items = [...items, told, ...(ending === null ? [] : [{ ...note, key: `n${run.seq}`, note: ending, data: {} }])]
  run.title = titleOf((snapshot.transcript ?? []).filter((/** @type {Data} */ each) => each.role === 'user').at(-1)?.text)
}
