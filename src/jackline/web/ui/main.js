/** The operator's page. @module */
import {html, render} from './html.js';
import {App} from './state/app.js';
import {listenToKeys} from './state/keys.js';
import {Shell} from './views/shell.js';

const app = new App();
// What fails outside of a view would otherwise only be seen by who has the console open.
addEventListener('error', (event) => event.error && app.broke(event.error));
addEventListener('unhandledrejection', (event) => app.broke(event.reason));
listenToKeys(app);
const root = /** @type {HTMLElement} */ (document.getElementById('app'));
root.replaceChildren();
render(html`<${Shell} app=${app} />`, root);
