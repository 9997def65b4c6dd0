/** JSON as a tree that can be read, folded, walked through by key, and copied. @module */
import {html, useState} from '../html.js';
import {ROUNDED, count, isExact, jsonOf, visible} from '../model/words.js';
import {CopyButton} from './copy.js';

/** How many members are shown before one asks for more. */
const SHOWN = 50;
/** What has more is folded at first. */
const OPEN_MEMBERS = 20;
/** What is shorter, and has nothing nested, stands in a line. */
const LINE_CHARACTERS = 60;
/** Longer strings are folded. */
const LONG_CHARACTERS = 400;
const LONG_LINES = 12;

/**
 * @param {{value: unknown, label?: string, open?: number, copy?: boolean}} props `label`: what it is; `open`: how
 *   many levels are open at first
 */
export function JsonTree({value, label = 'Value', open = 2, copy = true}) {
  const text = () => (typeof value === 'string' ? value : jsonOf(value));
  return html`<div class="jl-json" role="group" aria-label=${label} onKeyDown=${walk}>
    ${copy && html`<${CopyButton} text=${text} label=${label} />`}
    ${isFolder(value) && size(value) > 0 ? html`<${Members} value=${value} open=${open} />` : html`<${Scalar} value=${value} />`}
  </div>`;
}

/** @param {unknown} value @returns {value is Record<string, unknown> | unknown[]} */
const isFolder = (value) => value !== null && typeof value === 'object';

/** @param {Record<string, unknown> | unknown[]} value */
const size = (value) => (Array.isArray(value) ? value.length : Object.keys(value).length);

/** @param {Record<string, unknown> | unknown[]} value */
function inline(value) {
  const members = Object.values(value);
  if (members.length > OPEN_MEMBERS || members.some((each) => isFolder(each) || (typeof each === 'number' && !isExact(each)) || (typeof each === 'string' && each.length > LINE_CHARACTERS))) return null;
  const line = visible(JSON.stringify(value, null, 1).replace(/\n\s*/g, ' '));
  return line.length <= LINE_CHARACTERS ? line : null;
}

/** Up, down: from one folder to the next; right, left: open, close. @param {KeyboardEvent} event */
function walk(event) {
  const target = event.target;
  if (!(target instanceof HTMLElement) || event.altKey || event.ctrlKey || event.metaKey) return;
  const open = target.getAttribute('aria-expanded');
  const tree = /** @type {HTMLElement} */ (event.currentTarget);
  const all = /** @type {HTMLElement[]} */ ([...tree.querySelectorAll('button')]);
  const at = all.indexOf(target);
  if (event.key === 'ArrowRight' && open === 'false') target.click();
  else if (event.key === 'ArrowLeft' && open === 'true') target.click();
  else if (event.key === 'ArrowDown') all[at + 1]?.focus();
  else if (event.key === 'ArrowUp') all[at - 1]?.focus();
  else return;
  event.preventDefault();
}

/** @param {{value: Record<string, unknown> | unknown[], open: number}} props */
function Members({value, open}) {
  const [shown, show] = useState(SHOWN);
  const names = Array.isArray(value) ? null : Object.keys(value);
  const all = size(value);
  const rows = [];
  for (let at = 0; at < Math.min(all, shown); at += 1) {
    const name = names === null ? at : (names[at] ?? '');
    const member = names === null ? /** @type {unknown[]} */ (value)[at] : /** @type {Record<string, unknown>} */ (value)[name];
    rows.push(html`<${Member} key=${name} name=${name} value=${member} open=${open} />`);
  }
  return html`<ul class="jl-members">
    ${rows}
    ${all > shown && html`<li><button type="button" class="jl-more" onClick=${() => show(shown + 10 * SHOWN)}>${count(all - shown)} more</button></li>`}
  </ul>`;
}

/** @param {{name: string | number, value: unknown, open: number}} props */
function Member({name, value, open}) {
  const [isOpen, toggle] = useState(open > 1 && (!isFolder(value) || size(value) <= OPEN_MEMBERS));
  const key = html`<span class=${typeof name === 'number' ? 'jl-key jl-index' : 'jl-key'}>${visible(String(name))}</span>`;
  if (!isFolder(value) || size(value) === 0) return html`<li class="jl-member">${key}<${Scalar} value=${value} /></li>`;
  const line = inline(value);
  if (line !== null) return html`<li class="jl-member">${key}<code class="jl-scalar">${line}</code></li>`;
  const what = Array.isArray(value) ? `${count(size(value))} ${size(value) === 1 ? 'item' : 'items'}` : `${count(size(value))} ${size(value) === 1 ? 'field' : 'fields'}`;
  return html`<li>
    <button type="button" class="jl-fold" aria-expanded=${isOpen} onClick=${() => toggle(!isOpen)}>${key}<span class="jl-what">${what}</span></button>
    ${isOpen && html`<${Members} value=${value} open=${open - 1} />`}
  </li>`;
}

/** @param {{value: unknown}} props */
function Scalar({value}) {
  if (typeof value === 'string') return html`<${Text} text=${value} />`;
  if (isFolder(value)) return html`<code class="jl-empty">${Array.isArray(value) ? '[] empty' : '{} empty'}</code>`;
  const kind = value === null || value === undefined ? 'null' : typeof value;
  return html`<code class="jl-scalar" data-kind=${kind}>${String(value ?? null)}</code>${typeof value === 'number' && !isExact(value) && html` <span class="jl-about" title="It has more digits than a browser can keep: what was sent may be another number.">${ROUNDED}</span>`}`;
}

/** Where a folded text is cut. @param {string} text */
export function cut(text) {
  const lines = text.split('\n', LONG_LINES + 1);
  const head = lines.length > LONG_LINES ? lines.slice(0, LONG_LINES).join('\n') : text;
  return head.slice(0, LONG_CHARACTERS);
}

/** @param {{text: string}} props */
function Text({text}) {
  const [whole, showWhole] = useState(false);
  const head = cut(text);
  const long = head.length < text.length;
  const shown = visible(whole ? text : head);
  return html`<span class="jl-text">
    ${text.includes('\n') ? html`<span class="jl-block">${shown}</span>` : html`<code class="jl-scalar" data-kind="string">"${shown}${long && !whole ? '…' : '"'}</code>`}
    ${long && html`<button type="button" class="jl-more" aria-expanded=${whole} onClick=${() => showWhole(!whole)}>${whole ? 'Show less' : `Show all ${count(text.length)} characters`}</button>`}
  </span>`;
}
