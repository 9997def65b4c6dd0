// A classic script, so that it runs before the first paint: a page that flashes white in a dark room is a bad page.
(() => {
  /** @type {string | null} */ let chosen = null;
  try {
    // The name as state/storage.js makes it: this runs before any module.
    const path = new URL('.', location.href).pathname.replace(/^\/$/, '');
    chosen = localStorage.getItem(`jackline:${path}theme`);
  } catch {
    // No storage in this browser: the system's theme it is.
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
