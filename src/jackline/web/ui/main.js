import { html, render } from './html.js'

const app = document.getElementById('app')
if (app) render(html`<h1>Jackline</h1>`, app)
