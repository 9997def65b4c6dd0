/** A button that copies. @module */
import {html, useEffect, useState} from '../html.js';

/** Pages of plain HTTP have no clipboard but the old one. @param {string} text */
async function copy(text) {
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  const focused = document.activeElement;
  area.value = text;
  area.className = 'jl-offscreen';
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  if (!copied) throw new Error('the browser does not allow it');
}

/** @param {{text: string | (() => string), label?: string}} props `label`: what is copied */
export function CopyButton({text, label = ''}) {
  const [told, tell] = useState('');
  useEffect(() => {
    if (told === '') return undefined;
    const timer = setTimeout(() => tell(''), 2000);
    return () => clearTimeout(timer);
  }, [told]);
  const onClick = async () => {
    try {
      await copy(typeof text === 'string' ? text : text());
      tell('Copied');
    } catch {
      tell('Not allowed');
    }
  };
  return html`<button type="button" class="jl-copy" onClick=${onClick}>
    <span aria-live="polite">${told || 'Copy'}</span>${label && html`<span class="jl-hidden"> ${label}</span>`}
  </button>`;
}
