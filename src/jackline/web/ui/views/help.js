/** The keys, and the switch that turns single ones off. @module */
import {html, useEffect, useRef} from '../html.js';
import {useObservables} from '../state/hooks.js';

/** @type {readonly (readonly [keys: readonly string[], does: string])[]} */
const KEYS = [
  [['Esc', 'Esc'], 'Stop: the run in front, the focused one in the list, or choose'],
  [['j'], 'Next run in the list'],
  [['k'], 'Run before it in the list'],
  [['Enter'], 'Open the run; send the message'],
  [['w'], 'Go to the run that waits longest for you'],
  [['q'], 'Go to the question that waits for you'],
  [['a'], 'On a question: to its Approve button (Enter then approves)'],
  [['d'], 'On a question: to its Deny button (Enter then denies)'],
  [['e'], 'Jump to the newest entry'],
  [['c'], 'Write a message'],
  [['n'], 'New conversation'],
  [['?'], 'This help'],
];

/** @param {{app: import('../state/app.js').App}} props */
export function Help({app}) {
  useObservables(app);
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    if (app.helpShown && !dialog.current?.open) dialog.current?.showModal();
    if (!app.helpShown && dialog.current?.open) dialog.current.close();
  }, [app.helpShown]);
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="help-title" onClose=${() => app.help(false)}>
    <h2 id="help-title">Keyboard</h2>
    <dl class="keys">
      ${KEYS.map(([keys, does]) => html`<dt>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${does}</dd>`)}
    </dl>
    <label class="check">
      <input type="checkbox" checked=${app.singleKeys} onChange=${() => app.setSingleKeys(!app.singleKeys)} />
      Single letters do something
    </label>
    <div class="dialog-buttons"><button type="button" onClick=${() => app.help(false)}>Close</button></div>
  </dialog>`;
}
