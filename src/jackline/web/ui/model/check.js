/** A call's arguments against its schema. A strange schema may take for ever: see `state/checker.js`. Pure. @module */
import {Validator} from '../vendor/json-schema/validator.js';
import {isObject, resolved, WHOLE} from './form.js';
import {isStandIn} from './words.js';

/** @typedef {import('./form.js').Data} Data */

/** Keywords whose error only says that something within is wrong. */
const WRAPPERS = new Set(['properties', 'patternProperties', 'items', 'prefixItems', 'allOf', '$ref', 'additionalItems', 'additionalProperties', 'unevaluatedProperties', 'if', 'then', 'else']);

/** As the server chooses it. @param {Data} schema @returns {'4' | '7' | '2019-09' | '2020-12'} */
function draftOf({$schema: name}) {
  if (typeof name !== 'string') return '2020-12';
  if (name.includes('draft-04')) return '4';
  if (name.includes('draft-06') || name.includes('draft-07')) return '7';
  return name.includes('2019-09') ? '2019-09' : '2020-12';
}

/** What a schema does not allow, by field. The server checks it again. @param {unknown} schema @param {Data} args */
export function check(schema, args) {
  /** @type {Map<string, string>} */ const errors = new Map();
  if (!isObject(schema) || isStandIn(schema)) return errors;
  let result;
  try {
    result = new Validator(/** @type {any} */ (schema), draftOf(schema), false).validate(args);
  } catch {
    return errors; // a schema that this validator cannot follow: the server's says
  }
  for (const error of result.valid ? [] : result.errors) {
    if (WRAPPERS.has(error.keyword)) continue;
    const {field, words} = told(error, schema);
    if (!errors.has(field)) errors.set(field, words);
  }
  if (!result.valid && errors.size === 0) errors.set(WHOLE, 'is not what the tool accepts');
  return errors;
}

/** @param {{keyword: string, instanceLocation: string, keywordLocation: string, error: string}} error @param {unknown} schema */
function told({keyword, instanceLocation, keywordLocation, error}, schema) {
  const path = instanceLocation.split('/').slice(1).map(unescaped);
  const named = /required property "(.*?)"/.exec(error)?.[1];
  if (path.length === 0 && named !== undefined && keyword === 'required') return {field: named, words: 'is required'};
  if (path.length === 1 && keyword === 'false') return {field: path[0] ?? WHOLE, words: 'is no argument of this tool'};
  const field = path[0] ?? WHOLE;
  const within = path.length > 1 ? `${path.slice(1).join('.')} ` : '';
  return {field, words: within + words(keyword, limitOf(schema, keywordLocation), error)};
}

/** @param {string} part */
function unescaped(part) {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return part;
  }
}

/** What stands in the schema at a place. @param {unknown} schema @param {string} place */
function limitOf(schema, place) {
  let found = schema;
  for (const part of place.split('/').slice(1).map(unescaped)) {
    if (part === '$ref') found = resolved(found, schema);
    else found = found !== null && typeof found === 'object' ? /** @type {Data} */ (found)[part] : undefined;
  }
  return found;
}

/** @param {string} keyword @param {unknown} limit @param {string} error */
function words(keyword, limit, error) {
  const shown = JSON.stringify(limit);
  if (limit === undefined) return error.replace(/^Instance /, '');
  switch (keyword) {
    case 'type':
      return `must be ${limit === 'object' || limit === 'array' || limit === 'integer' ? 'an' : 'a'} ${Array.isArray(limit) ? limit.join(' or ') : limit}`;
    case 'enum':
      return `must be one of ${Array.isArray(limit) ? limit.map((each) => JSON.stringify(each)).join(', ') : shown}`;
    case 'const':
      return `must be ${shown}`;
    case 'minimum':
      return `must be ${shown} or more`;
    case 'maximum':
      return `must be ${shown} or less`;
    case 'exclusiveMinimum':
      return `must be more than ${shown}`;
    case 'exclusiveMaximum':
      return `must be less than ${shown}`;
    case 'minLength':
      return `must have at least ${shown} characters`;
    case 'maxLength':
      return `must have at most ${shown} characters`;
    case 'pattern':
      return `must match ${limit}`;
    case 'format':
      return `must be a ${limit}`;
    case 'multipleOf':
      return `must be a multiple of ${shown}`;
    default:
      return error.replace(/^Instance /, '');
  }
}
