// The pure modules of the page: markdown's blocks, forms, words. Run by test_pure.py.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { entities, noBlocks, readBlocks, safeLink } from '../../src/jackline/web/ui/model/blocks.js'
import { check } from '../../src/jackline/web/ui/model/check.js'
import { Checker } from '../../src/jackline/web/ui/state/checker.js'
import { changes, exact, fieldErrors, fieldsOf, read, same, tooDeep, typedOf } from '../../src/jackline/web/ui/model/form.js'
import {
  argsLine, beginningOf, callWord, duration, effectWord, errorWords, isStandIn, jsonOf, oneLine, outcomeWord, size, ticking, visible,
  withoutAnsi,
} from '../../src/jackline/web/ui/model/words.js'

// -- markdown

const DOCUMENTS = [
  'one\n\ntwo *three*\nfour\n\n- a\n- b\n\n  c\n\n- d\n\nend',
  '# head\ntext\n\nsetext\n---\n\n| a | b |\n|---|---|\n| 1 | 2 |\nafter\n\n```js\nlet a = `\n\n# no head\n```\nrest',
  '> quote\nlazy\n\n> another\n>\n> - list\n\n    code\n\n    more code\n\nx',
  '1. one\n\n   para\n2. two\n   - deep\n     - deeper\n\nout\n***\n<div>\nhtml\n</div>\n\nlast',
  'a\r\nb\r\n\r\nc\n\n\n\n\nd\t\te\n- [ ] x\n- [x] y\n',
  '```\nnever closed\n\n- not a list\n',
  '\n\n\n   \n\nlate',
]

/** Another number each time, the same ones in every run. */
function chance(seed) {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % below
  }
}

const told = (tokens) => tokens.filter((token) => token.type !== 'space').map((token) => [token.type, token.raw.trim()])

test('text that comes in pieces has the blocks that it has as a whole', () => {
  for (const [seed, text] of DOCUMENTS.entries()) {
    const whole = told(readBlocks(noBlocks(), text, true).tokens)
    for (let round = 0; round < 20; round += 1) {
      const random = chance(seed * 100 + round)
      let [state, at, tokens] = [noBlocks(), 0, []]
      while (at < text.length) {
        at += 1 + random(9)
        ;({ state, tokens } = readBlocks(state, text.slice(0, at), false))
      }
      assert.deepEqual(told(tokens), whole)
    }
  }
})

test('a block that is settled stays the same object, and only the rest is read again', () => {
  const text = Array.from({ length: 200 }, (_, index) => `paragraph ${index} with *some* text\n\n`).join('')
  let state = noBlocks()
  let read = 0
  let before = []
  for (let at = 7; at <= text.length; at += 7) {
    read += at - state.length
    ;({ state } = readBlocks(state, text.slice(0, at), false))
    assert.deepEqual(state.blocks.slice(0, before.length).map((token, index) => token === before[index]).filter((it) => !it), [])
    before = state.blocks
  }
  assert.ok(before.length > 150)
  assert.ok(read < text.length * 20, `${read} characters were read for ${text.length}`)
})

test('another text than before is read anew', () => {
  const { state } = readBlocks(noBlocks(), 'one\n\ntwo\n\nthree', false)
  assert.deepEqual(told(readBlocks(state, 'other', false).tokens), [['paragraph', 'other']])
})

test('links told at the end are found once nothing more comes', () => {
  const text = 'see [it][1]\n\n[1]: https://example.org\n'
  const link = readBlocks(noBlocks(), text, true).tokens[0].tokens[1]
  assert.equal(link.type, 'link')
})

test('what is nested without end is shown as it is written', () => {
  for (const text of ['>'.repeat(20_000), '- '.repeat(5_000) + 'x', '*'.repeat(20_000), '['.repeat(5_000), '<'.repeat(20_000)]) {
    const { tokens } = readBlocks(noBlocks(), text, true)
    assert.ok(tokens.length > 0)
  }
})

test('emphasis that was made to keep the page busy does not', { timeout: 20_000 }, () => {
  // It needs hours where each mark is matched with all others.
  const text = '**a*b '.repeat(10_000)
  const { tokens } = readBlocks(noBlocks(), text, true)
  assert.equal(tokens.length, 1)
  assert.deepEqual(tokens[0].tokens.map((token) => [token.type, token.text.trim()]), [['text', text.trim()]])
  const [{ tokens: few }] = readBlocks(noBlocks(), 'a *b* '.repeat(100), true).tokens
  assert.equal(few.filter((token) => token.type === 'em').length, 100)
})

