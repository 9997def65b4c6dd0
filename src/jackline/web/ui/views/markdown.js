/** What the model says, as text with structure. Nothing of it is ever read as HTML. @module */
import {h, html, useRef} from '../html.js';
import {entities, noBlocks, readBlocks, safeLink} from '../model/blocks.js';
import {CopyButton} from './copy.js';

/** @typedef {import('../html.js').VNode} VNode */
/** @typedef {any} Token marked's tokens, of which only what is known here is looked at */

/** Deeper than this nobody reads, and a browser's stack must not be what ends it. */
const DEEPEST = 40;

/**
 * @param {{text: string, done?: boolean, heading?: number}} props `done`: nothing more comes; `heading`: the level
 *   of its largest headings on the page
 */
export function Markdown({text, done = true, heading = 4}) {
  const kept = useRef(/** @type {{state: import('../model/blocks.js').Blocks, nodes: WeakMap<object, VNode>}} */ ({
    state: noBlocks(),
    nodes: new WeakMap(),
  }));
  const last = useRef(/** @type {{text: string, done: boolean, nodes: (VNode | null)[]} | null} */ (null));
  if (last.current === null || last.current.text !== text || last.current.done !== done) {
    const {state, tokens} = readBlocks(kept.current.state, text, done);
    kept.current.state = state;
    // No level is left out on the way down, whatever the text has: that is how headings are walked through.
    let level = heading - 1;
    const nodes = shown(tokens).map((token) => {
      if (token.type === 'heading') level = Math.min(6, heading + token.depth - 1, level + 1);
      let node = kept.current.nodes.get(token);
      if (!node) kept.current.nodes.set(token, (node = block(token, Math.max(level, heading), 0)));
      return node;
    });
    last.current = {text, done, nodes};
  }
  return html`<div class="jl-md">${last.current.nodes}</div>`;
}

/** @param {Token[]} tokens */
const shown = (tokens) => tokens.filter((token) => token.type !== 'space' && token.type !== 'def');

/** @param {Token[] | undefined} tokens @param {number} heading @param {number} depth */
const blocks = (tokens, heading, depth) =>
  shown(tokens ?? []).map((token) => block(token, heading, depth));

/** @param {Token} token @param {number} heading @param {number} depth @returns {VNode} */
function block(token, heading, depth) {
  if (depth > DEEPEST) return html`<p class="jl-plain">${token.raw}</p>`;
  switch (token.type) {
    case 'paragraph':
      return html`<p>${inlines(token.tokens, depth)}</p>`;
    case 'text':
      return html`<${Bare}>${token.tokens ? inlines(token.tokens, depth) : entities(token.text)}<//>`;
    case 'heading':
      return h(`h${heading}`, null, inlines(token.tokens, depth));
    case 'code':
      return html`<${Code} text=${token.text} language=${token.lang ?? ''} />`;
    case 'blockquote':
      return html`<blockquote>${blocks(token.tokens, heading, depth + 1)}</blockquote>`;
    case 'list':
      return list(token, heading, depth);
    case 'table':
      return table(token, depth);
    case 'hr':
      return html`<hr />`;
    case 'checkbox':
      return inline(token, depth);
    default:
      // HTML, what is too long, and what a later version of the lexer may find: as it is written.
      return html`<p class="jl-plain">${String(token.raw).replace(/\n+$/, '')}</p>`;
  }
}

/** Text of a list's item, which is no paragraph. @param {{children: import('../html.js').Children}} props */
const Bare = ({children}) => html`<span>${children}</span>`;

/** @param {Token} token @param {number} heading @param {number} depth */
function list(token, heading, depth) {
  const items = token.items.map((/** @type {Token} */ item) =>
    html`<li class=${item.task ? 'jl-task' : undefined}>${blocks(item.tokens, heading, depth + 1)}</li>`);
  return token.ordered ? html`<ol start=${token.start || 1}>${items}</ol>` : html`<ul>${items}</ul>`;
}

/** @param {Token} token @param {number} depth */
function table(token, depth) {
  /** @param {Token} cell @param {'th' | 'td'} tag */
  const cell = (cell, tag) =>
    h(tag, {class: cell.align ? `jl-${cell.align}` : undefined, scope: tag === 'th' ? 'col' : undefined}, inlines(cell.tokens, depth));
  return html`<div class="jl-table" role="region" aria-label="Table" tabindex="0"><table>
    <thead><tr>${token.header.map((/** @type {Token} */ each) => cell(each, 'th'))}</tr></thead>
    <tbody>${token.rows.map((/** @type {Token[]} */ row) => html`<tr>${row.map((each) => cell(each, 'td'))}</tr>`)}</tbody>
  </table></div>`;
}

/** @param {Token[] | undefined} tokens @param {number} depth */
const inlines = (tokens, depth) => (tokens ?? []).map((token) => inline(token, depth + 1));

/** @param {Token} token @param {number} depth @returns {any} */
function inline(token, depth) {
  if (depth > DEEPEST) return token.raw;
  switch (token.type) {
    case 'text':
      return token.tokens ? inlines(token.tokens, depth) : entities(token.text);
    case 'escape':
      return token.text;
    case 'strong':
      return html`<strong>${inlines(token.tokens, depth)}</strong>`;
    case 'em':
      return html`<em>${inlines(token.tokens, depth)}</em>`;
    case 'del':
      return html`<del>${inlines(token.tokens, depth)}</del>`;
    case 'codespan':
      return html`<code>${token.text}</code>`;
    case 'br':
      return html`<br />`;
    case 'link':
      return link(token, inlines(token.tokens, depth));
    case 'image':
      // A picture would tell another server who looks at this page, and when.
      return link(token, html`<span>image: ${token.text || token.href}</span>`);
    case 'checkbox':
      return html`<span class="jl-check" role="img" aria-label=${token.checked ? 'done:' : 'to do:'}>${token.checked ? '☑' : '☐'} </span>`;
    default:
      return token.raw;
  }
}

/** @param {Token} token @param {any} words */
function link(token, words) {
  const href = safeLink(token.href);
  if (href === null) return html`<span>${words}${shownApart(token) && html` <code class="jl-target">${token.href}</code>`}</span>`;
  return html`<a href=${href} target="_blank" rel="noopener noreferrer" title=${href}>${words}</a>`;
}

/** Whether a target that is no link must be told beside its words. @param {Token} token */
const shownApart = (token) => typeof token.href === 'string' && token.href !== '' && token.href !== token.text;

/** A block of code. @param {{text: string, language?: string}} props */
export function Code({text, language = ''}) {
  const name = language.trim().split(/\s+/)[0]?.slice(0, 30) ?? '';
  return html`<div class="jl-code">
    <div class="jl-code-head"><span>${name}</span><${CopyButton} text=${text} label=${name ? `the ${name} code` : 'the code'} /></div>
    <pre tabindex="0" role="region" aria-label=${name ? `${name} code` : 'Code'}><code>${text}</code></pre>
  </div>`;
}
