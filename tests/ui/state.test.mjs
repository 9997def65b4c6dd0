// The page's state, as far as it needs no browser. Run by test_pure.py.

import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { test } from 'node:test'

// The server serves the client beside the page.
registerHooks({
  resolve: (name, context, next) => next(name === '../jackline.js' ? '../static/jackline.js' : name, context),
})

// What of a browser the modules need: one tab that is looked at, on a page without Web Locks unless a test gives some.
const quiet = () => {}
const browser = { locks: undefined, onLine: true }
Object.defineProperty(globalThis, 'navigator', { value: browser })
Object.assign(globalThis, {
  location: { href: 'https://example.org/' }, addEventListener: quiet, requestAnimationFrame: quiet,
  document: { hidden: false, addEventListener: quiet },
})

const { FollowedRun } = await import('../../src/jackline/web/ui/state/followed_run.js')
const { SharedFeed } = await import('../../src/jackline/web/ui/state/shared_feed.js')
const { standingOf } = await import('../../src/jackline/web/ui/views/connection.js')
const { Session } = await import('../../src/jackline/web/ui/state/session.js')
const { LiveList } = await import('../../src/jackline/web/ui/state/live_list.js')
const { Stops } = await import('../../src/jackline/web/ui/state/stops.js')
const { isOpen, stopWords } = await import('../../src/jackline/web/ui/views/stop.js')
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

// -- the server's heartbeat, which is a setting

/** Until nothing is left to do but for the clock. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('silence is what is longer than the heartbeat that the server has', async ({ mock }) => {
  mock.timers.enable({ apis: ['Date', 'setInterval', 'setTimeout'] })
  const data = { run_id: 'C.1', state: 'executing', seq: 0, newest: 0, worker: 'alive', idle_ms: 0 }
  const stream = {
    cursor: '0', heardAt: Date.now(), heartbeatMs: null,
    async *[Symbol.asyncIterator]() {
      yield { kind: 'ready', data }
      this.tell('live', '', null)
      this.heartbeatMs = this.learns
      yield { kind: 'heartbeat', data }
      await new Promise(quiet)
    },
  }
  for (const [learns, within, late] of [[40_000, 44_000, 46_000], [15_000, 19_000, 21_000], [null, 600_000, null]]) {
    const follow = (_, { onState }) => Object.assign(Object.create(stream), { tell: onState, learns, heardAt: Date.now() })
    const followed = new FollowedRun({ watching: { follow } }, 'C.1')
    await settled()
    const began = Date.now()
    mock.timers.setTime(began + within)
    assert.equal(standingOf(followed).text, 'Live')
    if (late !== null) {
      mock.timers.setTime(began + late)
      assert.equal(standingOf(followed).text, 'Live, but silent')
    }
    followed.close()
  }
})

/** The Web Lock that all tabs want, and the channel between them. */
function manyTabs() {
  const waiting = []
  const tabs = []
  let holder = null
  const next = () => {
    const now = (holder = waiting.shift() ?? null)
    if (now === null) return
    void Promise.resolve(now.lead()).then(() => {
      now.resolve()
      if (holder === now) next()
    })
  }
  browser.locks = {
    request: (_, { steal = false }, lead) => new Promise((resolve, reject) => {
      if (steal) {
        waiting.unshift({ lead, resolve, reject })
        holder?.reject(new DOMException('stolen', 'AbortError'))
        return next()
      }
      waiting.push({ lead, resolve, reject })
      return holder === null ? next() : undefined
    }),
  }
  globalThis.BroadcastChannel = class {
    muted = false
    constructor() { tabs.push(this) }
    postMessage(data) { if (!this.muted) for (const tab of tabs) if (tab !== this) tab.onmessage({ data }) }
    close() { tabs.splice(tabs.indexOf(this), 1) }
  }
  return tabs
}

