/** Whatever a tool was given or gave: text, a value, or what is stored aside. @module */
import {createContext, html, useContext, useState} from '../html.js';
import {count, isStandIn, jsonOf, size, visible, withoutAnsi} from '../model/words.js';
import {CopyButton} from './copy.js';
import {JsonTree} from './json_tree.js';
import {useKept} from './kept.js';

/**
 * How what is stored aside is fetched: `jackline.artifact`. Provided once, above all that show values.
 * @type {import('../vendor/preact/preact.js').Context<((runId: string, artifactId: string) => Promise<Blob>) | null>}
 */
export const Artifacts = createContext(/** @type {any} */ (null));

const SHOWN_LINES = 14;
const SHOWN_CHARACTERS = 2000;
/** More of an artifact than this is for a file, not for a page. */
const LARGEST_SHOWN = 1 << 20;

/** @param {{value: unknown, label: string, runId: string}} props */
export function Value({value, label, runId}) {
  if (isStandIn(value)) return html`<${Aside} value=${value} label=${label} runId=${runId} />`;
  if (typeof value === 'string') return html`<${TextValue} text=${value} label=${label} />`;
  return html`<${JsonTree} value=${value} label=${label} />`;
}

/** @param {{text: string, label: string, folded?: boolean}} props */
export function TextValue({text, label, folded = true}) {
  const [whole, showWhole] = useKept(`whole ${label}`, !folded);
  const plain = withoutAnsi(text);
  const lines = plain.split('\n', SHOWN_LINES + 1);
  const head = (lines.length > SHOWN_LINES ? lines.slice(0, SHOWN_LINES).join('\n') : plain).slice(0, SHOWN_CHARACTERS);
  const long = folded && head.length < plain.length;
  if (text === '') return html`<p class="jl-none">empty text</p>`;
  return html`<div class="jl-output" role="group" aria-label=${label}>
    <${CopyButton} text=${text} label=${label} />
    <div class="jl-block">${visible(whole ? plain : head)}${long && !whole ? '…' : ''}</div>
    ${long && html`<button type="button" class="jl-more" aria-expanded=${whole} onClick=${() => showWhole(!whole)}>${whole ? 'Show less' : `Show all ${count(plain.length)} characters`}</button>`}
  </div>`;
}

/** @param {{value: {artifact: string, bytes: number, preview: unknown}, label: string, runId: string}} props */
function Aside({value, label, runId}) {
  const fetchIt = useContext(Artifacts);
  const [state, tell] = useState(/** @type {{busy?: boolean, error?: string, text?: string}} */ ({}));
  /** @param {(blob: Blob) => Promise<string | undefined>} use */
  const get = async (use) => {
    if (fetchIt === null || state.busy) return;
    tell({...state, busy: true, error: undefined});
    try {
      const text = await use(await fetchIt(runId, value.artifact));
      tell({text: text ?? state.text});
    } catch (error) {
      tell({...state, busy: false, error: error instanceof Error ? error.message : String(error)});
    }
  };
  const small = value.bytes <= LARGEST_SHOWN;
  return html`<div class="jl-aside">
    ${state.text === undefined
      ? html`<p class="jl-none">Large (${size(value.bytes)}): this is how it begins.</p>
          <div class="jl-block">${visible(withoutAnsi(typeof value.preview === 'string' ? value.preview : jsonOf(value.preview)))}…</div>`
      : html`<${TextValue} text=${state.text} label=${label} folded=${false} />`}
    ${fetchIt !== null && html`<div class="jl-buttons">
      <button type="button" disabled=${state.busy} onClick=${() => get(async (blob) => download(blob, value.artifact))}>Download<span class="jl-hidden"> ${label}</span></button>
      ${small && state.text === undefined && html`<button type="button" class="quiet" disabled=${state.busy} onClick=${() => get((blob) => blob.text())}>Show all<span class="jl-hidden"> of ${label}</span></button>`}
    </div>`}
    ${state.error !== undefined && html`<p class="jl-error" role="alert">It could not be fetched: ${state.error}</p>`}
  </div>`;
}

/** @param {Blob} blob @param {string} name @returns {undefined} */
function download(blob, name) {
  const endings = /** @type {Record<string, string>} */ ({'application/json': '.json', 'text/plain': '.txt'});
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replace(/[^\w.-]+/g, '-')}${endings[blob.type.split(';')[0] ?? ''] ?? ''}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
