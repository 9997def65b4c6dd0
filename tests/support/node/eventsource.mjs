// node eventsource.mjs URL OPTIONS: prints each frame as a line of JSON; exits 0 after `end`,
// 3 when the server told it to stop (204, or a status that is not 200).
import {EventSource} from 'eventsource'

const NAMES = ['message', 'ready', 'token', 'workflow', 'tool', 'approval', 'heartbeat', 'gap', 'shutdown', 'end']

const [url, options = '{}'] = process.argv.slice(2)
const {headers = {}, stay = false} = JSON.parse(options)
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, {...init, headers: {...init.headers, ...headers}}),
})

for (const name of NAMES) {
  source.addEventListener(name, ({type, data, lastEventId}) => {
    process.stdout.write(JSON.stringify({id: lastEventId, event: type, data: JSON.parse(data)}) + '\n')
    if (type === 'end' && !stay) source.close()
  })
}
source.addEventListener('open', () => process.stderr.write('open\n'))
source.addEventListener('error', ({code, message}) => {
  process.stderr.write(`error ${code ?? ''} ${message ?? ''}\n`)
  if (source.readyState === EventSource.CLOSED) process.exitCode = 3
})