test('a tab takes the feed from one that is frozen, and not from one whose server says nothing for long', async (context) => {
  context.mock.timers.enable({ apis: ['Date', 'setInterval'] })
  const channels = manyTabs()
  let opened = 0
  const jackline = {
    feed: ({ signal }) => ({
      cursor: 'c',
      async *[Symbol.asyncIterator]() {
        opened += 1
        yield { kind: 'ready', data: {} }
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
      },
    }),
  }
  const listener = { onReady: quiet, onFrame: quiet, onState: quiet, onError: quiet, onNote: quiet }
  const tabs = [new SharedFeed(jackline, 'ana', listener), new SharedFeed(jackline, 'ana', listener)]
  await settled()
  const pass = async (seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      context.mock.timers.tick(1000)
      await settled()
    }
  }
  await pass(300)
  assert.deepEqual([opened, ...tabs.map((tab) => tab.leads)], [1, true, false])
  channels[0].muted = true
  await pass(50)
  assert.deepEqual([opened, ...tabs.map((tab) => tab.leads)], [2, false, true])
  tabs.forEach((tab) => tab.close())
})

test('a tab whose feed has failed for good does not say any more that it reads: another one tries', async (context) => {
  context.mock.timers.enable({ apis: ['Date', 'setInterval'] })
  const channels = manyTabs()
  const faults = []
  let opened = 0
  const jackline = {
    feed: ({ signal }) => ({
      cursor: 'c',
      async *[Symbol.asyncIterator]() {
        const first = (opened += 1) === 1
        yield { kind: 'ready', data: {} }
        if (first) throw new Error('what comes cannot be read')
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
      },
    }),
  }
  const listener = (name) => ({ onReady: quiet, onFrame: quiet, onState: quiet, onError: () => faults.push(name), onNote: quiet })
  const tabs = [new SharedFeed(jackline, 'ana', listener('one')), new SharedFeed(jackline, 'ana', listener('other'))]
  const said = []
  channels[1].onmessage = ((hear) => ({ data }) => {
    said.push(data.kind)
    hear({ data })
  })(channels[1].onmessage)
  await settled()
  assert.deepEqual([faults, opened], [['one'], 1])
  for (let second = 0; second < 50; second += 1) {
    context.mock.timers.tick(1000)
    await settled()
  }
  assert.deepEqual([faults, opened, ...tabs.map((tab) => tab.leads)], [['one'], 2, false, true])
  assert.ok(!said.includes('here'), said.join())
  tabs.forEach((tab) => tab.close())
})

// -- stops

const accepting = () => Promise.resolve({ state: 'stopping' })

/** A run that is followed, and what tells it of its connection. */
function following (back = quiet) {
  let tell
  const follow = (_, { onState }) => {
    tell = onState
    return { async *[Symbol.asyncIterator] () { await new Promise(quiet) } }
  }
  return { followed: new FollowedRun({ watching: { follow }, back }, 'C.1'), tell: (phase, reason = 'cut') => tell(phase, reason, null) }
}

/** The list, and what tells it of the feed's connection. */
function listing (back = quiet) {
  let tell
  const feed = ({ onState }) => {
    tell = onState
    return { async *[Symbol.asyncIterator] () { await new Promise(quiet) } }
  }
  const list = new LiveList({ subscribe: quiet, generation: 0, wants: 'nothing', who: 'ana', watching: { feed }, back })
  return { list, tell: (phase, reason = 'cut') => tell(phase, reason, null) }
}

