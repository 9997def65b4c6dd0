// Says of each [schema, arguments] of its input whether the page's check finds nothing wrong.

import { readFileSync } from 'node:fs'
import { check } from '../../src/jackline/web/ui/model/check.js'

const cases = JSON.parse(readFileSync(0, 'utf8'))
process.stdout.write(JSON.stringify(cases.map(([schema, args]) => check(schema, args).size === 0)))
