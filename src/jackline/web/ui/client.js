/** The client, as the page's modules import it: relative, so that a proxy may put the page under any path. @module */
export * from '../jackline.js';