test('links lead to the web and to mail, and nowhere else', () => {
  for (const href of ['https://a.example/x?y=1#z', 'http://a.example', 'mailto:a@b.example', 'HTTPS://A.example']) assert.ok(safeLink(href), href)
  const bad = [
    'javascript:alert(1)', 'JaVaScRiPt:alert(1)', ' javascript:alert(1)', 'java\nscript:alert(1)', 'java&#115;cript:alert(1)', '&#106;avascript:alert(1)',
    'javascript&colon;alert(1)', '\u0001javascript:alert(1)', 'data:text/html,<script>alert(1)</script>', 'vbscript:x', 'file:///etc/passwd', 'blob:https://a/b',
    '//evil.example', '/relative', '#hash', 'https:evil.example', 'https://', 'http://a b', '', null, undefined, 5,
  ]
  for (const href of bad) assert.equal(safeLink(href), null, String(href))
})

test('character references become characters, and markup made of them stays text', () => {
  assert.equal(entities('&lt;b&gt; &amp;lt; &#65;&#x42; &mdash; &nope; &constructor; &#0; &#xd800; &#x110000;'), '<b> &lt; AB — &nope; &constructor; \ufffd \ufffd \ufffd')
})

// -- forms

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 2, description: 'whose' },
    count: { type: 'integer', minimum: 0, maximum: 9 },
    share: { type: 'number' },
    force: { type: 'boolean' },
    where: { $ref: '#/$defs/Where' },
    note: { anyOf: [{ type: 'string' }, { type: 'null' }], default: null },
    tags: { type: 'array', items: { type: 'string' } },
  },
  required: ['name', 'count', 'where'],
  additionalProperties: false,
  $defs: { Where: { enum: ['here', 'there', 3] } },
}
const args = { name: 'ana', count: 3, force: false, where: 'here', tags: ['a'] }
const fields = fieldsOf(schema, args)
const typed = typedOf(fields, args)

/** What is wrong with what was typed: how it is written, or else what the schema says. */
const faults = (these, text) => {
  const made = read(these, text, args)
  return Object.fromEntries(made.args === null ? made.errors : check(schema, made.args))
}

test('a flat schema gives a field for each argument', () => {
  assert.deepEqual(fields.map(({ name, kind, required }) => [name, kind, required]), [
    ['name', 'string', true], ['count', 'number', true], ['share', 'number', false], ['force', 'boolean', false],
    ['where', 'choice', true], ['note', 'string', false], ['tags', 'json', false],
  ])
  assert.equal(fields[0].description, 'whose')
  assert.deepEqual(fields[4].choices, ['here', 'there', 3])
})

test('what is not changed is sent as it was asked for', () => {
  assert.deepEqual(read(fields, typed, args), { args, errors: new Map() })
  assert.deepEqual(faults(fields, typed), {})
  const whole = typedOf(null, args)
  assert.deepEqual(read(null, whole, args).args, args)
})

test('an argument that no schema names, or that is null, is kept', () => {
  const given = { a: null, b: 'x', c: [1], d: 0, e: false, f: '' }
  const free = fieldsOf({}, given)
  assert.deepEqual(read(free, typedOf(free, given), given).args, given)
  assert.deepEqual(read(fieldsOf(undefined, given), typedOf(fieldsOf(undefined, given), given), given).args, given)
})

test('what is typed is read by its kind', () => {
  const done = read(fields, { ...typed, name: 'bob', count: ' 7 ', share: '0.5', force: true, where: '3', note: '', tags: '["b", "c"]' }, args)
  assert.deepEqual(done.args, { name: 'bob', count: 7, share: 0.5, force: true, where: 3, tags: ['b', 'c'] })
})

