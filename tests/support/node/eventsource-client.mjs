// node eventsource-client.mjs URL OPTIONS: prints each frame as a line of JSON; exits 0 after `end`,
// 3 when the stream is closed for good without one.
import {createEventSource} from 'eventsource-client'

const [url, options = '{}'] = process.argv.slice(2)
const {headers = {}, body = null} = JSON.parse(options)
const post = {method: 'POST', body: JSON.stringify(body), headers: {'content-type': 'application/json', ...headers}}
const source = createEventSource({
  url,
  ...(body === null ? {headers} : post),
  onConnect: () => process.stderr.write('open\n'),
  onDisconnect: () => process.stderr.write('disconnected\n'),
})

process.exitCode = 3
for await (const {id, event, data} of source) {
  const frame = {id: id ?? '', event: event ?? 'message', data: JSON.parse(data)}
  process.stdout.write(JSON.stringify(frame) + '\n')
  if (event === 'end') {
    process.exitCode = 0
    break
  }
}
source.close()