test('a run is blamed for a stop that it does not tell of only where this page hears of the run', async ({ mock }) => {
  mock.timers.enable({ apis: ['Date', 'setInterval', 'setTimeout'] })
  browser.locks = undefined
  const { followed, tell } = following()
  const { list, tell: tellFeed } = listing()
  await settled()
  const stops = new Stops({ watching: { stop: accepting } })
  const said = (ear, mode = null) => [stopWords(stops.of('C.1'), 'executing', mode, ear), isOpen(stops.of('C.1'), 'executing', mode, ear)]
  for (const [ear, phase] of [[followed, tell], [list, tellFeed]]) {
    phase('live')
    await stops.stop('C.1')
    mock.timers.tick(4_000)
    assert.deepEqual(said(ear), ['Stopping', false])
    phase('reconnecting')
    mock.timers.tick(1_000)
    assert.deepEqual(said(ear), ['Accepted. Reconnecting, to hear of the run.', false])
    mock.timers.tick(60_000)
    phase('catching-up')
    assert.deepEqual(said(ear), ['Accepted. Catching up with the run.', false])
    phase('live')
    mock.timers.tick(4_000)
    assert.deepEqual(said(ear), ['Stopping', false], 'it has had no time to tell')
    phase('live')
    mock.timers.tick(1_000)
    assert.deepEqual(said(ear), ['Accepted, but the run does not tell of it.', true])
    assert.deepEqual([stopWords(stops.of('C.1'), 'stopping', 'immediate', ear), isOpen(stops.of('C.1'), 'stopping', 'immediate', ear)], ['Stopping', false])
    phase('reconnecting')
    await stops.stop('C.1', 'after_step')
    mock.timers.tick(5_000)
    assert.deepEqual(said(ear), ['Accepted. Reconnecting, to hear of the run.', true], 'one at once is another stop')
    stops.settled('C.1')
  }
  followed.close()
})

test('a stop that nobody answers is sent again as soon as somebody wants that, as the same one', async ({ mock }) => {
  mock.timers.enable({ apis: ['Date', 'setInterval', 'setTimeout'] })
  const sent = []
  let answer
  const stop = (runId, { key, signal }) => new Promise((resolve, reject) => {
    sent.push([runId, key])
    answer = resolve
    signal.addEventListener('abort', () => reject(signal.reason))
  })
  let woken = 0
  const stops = new Stops({ watching: { stop }, back: quiet, wake: () => { woken += 1 } })
  stops.again('C.1')
  const stopping = stops.stop('C.1')
  mock.timers.tick(3_000)
  assert.equal(stops.of('C.1').status, 'slow')
  stops.again('C.1')
  await settled()
  stops.again('C.1')
  await settled()
  assert.deepEqual([sent.length, new Set(sent.map(String)).size, stops.of('C.1').status, woken], [3, 1, 'slow', 3])
  answer({ state: 'stopping' })
  await stopping
  assert.equal(stops.of('C.1').status, 'accepted')
})

// -- connections that wait for a server that is back

test('whoever finds the server back lets the others try at once', async ({ mock }) => {
  mock.timers.enable({ apis: ['Date', 'setInterval', 'setTimeout'] })
  browser.locks = undefined
  let found = 0
  const back = () => { found += 1 }
  const { followed, tell } = following(back)
  const { tell: tellFeed } = listing(back)
  await settled()
  for (const [phase, opens] of [[tell, ['live', 'catching-up']], [tellFeed, ['live', 'catching-up']]]) {
    for (const open of opens) {
      found = 0
      phase('connecting', '')
      phase(open, '')
      assert.equal(found, 0, 'it was never away')
      phase('reconnecting')
      phase('reconnecting')
      assert.equal(found, 0)
      phase(open, '')
      assert.equal(found, 1)
      phase('live', '')
      assert.equal(found, 1)
      phase('connecting')
      phase(open, '')
      assert.equal(found, 2)
    }
  }
  found = 0
  let answer
  const stops = new Stops({ back, watching: { stop: () => new Promise((resolve) => { answer = resolve }) } })
  for (const [ms, expected] of [[1_000, 0], [3_000, 1]]) {
    const stopping = stops.stop('C.1')
    mock.timers.tick(ms)
    answer({ state: 'stopping' })
    await stopping
    assert.equal(found, expected)
  }
  followed.close()
})

test('two connections that are cut as soon as they are open do not drive each other', ({ mock }) => {
  let now = 100
  mock.method(performance, 'now', () => now)
  const session = new Session()
  const woken = mock.method(session.watching, 'wake').mock
  for (let times = 0; times < 10; times += 1) session.back()
  assert.equal(woken.callCount(), 1)
  now += 5_000
  session.back()
  assert.equal(woken.callCount(), 2)
})