test('what is wrong is told at its field', () => {
  const wrong = (change) => faults(fields, { ...typed, ...change })
  assert.deepEqual(wrong({ name: 'x' }), { name: 'must have at least 2 characters' })
  assert.deepEqual(wrong({ count: '12' }), { count: 'must be 9 or less' })
  assert.deepEqual(wrong({ count: '-1' }), { count: 'must be 0 or more' })
  assert.deepEqual(wrong({ count: '1.5' }), { count: 'must be an integer' })
  assert.deepEqual(wrong({ count: 'many' }), { count: 'must be a number' })
  assert.deepEqual(wrong({ count: '' }), { count: 'is required' })
  assert.deepEqual(wrong({ count: '9007199254740993' }), { count: 'has more digits than a browser can keep' })
  assert.deepEqual(wrong({ where: '"nowhere"' }), { where: 'must be one of "here", "there", 3' })
  assert.deepEqual(Object.keys(wrong({ tags: '[1]' })), ['tags'])
  assert.match(wrong({ tags: '[1' }).tags, /^is not JSON/)
  const whole = (text) => faults(null, { '': text })
  assert.deepEqual(whole('[]'), { '': 'must be a JSON object: { … }' })
  assert.deepEqual(whole('{"name":"ana","count":1,"where":"here","more":1}'), { more: 'is no argument of this tool' })
  assert.deepEqual(whole('{"name":"ana","count":1}'), { where: 'is required' })
})

/** A thread that answers when it is told to. */
class Thread {
  asked = []
  ended = false
  postMessage (message) { this.asked.push(message) }
  terminate () { this.ended = true }
  say (data) { this.onmessage({ data }) }
}

/** A checker, its threads, and what it has told. */
function checking (limitMs = 60_000) {
  const threads = []
  const told = []
  const make = () => threads[threads.push(new Thread()) - 1]
  return { checker: new Checker((checked) => told.push(checked), { make, limitMs }), threads, told }
}

test('only the newest arguments are checked, and what they come to is told', () => {
  const { checker, threads, told } = checking()
  checker.check('schema', 1)
  const [thread] = threads
  checker.check('schema', 2)
  assert.deepEqual(thread.asked, [], 'not before it is loaded')
  thread.say({ ready: true })
  checker.check('schema', 3)
  checker.check('schema', 4)
  assert.deepEqual(thread.asked.map((each) => each.args), [2], 'one at a time')
  thread.say({ id: thread.asked[0].id, errors: new Map([['old', 'x']]) })
  thread.say({ id: thread.asked[1].id, errors: new Map() })
  assert.deepEqual(thread.asked.map((each) => each.args), [2, 4])
  assert.deepEqual(told, [new Map()])
  checker.close()
  assert.equal(thread.ended, true)
})

test('a schema that takes for ever is given up, and not tried again', async () => {
  const { checker, threads, told } = checking(1)
  const given = new Promise((resolve) => { checker.onChecked = (checked) => { told.push(checked); resolve() } })
  checker.check('endless', 1)
  threads[0].say({ ready: true })
  await given
  assert.equal(threads[0].ended, true)
  checker.check('endless', 2)
  assert.deepEqual(told, [null, null])
  assert.equal(threads.length, 1)
  checker.check('another', 3)
  threads[1].say({ ready: true })
  assert.deepEqual(threads[1].asked.map((each) => each.schema), ['another'])
  checker.close()
})

test('a check that cannot be loaded leaves it to the server', () => {
  const { checker, threads, told } = checking()
  checker.check('schema', 1)
  threads[0].onerror()
  assert.deepEqual(told, [null])
})

test('a schema that cannot be followed leaves the check to the server', () => {
  assert.equal(check({ $ref: 'https://elsewhere.example/schema' }, args).size, 0)
  assert.equal(check({ artifact: 'x', bytes: 5, preview: '{' }, args).size, 0)
  assert.equal(check({ pattern: '(' }, args).size, 0)
})

test('names that JavaScript has its own use for are only names', () => {
  const given = JSON.parse('{"__proto__": "x", "constructor": "y", "toString": 1}')
  const own = fieldsOf({ type: 'object' }, given)
  const again = read(own, typedOf(own, given), given).args
  assert.equal(JSON.stringify(again), JSON.stringify(given))
})

test('arguments that are no object have no fields', () => {
  for (const given of [null, [1], 'x', 5]) assert.equal(fieldsOf(schema, given), null)
})

test('a number that was not kept is known', () => {
  assert.equal(exact({ a: [1, { b: 0.5 }] }), true)
  assert.equal(exact(JSON.parse('{"a": [12345678901234567890]}')), false)
})

