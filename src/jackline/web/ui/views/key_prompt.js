/** Asks for the key that the server wants. @module */
import {html, useEffect, useRef, useState} from '../html.js';
import {Refused} from '../client.js';
import {explain} from '../state/words.js';

/** @param {{app: import('../state/app.js').App}} props */
export function KeyPrompt({app}) {
  const {session} = app;
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [trying, setTrying] = useState(false);
  const [said, setSaid] = useState(session.wants === 'other key' ? 'The server does not take the key any more. Give another one.' : '');
  useEffect(() => field.current?.focus(), []);

  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const key = String(form.get('key') ?? '').trim();
    if (key === '') return setSaid('Type the key first.');
    setTrying(true);
    try {
      await session.signIn(key, form.get('remember') !== null);
    } catch (error) {
      const wrong = error instanceof Refused && error.status === 401;
      setSaid(wrong ? 'That is no key of this server. Look for a typing error, or ask who runs it.' : explain(error));
      field.current?.select();
      setTrying(false);
    }
    return undefined;
  };

  return html`<main class="key-prompt" id="main">
    <form class="panel" onSubmit=${submit} aria-labelledby="key-title">
      <h1 id="key-title">Jackline</h1>
      <p>This server asks who you are. Give the key that its operator has handed out.</p>
      <label>Key
        <input ref=${field} name="key" type="password" autocomplete="current-password" spellcheck="false"
          aria-invalid=${said !== ''} aria-describedby="key-said" />
      </label>
      <label class="check"><input name="remember" type="checkbox" /> Remember it in this browser</label>
      <p id="key-said" class="said" role="alert">${said}</p>
      <button type="submit" class="primary" disabled=${trying}>${trying ? 'Trying the key …' : 'Log in'}</button>
      <p class="muted">Without “remember”, the key is forgotten with this tab.</p>
    </form>
  </main>`;
}
