// The page's state, as far as it needs no browser. Run by test_pure.py.

import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { test } from 'node:test'

// The server serves the client beside the page.
registerHooks({
  resolve: (name, context, next) => next(name === '../jackline.js' ? '../static/jackline.js' : name, context),
})
const { RunIndex } = await import('../../src/jackline/web/ui/state/run_index.js')

// -- the list

const at = (second) => `2026-01-01T00:00:${String(second).padStart(2, '0')}.000Z`

const item = (state, seq, second) => ({
  run_id: 'C.1', conversation_id: 'C', state, agent: 'a', by: 'ana', title: 't', seq, created_at: at(0), updated_at: at(second),
  worker: 'alive', waiting_for: [], waiting: null,
})

const stateOf = (index) => index.runs.get('C.1').state

test('a listing corrects a run whose log came back shorter', () => {
  const index = new RunIndex()
  index.put(item('executing', 1, 1), index.moment)
  index.apply('workflow', 'C.1', 50, { state: 'stopping', ts: at(2) })
  index.put(item('executing', 41, 3), index.moment)
  assert.equal(stateOf(index), 'executing')
  assert.equal(index.apply('workflow', 'C.1', 42, { state: 'failed', ts: at(4) }), true)
  assert.equal(stateOf(index), 'failed')
})

test('what the feed told since the server was asked is newer than its answer', () => {
  const index = new RunIndex()
  index.put(item('executing', 1, 1), index.moment)
  const asked = index.moment
  index.apply('workflow', 'C.1', 5, { state: 'completed', ts: at(2) })
  index.put(item('executing', 4, 1), asked)
  assert.equal(stateOf(index), 'completed')
})

test('an entry that is told again changes nothing', () => {
  const index = new RunIndex()
  index.put(item('executing', 1, 1), index.moment)
  index.apply('approval', 'C.1', 5, { state: 'pending', call_id: 'c', ts: at(2) })
  index.apply('approval', 'C.1', 6, { state: 'granted', call_id: 'c', ts: at(3) })
  assert.equal(index.apply('approval', 'C.1', 5, { state: 'pending', call_id: 'c', ts: at(2) }), true)
  assert.deepEqual(index.runs.get('C.1').waiting_for, [])
})

test('a later entry with an earlier number counts, and has the run asked for', () => {
  const index = new RunIndex()
  index.put(item('executing', 50, 1), index.moment)
  assert.equal(index.apply('workflow', 'C.1', 42, { state: 'stopping', ts: at(2) }), false)
  assert.equal(index.apply('workflow', 'C.1', 43, { state: 'stopped', ts: at(3) }), true)
  assert.equal(stateOf(index), 'stopped')
})
