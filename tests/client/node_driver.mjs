// node node_driver.mjs JACKLINE_JS EVENTSOURCE_JS: a command per line of stdin, an answer per line of stdout.
import {createInterface} from 'node:readline'
import {Driver} from './driver.mjs'

const [module, library] = await Promise.all(process.argv.slice(2).map((path) => import(path)))
const driver = new Driver(module, {EventSource: library.EventSource})

createInterface({input: process.stdin})
  .on('line', async (line) => {
    const {id, ...command} = JSON.parse(line)
    process.stdout.write(JSON.stringify({id, ...(await driver.run(command))}) + '\n')
  })
  .on('close', () => process.exit())
