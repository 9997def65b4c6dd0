/** Where the time went: the sums, then span after span. @module */
import {html, useState} from '../html.js';
import {lengthOf, timeByKind} from '../model/timeline.js';
import {SPANS, dateOf, duration, ticking} from '../model/words.js';
import {useNow} from './tick.js';

/** @typedef {import('../model/run.js').Run} Run */
/** @typedef {import('../model/timeline.js').Span} Span */
/** @typedef {import('../model/timeline.js').SpanKind} SpanKind */

/** Rows that are shown before one asks for more: the newest. */
const SHOWN = 60;
/** Own work shorter than this is only in the sums. */
const SHORT_MS = 1000;

/**
 * @param {object} props
 * @param {Run} props.run
 * @param {((span: Span) => void) | undefined} [props.onShow] go to what a span tells of
 */
export function Timeline({run, onShow}) {
  const [shown, show] = useState(SHOWN);
  const lasting = run.endedAt === null && run.timeline.length > 0;
  const now = useNow(lasting) + run.skewMs;
  const begin = run.timeline[0]?.start;
  if (begin === undefined) return html`<p class="jl-none">Nothing has happened yet.</p>`;
  const end = run.endedAt === null ? Math.max(now, begin) : Date.parse(run.endedAt);
  const whole = Math.max(1, end - begin);
  const all = run.timeline.filter((span) => span.kind !== 'agent' || span.end === null || span.end - span.start >= SHORT_MS);
  const spans = all.slice(-shown);
  const hidden = all.length - spans.length;
  return html`<div class="jl-timeline">
    <${Sums} run=${run} now=${now} whole=${whole} />
    ${hidden > 0 && html`<button type="button" class="jl-more" onClick=${() => show(shown + 5 * SHOWN)}>${hidden} earlier</button>`}
    <ol class="jl-spans">${spans.map((span) => html`<${Row} key=${span.key} span=${span} now=${now} begin=${begin} whole=${whole} onShow=${onShow} />`)}</ol>
  </div>`;
}

/** @param {{run: Run, now: number, whole: number}} props */
function Sums({run, now, whole}) {
  const sums = [...timeByKind(run, now)].filter(([, ms]) => ms > 0).sort(([, one], [, other]) => other - one);
  return html`<div class="jl-sums">
    <div class="jl-stack" aria-hidden="true">${sums.map(([kind, ms]) => html`<span key=${kind} data-kind=${kind} style=${{width: `${Math.min(100, (100 * ms) / whole)}%`}}></span>`)}</div>
    <dl>${sums.slice(0, 5).map(([kind, ms]) => html`<div key=${kind} data-kind=${kind}><dt>${SPANS[kind]}</dt><dd>${duration(ms)} <span class="jl-muted">${Math.round((100 * ms) / whole)} %</span></dd></div>`)}</dl>
  </div>`;
}

/** @param {Span} span */
function nameOf(span) {
  if (span.kind === 'tool') return html`<code>${span.tool}</code>`;
  if (span.kind === 'model' && span.step !== null) return `Model, step ${span.step}`;
  return SPANS[span.kind];
}

/** @param {{span: Span, now: number, begin: number, whole: number, onShow: ((span: Span) => void) | undefined}} props */
function Row({span, now, begin, whole, onShow}) {
  const length = lengthOf(span, now);
  const left = Math.min(100, (100 * (span.start - begin)) / whole);
  const width = Math.min(100 - left, (100 * length) / whole);
  const inner = html`<span class="jl-span-name">${nameOf(span)}</span><span class="jl-span-length">${span.end === null ? ticking(length) : duration(length)}${span.end === null ? html`<span class="jl-hidden"> so far</span>` : ''}</span>
    <span class="jl-track" aria-hidden="true"><span style=${{left: `${left}%`, width: `${width}%`}}></span></span>
    ${span.detail && span.kind === 'retry' && html`<span class="jl-span-detail">${span.detail}</span>`}`;
  const title = dateOf(new Date(span.start).toISOString());
  const shows = onShow !== undefined && span.callId !== null;
  return html`<li data-kind=${span.kind} data-lasts=${span.end === null}>
    ${shows ? html`<button type="button" class="jl-span" title=${title} onClick=${() => onShow(span)}>${inner}</button>` : html`<div class="jl-span" title=${title}>${inner}</div>`}
  </li>`;
}
