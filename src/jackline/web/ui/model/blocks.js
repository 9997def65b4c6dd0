/** Markdown as blocks of tokens, while it is still being written: only the last block is read again. Pure. @module */
import {Lexer} from '../vendor/marked/marked.js';

/** @typedef {import('../vendor/marked/marked.js').Token} Token */

/**
 * `blocks`: those that nothing can change any more, up to `length` characters. A new object for each new text, so
 * that what was made of a block can be kept by the block.
 * @typedef {{text: string, length: number, blocks: Token[], links: Record<string, any>}} Blocks
 */

const OPTIONS = {gfm: true, breaks: true};

/** Text beyond this in one block is not looked at for markup: it would be read again with each new piece. */
const LONGEST_BLOCK = 200_000;

/**
 * More marks of emphasis in one stretch of text are not looked at: each is matched against all others, within all
 * others. Twenty thousand characters of `**a*b ` would stop the page for half a minute.
 */
const MOST_MARKS = 200;

/** marked's, but for text that was made to keep it busy. */
class BoundedLexer extends Lexer {
  /** @override @param {string} source @param {Token[]} [tokens] @returns {Token[]} */
  inlineTokens(source, tokens = []) {
    if ((source.match(/\*+|_+|~+/g)?.length ?? 0) <= MOST_MARKS) return super.inlineTokens(source, tokens);
    tokens.push({type: 'text', raw: source, text: source, escaped: false});
    return tokens;
  }
}

/** @returns {Blocks} */
export const noBlocks = () => ({text: '', length: 0, blocks: [], links: {}});

/** @param {string} source @param {Record<string, any>} links @returns {Token[]} */
function lex(source, links) {
  if (source.length > LONGEST_BLOCK) return [plain(source)];
  try {
    const lexer = new BoundedLexer(OPTIONS);
    Object.assign(lexer.tokens.links, links);
    return lexer.lex(source);
  } catch {
    // Nested deeper than it can follow: shown as it is written.
    return [plain(source)];
  }
}

/** @param {string} text @returns {Token} */
const plain = (text) => ({type: 'plain', raw: text, text});

/**
 * The blocks of `text`, which is what `before` had and more. `done`: nothing more comes; all of it is then read
 * once, so that links that are told at the end are found too.
 * @param {Blocks} before @param {string} text @param {boolean} done
 * @returns {{state: Blocks, tokens: Token[]}} all tokens; those of `state.blocks` are the same objects as before
 */
export function readBlocks(before, text, done) {
  const source = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
  if (done) return {state: noBlocks(), tokens: lex(source, {})};
  const state = source.startsWith(before.text) ? before : noBlocks();
  const tokens = lex(source.slice(state.length), state.links);
  const settled = tokens.slice(0, Math.max(0, tokens.findLastIndex((token) => token.type !== 'space')));
  const length = settled.reduce((sum, token) => sum + token.raw.length, state.length);
  const links = {...state.links};
  for (const token of settled) if (token.type === 'def') links[token.tag] ??= {href: token.href, title: token.title};
  // What the lexer has rewritten cannot be counted: then nothing is settled.
  const counted = source.startsWith(settled.map((token) => token.raw).join(''), state.length);
  const next = counted ? {text: source, length, blocks: [...state.blocks, ...settled], links} : {...state, text: source};
  return {state: next, tokens: [...state.blocks, ...tokens]};
}

const SAFE = new Set(['http:', 'https:', 'mailto:']);

/** Where a link may lead, or null. @param {unknown} href */
export function safeLink(href) {
  if (typeof href !== 'string') return null;
  const text = entities(href);
  // What browsers strip from a URL before they read its scheme is not read here either.
  if (!/^(?:https?:\/\/|mailto:)[^\s\u0000-\u001f]+$/i.test(text)) return null;
  try {
    const url = new URL(text);
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Those that models write. Others stay as they are. @type {Readonly<Record<string, string>>} */
const NAMED = {
  amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', hellip: '…', mdash: '—', ndash: '–', lsquo: '‘',
  rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»', bull: '•', middot: '·', deg: '°', plusmn: '±',
  times: '×', divide: '÷', le: '≤', ge: '≥', ne: '≠', asymp: '≈', larr: '←', uarr: '↑', rarr: '→', darr: '↓',
  copy: '©', reg: '®', trade: '™', euro: '€', pound: '£', sect: '§', para: '¶', micro: 'µ', frac12: '½', sup2: '²',
  check: '✓', cross: '✗', infin: '∞', alpha: 'α', beta: 'β', lambda: 'λ', pi: 'π', tab: '\t',
};

/** Character references as characters. The result is text: nothing reads it as markup again. @param {string} text */
export function entities(text) {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z][a-zA-Z0-9]*));/g, (whole, decimal, hex, name) => {
    if (name) return Object.hasOwn(NAMED, name) ? (NAMED[name] ?? whole) : whole;
    const code = decimal ? Number(decimal) : parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : '\ufffd';
  });
}
