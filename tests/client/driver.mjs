// Does with jackline.js what a test says, in Node and in a page alike: commands and answers are JSON.

const plain = (error) => ({
  name: error.name,
  message: error.message,
  status: error.status,
  problem: error.problem,
  reason: error.reason,
  triedMs: error.triedMs,
})

export class Driver {
  #module
  #libraries
  #client
  #now = null
  #stride = 0
  #follows = []
  #received = new Map()

  // `libraries`: what the platform lacks.
  constructor(module, libraries = {}) {
    this.#module = module
    this.#libraries = libraries
  }

  async run({op, ...command}) {
    try {
      return {value: await this[op](command)}
    } catch (error) {
      return {error: plain(error)}
    }
  }

  connect({url, options, clock, stride, chance}) {
    this.clock({now: clock})
    this.#stride = stride
    const extra = {...(clock !== null && {clock: () => (this.#now += this.#stride)}), ...(chance !== null && {chance: () => chance})}
    this.#client = new this.#module.Jackline(url, {
      ...options,
      ...extra,
      ...this.#libraries,
      fetch: (input, init) => this.#counting(input, init),
    })
  }

  // Streams are counted as jackline.js reads them, and not before.
  async #counting(input, init) {
    const response = await fetch(input, init)
    const number = Number(response.headers.get('x-number'))
    if (!number) return response
    const reader = response.body.getReader()
    const pull = async (controller) => {
      const {value, done} = await reader.read()
      if (done) return controller.close()
      this.#received.set(number, this.received({number}) + value.length)
      controller.enqueue(value)
    }
    const body = new ReadableStream({pull, cancel: (reason) => reader.cancel(reason)}, {highWaterMark: 0})
    return new Response(body, response)
  }

  received({number}) {
    return this.#received.get(number) ?? 0
  }

  clock({now}) {
    this.#now = now
  }

  async call({method, args}) {
    const value = await this.#client[method](...args)
    return value instanceof Blob ? {type: value.type, bytes: [...new Uint8Array(await value.arrayBuffer())]} : value
  }

  // `hurry`: told of a wait, do not wait.
  follow({method, args, options, hurry}) {
    const states = []
    const onState = (phase, reason, retryInMs) => {
      states.push([phase, reason, retryInMs])
      if (hurry && retryInMs > 100) setTimeout(() => this.#client.wake())
    }
    const aborter = new AbortController()
    const follow = this.#client[method](...args, {...options, onState, signal: aborter.signal})
    return this.#follows.push({follow, states, aborter}) - 1
  }

  async next({handle}) {
    const {follow, states} = this.#follows[handle]
    let result
    try {
      result = await follow.next()
    } catch (error) {
      return {...this.#told(follow, states), error: plain(error)}
    }
    return {...this.#told(follow, states), done: result.done, frame: result.value ?? null}
  }

  #told({runId, conversationId, state, cursor, phase, heartbeatMs}, states) {
    return {runId, conversationId, state, cursor, phase, heartbeatMs, states: states.splice(0)}
  }

  abort({handle, reason}) {
    this.#follows[handle].aborter.abort(new Error(reason))
  }

  close({handle}) {
    this.#follows[handle].follow.close()
  }

  // Each of `streams` is a list of chunks, each chunk in hex.
  decode({streams}) {
    return streams.map((chunks) => {
      const decoder = new this.#module.Decoder()
      const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16))
      const events = chunks.flatMap((hex) => decoder.feed(bytes(hex)))
      return [events.map(({event, data, lastEventId}) => [event, data, lastEventId]), decoder.lastEventId, decoder.retryMs]
    })
  }
}
