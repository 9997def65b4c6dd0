/** A form for a call's arguments, made from its schema; what was typed, as arguments. Pure. @module */
import {isExact, isStandIn, ownOf} from './words.js';

/** @typedef {Record<string, any>} Data */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {'string' | 'number' | 'boolean' | 'choice' | 'json'} kind `json`: what no plain input can hold
 * @property {unknown[]} choices of a `choice`
 * @property {boolean} required
 * @property {boolean} nullable
 * @property {boolean} given whether the arguments have it
 * @property {string} title
 * @property {string} description
 * @property {boolean} long whether it wants more than a line
 */

/** What was typed, by field: as text, but for booleans. @typedef {Record<string, string | boolean>} Typed */

/** @typedef {{args: Data | null, errors: Map<string, string>}} Read `errors` by field; '' for the whole */

/** The whole as JSON is typed under this name where there are no fields. */
export const WHOLE = '';

/** @param {unknown} value @returns {value is Data} */
export const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

/** A schema with its reference followed. @param {unknown} schema @param {unknown} root @returns {Data} */
export function resolved(schema, root) {
  let found = schema;
  for (let hops = 0; isObject(found) && typeof found.$ref === 'string' && hops < 8; hops += 1) {
    if (!found.$ref.startsWith('#/')) return {};
    const {$ref: _, ...beside} = found;
    let target = root;
    for (const part of found.$ref.slice(2).split('/')) {
      const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
      target = isObject(target) && Object.hasOwn(target, name) ? target[name] : undefined;
    }
    found = isObject(target) ? {...target, ...beside} : {};
  }
  return isObject(found) ? found : {};
}

/** One schema of `null or that`, as Pydantic writes what may be left out. @param {Data} schema @param {unknown} root */
function withoutNull(schema, root) {
  const ways = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(ways)) {
    const others = ways.map((way) => resolved(way, root)).filter((way) => way.type !== 'null');
    if (others.length === 1 && ways.length === 2) return {schema: {...schema, anyOf: undefined, oneOf: undefined, ...others[0]}, nullable: true};
    return {schema, nullable: false};
  }
  if (Array.isArray(schema.type) && schema.type.includes('null')) {
    const others = schema.type.filter((/** @type {unknown} */ type) => type !== 'null');
    if (others.length === 1) return {schema: {...schema, type: others[0]}, nullable: true};
  }
  return {schema, nullable: false};
}

/** @param {Data} schema @param {unknown} value @returns {Field['kind']} */
function kindOf(schema, value) {
  const scalar = (/** @type {unknown} */ each) => each === null || ['string', 'number', 'boolean'].includes(typeof each);
  if (Array.isArray(schema.enum) && schema.enum.length > 0 && schema.enum.every(scalar)) return 'choice';
  const type = schema.type ?? (value === undefined || value === null ? undefined : typeof value);
  const fits = value === undefined || value === null;
  if (type === 'string' && (fits || typeof value === 'string')) return 'string';
  if ((type === 'number' || type === 'integer') && (fits || typeof value === 'number')) return 'number';
  if (type === 'boolean' && typeof value === 'boolean') return 'boolean';
  if (type === 'boolean' && fits) return 'choice';
  return 'json';
}

/**
 * The fields of arguments, or null where they are no object.
 * @param {unknown} schema @param {unknown} args @returns {Field[] | null}
 */
export function fieldsOf(schema, args) {
  if (!isObject(args)) return null;
  const root = isStandIn(schema) ? {} : schema;
  const top = resolved(root, root);
  /** @type {Data} */ const properties = isObject(top.properties) ? top.properties : {};
  const names = [...new Set([...Object.keys(properties), ...Object.keys(args)])];
  return names.map((name) => {
    const {schema: one, nullable} = withoutNull(resolved(ownOf(properties, name), root), root);
    const value = ownOf(args, name);
    const kind = kindOf(one, value);
    const required = Array.isArray(top.required) && top.required.includes(name);
    return {
      name,
      kind,
      choices: kind === 'choice' ? [...(one.enum ?? [true, false]), ...(nullable && !one.enum?.includes(null) ? [null] : [])] : [],
      required,
      nullable,
      given: Object.hasOwn(args, name),
      title: typeof one.title === 'string' ? one.title : '',
      description: typeof one.description === 'string' ? one.description : '',
      long: kind === 'json' || (typeof value === 'string' && (value.length > 60 || value.includes('\n'))),
    };
  });
}

/** What stands in the inputs at first. @param {Field[] | null} fields @param {unknown} args @returns {Typed} */
export function typedOf(fields, args) {
  if (fields === null || !isObject(args)) return {[WHOLE]: JSON.stringify(args ?? {}, null, 2)};
  return Object.fromEntries(fields.map((field) => [field.name, asTyped(field, ownOf(args, field.name))]));
}

/** @param {Field} field @param {unknown} value */
function asTyped(field, value) {
  if (value === undefined) return '';
  if (field.kind === 'boolean') return value === true;
  if (field.kind === 'choice' || field.kind === 'json') return JSON.stringify(value, null, field.kind === 'json' ? 2 : 0);
  return value === null ? '' : String(value);
}

