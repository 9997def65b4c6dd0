/** Checks arguments in a thread of its own, that can be ended. @module */
import {check} from './check.js';

addEventListener('message', ({data: {id, schema, args}}) => postMessage({id, errors: check(schema, args)}));
postMessage({ready: true});
