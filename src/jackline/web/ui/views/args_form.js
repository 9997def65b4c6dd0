/** Arguments that a person changes before the call runs, checked while they are typed. @module */
import {html, useId} from '../html.js';
import {WHOLE} from '../model/form.js';
import {visible} from '../model/words.js';

/** @typedef {import('../model/form.js').Field} Field */
/** @typedef {import('../model/form.js').Typed} Typed */

/**
 * @param {object} props
 * @param {Field[] | null} props.fields null: all of it as JSON
 * @param {Typed} props.typed
 * @param {Map<string, string>} props.errors by field
 * @param {(typed: Typed) => void} props.onType
 * @param {boolean} [props.disabled]
 */
export function ArgsForm({fields, typed, errors, onType, disabled = false}) {
  const id = useId();
  /** @param {string} name @param {string | boolean} value */
  const type = (name, value) => onType({...typed, [name]: value});
  const whole = errors.get(WHOLE);
  const unknown = [...errors.keys()].filter((name) => name !== WHOLE && !fields?.some((field) => field.name === name));
  return html`<div class="jl-form">
    ${fields === null
      ? html`<${Input} id=${id} label="Arguments, as JSON" error=${whole} describe="">
          ${(/** @type {object} */ more) => html`<textarea ...${more} class="jl-mono" rows=${rowsOf(typed[WHOLE], 6)} spellcheck=${false} disabled=${disabled}
            value=${typed[WHOLE]} onInput=${(/** @type {any} */ event) => type(WHOLE, event.currentTarget.value)}></textarea>`}
        <//>`
      : fields.map((field, at) => html`<${FieldInput} key=${field.name} id=${`${id}-${at}`} field=${field} value=${typed[field.name]}
          error=${errors.get(field.name)} disabled=${disabled} onType=${(/** @type {string | boolean} */ value) => type(field.name, value)} />`)}
    ${fields !== null && whole !== undefined && html`<p class="jl-error" role="alert">The arguments: ${whole}</p>`}
    ${unknown.map((name) => html`<p class="jl-error" role="alert">${name}: ${errors.get(name)}</p>`)}
  </div>`;
}

/** @param {string | boolean | undefined} text @param {number} least */
const rowsOf = (text, least) => Math.min(16, Math.max(least, String(text ?? '').split('\n').length));

/**
 * An input with its name, what it is for, and what is wrong with it.
 * @param {{id: string, label: string, type?: string, error: string | undefined, describe: string,
 *   children: (more: object) => import('../html.js').VNode}} props
 */
function Input({id, label, type = '', error, describe, children}) {
  const described = [describe && `${id}-about`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  return html`<div class="jl-field" data-wrong=${error !== undefined}>
    <label for=${id}><span class="jl-name">${visible(label)}</span>${type && html`<span class="jl-type">${type}</span>`}</label>
    ${children({id, 'aria-invalid': error !== undefined, 'aria-describedby': described})}
    ${describe && html`<p class="jl-about" id=${`${id}-about`}>${describe}</p>`}
    ${error && html`<p class="jl-error" id=${`${id}-error`}>${label} ${error}</p>`}
  </div>`;
}

/** @param {Field} field */
function typeOf(field) {
  const words = {string: '', number: 'number', boolean: '', choice: '', json: 'JSON'}[field.kind];
  return [words, !field.required && 'may be left empty'].filter(Boolean).join(', ');
}

/**
 * @param {{id: string, field: Field, value: string | boolean | undefined, error: string | undefined,
 *   disabled: boolean, onType: (value: string | boolean) => void}} props
 */
function FieldInput({id, field, value, error, disabled, onType}) {
  const onInput = (/** @type {any} */ event) => onType(event.currentTarget.value);
  if (field.kind === 'boolean') {
    return html`<${Input} id=${id} label=${field.name} error=${error} describe=${field.description}>
      ${(/** @type {object} */ more) => html`<span class="jl-switch"><input type="checkbox" ...${more} checked=${value === true} disabled=${disabled}
        onChange=${(/** @type {any} */ event) => onType(event.currentTarget.checked)} /><span aria-hidden="true">${value === true ? 'yes' : 'no'}</span></span>`}
    <//>`;
  }
  if (field.kind === 'choice') {
    const choices = field.choices.map((choice) => JSON.stringify(choice));
    const other = value !== '' && value !== undefined && !choices.includes(String(value));
    return html`<${Input} id=${id} label=${field.name} type=${typeOf(field)} error=${error} describe=${field.description}>
      ${(/** @type {object} */ more) => html`<select ...${more} disabled=${disabled} value=${value} onChange=${onInput}>
        ${(!field.required || value === '') && html`<option value="">(left out)</option>`}
        ${other && html`<option value=${value}>${value}</option>`}
        ${field.choices.map((choice) => html`<option value=${JSON.stringify(choice)}>${typeof choice === 'string' ? choice : JSON.stringify(choice)}</option>`)}
      </select>`}
    <//>`;
  }
  return html`<${Input} id=${id} label=${field.name} type=${typeOf(field)} error=${error} describe=${field.description}>
    ${(/** @type {object} */ more) =>
      field.long
        ? html`<textarea ...${more} class="jl-mono" rows=${rowsOf(value, 2)} spellcheck=${false} disabled=${disabled} value=${value} onInput=${onInput}></textarea>`
        : html`<input type="text" ...${more} class="jl-mono" inputmode=${field.kind === 'number' ? 'decimal' : undefined} autocomplete="off" spellcheck=${false}
            disabled=${disabled} value=${value} onInput=${onInput} />`}
  <//>`;
}
