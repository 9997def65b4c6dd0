// What every component needs, from one place: htm bound to Preact, and Preact's hooks.

import htm from './vendor/htm/htm.js'
import { h } from './vendor/preact/preact.js'

/** @typedef {import('./vendor/preact/preact.js').VNode} VNode */
/** @typedef {import('./vendor/preact/preact.js').ComponentChildren} Children */

/**
 * A template as virtual nodes. Values become text or attributes: nothing is ever parsed as HTML.
 * @type {(strings: TemplateStringsArray, ...values: unknown[]) => VNode}
 */
export const html = /** @type {any} */ (htm.bind(h))

export { Component, Fragment, createContext, createRef, h, render } from './vendor/preact/preact.js'
export {
  useCallback,
  useContext,
  useEffect,
  useErrorBoundary,
  useId,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from './vendor/preact/hooks.js'
