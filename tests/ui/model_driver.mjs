// Folds the frames of each line of its input with the page's model, and answers with what they came to, as the
// server's snapshot has it, and with what only the model has.

import { createInterface } from 'node:readline'
import { apply, createRun } from '../../src/jackline/web/ui/model/run.js'
import { lengthOf, timeByKind } from '../../src/jackline/web/ui/model/timeline.js'

const given = (members) => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== undefined))

const transcript = (run) =>
  run.items
    .filter((item) => ['user', 'text', 'reasoning'].includes(item.kind))
    .map((item) => ({
      role: item.kind === 'user' ? 'user' : 'assistant',
      message_id: item.messageId,
      seq: item.seq,
      kind: item.kind === 'reasoning' ? 'reasoning' : 'text',
      text: item.text,
    }))

const tool = (call) => ({
  ...given({
    call_id: call.callId,
    seq: call.seq,
    name: call.name,
    state: call.state,
    error: call.error,
    duration_ms: call.durationMs,
    verifies: call.verifies,
    effect: call.effect,
    started_at: call.startedAt,
  }),
  args: call.args,
  ...(call.result !== undefined && { result: call.result }),
  ...(call.progress !== undefined && { progress: call.progress }),
})

const question = (run, round) => ({
  ...given({
    run_id: run.runId,
    conversation_id: run.conversationId,
    call_id: round.callId,
    round: round.round,
    kind: round.kind,
    name: round.name,
    state: round.state,
    requested_at: round.requestedAt,
    seq: round.seq,
    choices: round.choices.length > 0 ? round.choices : null,
    question: round.question,
    expires_at: round.expiresAt,
    on_expiry: round.onExpiry,
    outcome: round.outcome,
    by: round.by,
    at: round.at,
    reason: round.reason,
  }),
  ...(round.args !== undefined && { args: round.args }),
  ...(round.argsSchema !== undefined && { args_schema: round.argsSchema }),
  ...(round.result !== undefined && { result: round.result }),
  ...(round.grantedArgs !== undefined && { granted_args: round.grantedArgs }),
})

const snapshot = (run) => ({
  run_id: run.runId,
  conversation_id: run.conversationId,
  state: run.state,
  attempt: run.attempt,
  step: run.step,
  seq: run.seq,
  agent: run.agent,
  by: run.by,
  created_at: run.createdAt,
  updated_at: run.updatedAt,
  transcript: transcript(run),
  tools: [...run.calls.values()].map(tool),
  approvals: [...run.approvals.values()].flat().sort((one, other) => one.seq - other.seq).map((round) => question(run, round)),
  usage: {
    input_tokens: run.usage.input_tokens,
    output_tokens: run.usage.output_tokens,
    ttft_ms: run.usage.ttft_ms,
    model: run.usage.model,
  },
  metadata: run.metadata,
  limits: run.limits,
  output: run.output ?? null,
  error: run.error,
  stop: run.stop,
  receipt: run.receipt,
})

const item = (each) => ({ key: each.key, kind: each.kind, note: each.note, version: each.version, open: each.open, text: each.text })

for await (const line of createInterface({ input: process.stdin })) {
  const { runId, frames, now } = JSON.parse(line)
  const run = createRun(runId)
  const versions = []
  for (const frame of frames) {
    apply(run, frame, frame.now)
    versions.push(run.version)
  }
  const told = {
    snapshot: snapshot(run),
    title: run.title,
    pending: run.pending.map((round) => [round.callId, round.round]),
    items: run.items.map(item),
    versions,
    revision: run.revision,
    byStep: run.usage.byStep,
    timeline: run.timeline.map((span) => ({ ...span, length: lengthOf(span, now ?? 0) })),
    times: Object.fromEntries(timeByKind(run, now ?? 0)),
    worker: run.worker,
    idleMs: run.idleMs,
    store: run.store,
    skewMs: run.skewMs,
    newest: run.newest,
    endedAt: run.endedAt,
  }
  process.stdout.write(JSON.stringify(told) + '\n')
}
