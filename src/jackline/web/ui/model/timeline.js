// Where a run's time went: spans, made while its entries are folded. The run's own spans follow one another; the
// tools' lie beside them, since several may run at once.

/** @typedef {import('./run.js').Run} Run */
/** @typedef {import('./run.js').Call} Call */
/** @typedef {Record<string, any>} Data */

/**
 * `model`: a request to the model, from asking to its answer's end. `agent`: the agent's own work between. `person`:
 * waiting for an answer. `worker`: waiting for a worker. `lost`: nobody drove the run, until another worker took
 * it over. `unseen`: what only a snapshot tells of.
 * @typedef {'queued'|'model'|'agent'|'person'|'retry'|'worker'|'lost'|'stopping'|'unseen'|'tool'} SpanKind
 */

/**
 * @typedef {object} Span
 * @property {string} key
 * @property {SpanKind} kind
 * @property {RunStateName} state of the run
 * @property {number | null} step
 * @property {string | null} tool its name
 * @property {string | null} callId
 * @property {number} start ms, by the server's clock
 * @property {number | null} end null while it lasts
 * @property {string | null} detail
 * @property {number} version
 */

/** @typedef {string} RunStateName */

/**
 * @typedef {object} Timeline
 * @property {Span | null} phase the run's own span that lasts
 * @property {Map<string, Span>} tools those that run, by call
 * @property {number} count
 */

/** Own work shorter than this between two entries is what writing them took. */
const NOTHING_MS = 20

/** @param {Data} [snapshot] what is known of what lies before @returns {Timeline} */
export function createTimeline(snapshot) {
  const timeline = { phase: null, tools: new Map(), count: 0 }
  if (!snapshot?.created_at) return timeline
  const start = Date.parse(snapshot.created_at)
  /** @type {Span} */ const unseen = {
    key: 's0', kind: 'unseen', state: snapshot.state, step: null, tool: null, callId: null, start, end: null, detail: null, version: 1,
  }
  return { ...timeline, phase: unseen, count: 1 }
}

/** How long a span lasted, or lasts. @param {Span} span @param {number} now by the server's clock */
export const lengthOf = (span, now) => Math.max(0, (span.end ?? now) - span.start)

/**
 * @param {Run} run @param {SpanKind | null} kind null: the running tools tell all there is @param {number} at
 * @param {{step?: number | null, detail?: string | null}} [more]
 */
function enter(run, kind, at, { step = null, detail = null } = {}) {
  const { clock, timeline } = run
  const last = clock.phase
  if (last && last.kind === kind && last.step === step && kind !== 'retry') return
  if (last) finish(timeline, last, at)
  clock.phase = null
  if (kind === null) return
  clock.phase = {
    key: `s${clock.count++}`, kind, state: run.state ?? 'queued', step, tool: null, callId: null, start: at, end: null, detail, version: 1,
  }
  timeline.push(clock.phase)
}

/** @param {Span[]} timeline @param {Span} span @param {number} at */
function finish(timeline, span, at) {
  // Writers' clocks may differ by a little: no span ends before it began.
  span.end = Math.max(span.start, at)
  span.version += 1
  if (span.kind === 'agent' && span.end - span.start < NOTHING_MS && timeline.at(-1) === span) timeline.pop()
}

/** The run's entry, before it is folded. @param {Run} run @param {Data} data */
export function timelineWorkflow(run, data) {
  const at = Date.parse(data.ts)
  if (Number.isNaN(at)) return
  switch (data.state) {
    case 'queued':
      return enter(run, 'queued', at)
    case 'awaiting_approval':
      return enter(run, 'person', at)
    case 'stopping':
      return enter(run, 'stopping', at, { detail: data.by ?? null })
    case 'executing':
      return executing(run, data, at)
    default:
      closeTimeline(run, data.ts)
  }
}

/** @param {Run} run @param {Data} data @param {number} at */
function executing(run, data, at) {
  const { clock } = run
  if (data.reason === 'takeover') {
    const seen = Date.parse(run.updatedAt)
    if (!Number.isNaN(seen) && clock.phase?.kind !== 'worker') enter(run, 'lost', seen)
    for (const span of clock.tools.values()) finish(run.timeline, span, at)
    clock.tools.clear()
  }
  if (data.reason === 'handed back') enter(run, 'worker', at)
  else if (data.retry) enter(run, 'retry', at, { detail: data.retry.error ?? null })
  else if (data.step !== undefined && !data.usage) enter(run, 'model', at, { step: data.step })
  else enter(run, clock.tools.size > 0 ? null : 'agent', at)
}

/** @param {Run} run @param {Call} call @param {Data} data */
export function timelineTool(run, call, data) {
  const at = Date.parse(data.ts)
  const { clock, timeline } = run
  if (Number.isNaN(at) || data.state === 'requested') return
  const running = clock.tools.get(call.callId)
  if (running) {
    finish(timeline, running, at)
    clock.tools.delete(call.callId)
  }
  if (data.state === 'started') {
    if (run.state === 'executing') enter(run, null, at)
    /** @type {Span} */ const span = {
      key: `s${clock.count++}`, kind: 'tool', state: run.state ?? 'executing', step: run.step, tool: call.name,
      callId: call.callId, start: at, end: null, detail: null, version: 1,
    }
    timeline.push(span)
    clock.tools.set(call.callId, span)
  } else if (running && clock.tools.size === 0 && run.state === 'executing' && !clock.phase) {
    enter(run, 'agent', at)
  }
}

/** Once everything is answered the run waits for a worker to go on with it. @param {Run} run @param {Data} data */
export function timelineApproval(run, data) {
  const at = Date.parse(data.ts)
  if (Number.isNaN(at) || data.state === 'pending' || data.state === 'withdrawn') return
  if (run.state === 'awaiting_approval' && run.pending.length === 0) enter(run, 'worker', at)
}

/** Nothing lasts any longer. @param {Run} run @param {string} ts */
export function closeTimeline(run, ts) {
  const at = Date.parse(ts)
  for (const span of run.clock.tools.values()) finish(run.timeline, span, at)
  run.clock.tools.clear()
  enter(run, null, at)
}

/**
 * How long each kind of thing took. Of the tools only what nothing else was done beside.
 * @param {Run} run @param {number} now by the server's clock @returns {Map<SpanKind, number>}
 */
export function timeByKind(run, now) {
  /** @type {Map<SpanKind, number>} */ const sums = new Map()
  if (run.timeline.length === 0) return sums
  const begun = Math.min(...run.timeline.slice(0, 1).map((span) => span.start))
  let rest = (run.endedAt ? Date.parse(run.endedAt) : now) - begun
  for (const span of run.timeline) {
    if (span.kind === 'tool') continue
    const length = lengthOf(span, now)
    rest -= length
    sums.set(span.kind, (sums.get(span.kind) ?? 0) + length)
  }
  const tools = run.timeline.some((span) => span.kind === 'tool')
  if (tools && rest > 0) sums.set('tool', rest)
  return sums
}