test('the server’s errors are taken to their fields', () => {
  const errors = [{ field: 'args.count', detail: 'too many' }, { field: 'decisions.2.args.tags.0', detail: 'no text' }, { field: 'args', detail: 'no' }, { field: 'reason', detail: 'long' }]
  assert.deepEqual(Object.fromEntries(fieldErrors({ errors })), { count: 'too many', tags: '0: no text', '': 'no' })
  assert.equal(fieldErrors(null).size, 0)
})

test('changes are told by name', () => {
  assert.deepEqual(changes({ a: 1, b: [1], c: 2 }, { a: 1, b: [2], d: 3 }).map(({ name }) => name), ['b', 'c', 'd'])
  assert.equal(same({ a: [1, { b: null }] }, { a: [1, { b: null }] }), true)
  assert.equal(same([], {}), false)
})

// -- words

test('what cannot be seen is shown, and the rest left alone', () => {
  assert.equal(visible('a\u202eb\u0000\u200b'), 'a\\u{202e}b\\u{0}\\u{200b}')
  assert.equal(visible('tab\t line\n é 漢 👩‍🚒'), 'tab\t line\n é 漢 👩‍🚒')
  assert.equal(withoutAnsi('\u001b[1;31mred\u001b[0m \u001b]0;title\u0007x'), 'red x')
})

test('durations and sizes are short', () => {
  assert.deepEqual([0, 999, 1000, 9990, 12_000, 61_000, 3_600_000, 200_000_000].map(duration), ['0 ms', '999 ms', '1.0 s', '9.9 s', '12 s', '1 min 1 s', '1 h 0 min', '2 d 7 h'])
  assert.deepEqual([0, 1500, 61_900].map(ticking), ['0 s', '1 s', '1 min 1 s'])
  assert.deepEqual([12, 4200, 48_211, 3_000_000].map(size), ['12 bytes', '4.2 kB', '48 kB', '3.0 MB'])
})

test('a line is a line', () => {
  assert.equal(oneLine('a\n  b'), 'a b')
  assert.equal(oneLine('x'.repeat(500)).length, 161)
  assert.equal(argsLine({ host: 'db-3', depth: 2 }), 'host=db-3 depth=2')
  assert.equal(argsLine({ artifact: 'x', bytes: 4200, preview: 'so' }), '4.2 kB: so')
})

test('every state of a call has a word, and an unknown error a place to look', () => {
  const states = ['requested', 'started', 'finished', 'failed', 'denied', 'cancelled', 'unknown']
  const words = states.map((state) => callWord({ state, rounds: [], startedAt: 'x' }))
  assert.equal(new Set(words).size, states.length)
  assert.match(errorWords({ type: 'KeyError', message: '' }).title, /KeyError/)
  assert.ok(errorWords({ type: 'KeyError', message: '' }).advice)
})

// -- names that every object has, and values as no honest tool has them

const INHERITED = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']

test('a name that every object has is a name like any other', () => {
  for (const name of INHERITED) {
    assert.equal(errorWords({ type: name, message: '' }).title, `It failed: ${name}`)
    assert.equal(effectWord(name), name)
    assert.equal(outcomeWord(name), name)
    assert.equal(callWord({ state: name, rounds: [] }), name)
    const properties = Object.fromEntries([[name, { type: 'string' }]])
    const schema = { type: 'object', properties }
    const [field] = fieldsOf(schema, {})
    assert.equal(field.kind, 'string')
    assert.equal(typedOf([field], {})[name], '')
    assert.deepEqual(read([field], typedOf([field], {}), {}).args, {})
    const given = Object.fromEntries([[name, 'x']])
    const made = read(fieldsOf(schema, given), Object.fromEntries([[name, 'y']]), given).args
    assert.deepEqual(Object.entries(made), [[name, 'y']])
    assert.deepEqual(changes({}, given), [{ name, before: undefined, after: 'x' }])
  }
})

/** @param {number} depth */
const nested = (depth) => JSON.parse(`${'['.repeat(depth)}1${']'.repeat(depth)}`)