/**
 * What was typed, as arguments, and where it cannot be read.
 * @param {Field[] | null} fields @param {Typed} typed @param {unknown} args those that were asked for
 * @returns {Read}
 */
export function read(fields, typed, args) {
  /** @type {Map<string, string>} */ const errors = new Map();
  /** @type {Data | null} */ let made = {};
  if (fields === null) {
    const whole = parsed(String(typed[WHOLE] ?? ''));
    if (whole.error) errors.set(WHOLE, whole.error);
    else if (!isObject(whole.value)) errors.set(WHOLE, 'must be a JSON object: { … }');
    made = isObject(whole.value) ? whole.value : null;
  } else {
    for (const field of fields) {
      const one = fieldValue(field, ownOf(typed, field.name) ?? '', isObject(args) ? ownOf(args, field.name) : undefined);
      if (one.error) errors.set(field.name, one.error);
      else if (one.value !== undefined) Object.defineProperty(made, field.name, {value: one.value, enumerable: true, configurable: true, writable: true});
    }
  }
  return {args: errors.size > 0 ? null : made, errors};
}

/** @param {Field} field @param {string | boolean} typed @param {unknown} before @returns {{value?: unknown, error?: string}} */
function fieldValue(field, typed, before) {
  if (typeof typed === 'boolean') return {value: typed};
  if (field.kind === 'string') {
    if (typed !== '' || typeof before === 'string') return {value: typed};
  } else if (typed.trim() !== '') {
    return field.kind === 'number' ? number(typed) : parsed(typed);
  }
  // Nothing stands there: null where it was null or has to be, else it is left out.
  if (before === null || (field.nullable && field.required)) return {value: null};
  if (!field.required) return {};
  return field.kind === 'string' ? {value: ''} : {error: 'is required'};
}

/** @param {string} text @returns {{value?: unknown, error?: string}} */
function number(text) {
  const value = Number(text.trim());
  if (!Number.isFinite(value)) return {error: 'must be a number'};
  return isExact(value) ? {value} : {error: 'has more digits than a browser can keep'};
}

/** @param {string} text @returns {{value?: unknown, error?: string}} */
function parsed(text) {
  try {
    /** @type {unknown} */ const value = JSON.parse(text);
    return exact(value) ? {value} : {error: 'has a number with more digits than a browser can keep'};
  } catch (error) {
    return {error: `is not JSON: ${error instanceof Error ? error.message : error}`};
  }
}

/**
 * Whether a value is what was sent: larger whole numbers than 2⁵³ are not. Arguments with such a number must not
 * be edited here, since all of them would be sent back, and this one would be another.
 * @param {unknown} value @returns {boolean}
 */
export function exact(value) {
  const rest = [value];
  // No recursion: a value may be nested deeper than the stack goes.
  while (rest.length > 0) {
    const each = rest.pop();
    if (typeof each === 'number' && !isExact(each)) return false;
    if (each !== null && typeof each === 'object') for (const member of Object.values(each)) rest.push(member);
  }
  return true;
}

/** Deeper arguments are shown, and cannot be edited: what compares, checks and writes them goes as deep as they do. */
const DEEPEST = 200;

/** Whether a value is nested too deeply to be edited. @param {unknown} value */
export function tooDeep(value) {
  let level = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST) return true;
    /** @type {unknown[]} */ const next = [];
    for (const each of level) if (each !== null && typeof each === 'object') for (const member of Object.values(each)) next.push(member);
    level = next;
  }
  return false;
}

/** The fields that a refusal names, as they are called here. @param {Data | null | undefined} problem */
export function fieldErrors(problem) {
  /** @type {Map<string, string>} */ const errors = new Map();
  for (const each of Array.isArray(problem?.errors) ? problem.errors : []) {
    const path = String(each.field ?? '').replace(/^decisions\.\d+\./, '').split('.');
    if (path[0] !== 'args') continue;
    const within = path.slice(2).join('.');
    errors.set(path[1] ?? WHOLE, (within ? `${within}: ` : '') + String(each.detail ?? 'is not accepted'));
  }
  return errors;
}

/** Whether two values are the same JSON. @param {unknown} one @param {unknown} other @returns {boolean} */
export function same(one, other) {
  if (one === other) return true;
  if (one === null || other === null || typeof one !== 'object' || typeof other !== 'object') return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  if (names.length !== Object.keys(other).length) return false;
  return names.every((name) => Object.hasOwn(other, name) && same(/** @type {Data} */ (one)[name], /** @type {Data} */ (other)[name]));
}

/** What was changed, by name. @param {unknown} before @param {unknown} after
 * @returns {{name: string, before: unknown, after: unknown}[]} undefined: it was not there, or is not any more */
export function changes(before, after) {
  // Of what is stored aside only where it lies is known.
  if (!isObject(before) || !isObject(after) || isStandIn(before) || isStandIn(after)) return same(before, after) ? [] : [{name: '', before, after}];
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names
    .map((name) => ({name, before: ownOf(before, name), after: ownOf(after, name)}))
    .filter((each) => !same(each.before, each.after));
}
