// node eventsource.mjs URL OPTIONS: prints each frame as a line of JSON; exits 0 after `end` (which it
// takes for a frame like any other with the option `stay`), 3 when the server told it to stop (204, or
// a status that is not 200).
import {EventSource} from 'eventsource'

const NAMES = ['message', 'ready', 'token', 'workflow', 'tool', 'approval', 'heartbeat', 'gap', 'shutdown', 'end']

const [url, options = '{}'] = process.argv.slice(2)
const {headers = {}, stay = false} = JSON.parse(options)
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, {...init, headers: {...init.headers, ...headers}}),
})
// Its timer for the next attempt keeps no process alive.
const alive = setInterval(() => {}, 1 << 30)

for (const name of NAMES) {
  source.addEventListener(name, ({type, data, lastEventId}) => {
    process.stdout.write(JSON.stringify({id: lastEventId, event: type, data: JSON.parse(data)}) + '\n')
    if (type === 'end' && !stay) {
      source.close()
      clearInterval(alive)
    }
  })
}
source.addEventListener('open', () => process.stderr.write('open\n'))
source.addEventListener('error', ({code, message}) => {
  process.stderr.write(`error ${code ?? ''} ${message ?? ''}\n`)
  if (source.readyState === EventSource.CLOSED) {
    process.exitCode = 3
    clearInterval(alive)
  }
})