test('what is nested deeper than the stack goes is shown, and not edited', () => {
  const deep = nested(100_000)
  assert.equal(oneLine(deep, 10), `${'['.repeat(10)}…`)
  assert.equal(argsLine({ deep }, 10), `deep=${'['.repeat(5)}…`)
  assert.equal(exact(deep), true)
  assert.equal(tooDeep(deep), true)
  assert.equal(tooDeep(nested(100)), false)
  assert.equal(exact({ a: [{ b: 2 ** 60 }] }), false)
})

test('of a large value only the beginning is looked at', () => {
  const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`key${at}`, 'x'.repeat(100)]))
  assert.ok(beginningOf(many, 100).length < 1_000)
  assert.ok(oneLine(many, 20).startsWith('{"key0":"xxx'))
  assert.ok(argsLine(many, 20).startsWith('key0=xxx'))
  assert.equal(beginningOf('x'.repeat(10_000_000), 10), `"${'x'.repeat(10)}"`)
})

test('a value that fits is written as JSON has it', () => {
  for (const value of [null, true, 1.5, 'a"b', [], {}, [1, [2, { a: null }]], { a: { b: [] }, 'c"': 'd' }]) {
    assert.equal(beginningOf(value, 1_000), JSON.stringify(value))
  }
})

test('arguments that only have the names of a stand-in are arguments', () => {
  assert.equal(isStandIn({ artifact: 'a1', bytes: 5, preview: 'x' }), true)
  assert.equal(isStandIn({ artifact: 'a1', bytes: 'rm -rf /', preview: 'x' }), false)
  assert.equal(isStandIn({ artifact: {}, bytes: 5, preview: 'x' }), false)
})

// -- state

const STATE = '../../src/jackline/web/ui/state'
// The server serves the client beside the page.
registerHooks({
  resolve: (name, context, next) => next(name === '../jackline.js' ? '../static/jackline.js' : name, context),
})

test('an entry that comes while its run is asked for is not lost', async () => {
  const { RunIndex } = await import(`${STATE}/run_index.js`)
  const item = { run_id: 'C.1', conversation_id: 'C', state: 'executing', seq: 4, updated_at: '1', waiting_for: [], waiting: null }
  const index = new RunIndex()
  assert.equal(index.apply('workflow', 'C.1', 4, { state: 'executing' }), false)
  assert.equal(index.apply('workflow', 'C.1', 5, { state: 'awaiting_approval', ts: '2' }), false)
  assert.equal(index.apply('approval', 'C.1', 6, { state: 'pending', call_id: 'C.1.1', ts: '3' }), false)
  index.put(item, 0)
  const { state, seq, waiting_for: waits } = index.runs.get('C.1')
  assert.deepEqual([state, seq, waits], ['awaiting_approval', 6, ['C.1.1']])
  index.put(item, 0)
  assert.equal(index.runs.get('C.1').seq, 6)
  index.remove('C.1')
  assert.equal(index.apply('workflow', 'C.1', 7, { state: 'completed' }), true)
  assert.equal(index.runs.size, 0)
})

test('two servers under two paths of one origin keep nothing in common, and the colours have one name', async () => {
  const script = readFileSync(new URL('../../src/jackline/web/ui/theme.js', import.meta.url), 'utf8')
  const seen = []
  for (const [path, own] of [['', 'jackline:'], ['a/', 'jackline:/a/'], ['b/', 'jackline:/b/']]) {
    const location = { href: `https://example.org/${path}#/runs/C.1` }
    globalThis.location = location
    const { OWN } = await import(`${STATE}/storage.js?${path}`)
    assert.equal(OWN, own)
    runInNewContext(script, { URL, location, document: {}, localStorage: { getItem: (name) => void seen.push(name) } })
    assert.equal(seen.at(-1), `${own}theme`)
  }
  delete globalThis.location
})

test('a number that is not what was sent is marked in a line, and is no number where it is copied', () => {
  const ids = JSON.parse('{"id": 12345678901234567890, "far": 1e400, "near": 9007199254740991, "part": 0.5}')
  const told = 'id=12345678901234567000 (rounded by the browser) far=Infinity (rounded by the browser) near=9007199254740991 part=0.5'
  assert.equal(argsLine(ids, 400), told)
  assert.deepEqual(JSON.parse(jsonOf(ids)), { ...ids, id: '12345678901234567000 (rounded by the browser)', far: 'Infinity (rounded by the browser)' })
  assert.ok(!exact({ far: ids.far }))
})
