// Started by scripts/vendor, with the folder of manifest.json, which names each library's npm package, version,
// and files: path in the package → name in the library's folder here. What is changed in a file is no more than
// a browser needs that has neither a bundler nor an import map:
// - imports of a package or of a file that has another name here become relative paths of the names here;
// - `process.env.NODE_ENV`, which bundlers put in, becomes "production";
// - the comment that names a source map, which is not here, goes.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const target = process.argv[2]
const manifest = JSON.parse(readFileSync(join(target, 'manifest.json'), 'utf8'))

// Only Preact's files name others by what they are not called here.
const IMPORTS = { preact: './preact.js', './index': './preact.js', '../../src/index': './preact.js', './jsx': './jsx.js', './dom': './dom.js' }

function rewritten(text) {
  return text
    .replace(/(\bfrom\s*)(["'])([^"'\n]+)\2/g, (all, from, quote, name) => (name in IMPORTS ? `${from}${quote}${IMPORTS[name]}${quote}` : all))
    .replaceAll('process.env.NODE_ENV', '"production"')
    .replace(/^\/\/# sourceMappingURL=.*\n?/gm, '')
}

// One package comes without the text of its licence.
function licence({ author, license }) {
  if (license !== 'MIT') throw new Error(`the licence is ${license} now: put its text here`)
  return `MIT License

Copyright (c) ${author}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation
the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and
to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of
the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS
IN THE SOFTWARE.
`
}

const work = mkdtempSync(join(tmpdir(), 'jackline-vendor-'))
try {
  for (const [name, library] of Object.entries(manifest)) {
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', `${name}@${library.version}`], { cwd: work, encoding: 'utf8' }))
    const unpacked = join(work, library.folder)
    mkdirSync(unpacked)
    execFileSync('tar', ['xzf', join(work, packed.filename), '-C', unpacked, '--strip-components=1'])
    const about = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'))
    const folder = join(target, library.folder)
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    library.licence = about.license
    library.sha256 = {}
    for (const [from, to] of Object.entries(library.files)) {
      const text = from.startsWith('(') ? licence(about) : rewritten(readFileSync(join(unpacked, from), 'utf8'))
      writeFileSync(join(folder, to), text)
      library.sha256[to] = createHash('sha256').update(text).digest('hex')
    }
    console.log(`${name} ${library.version}`)
  }
} finally {
  rmSync(work, { recursive: true })
}
writeFileSync(join(target, 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n')
