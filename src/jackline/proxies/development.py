"""Notes on the servers that front-end developers have before everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_NEXT: Final = """\
// next.config.js: Next.js before Jackline. From the vendor's documentation; not run here.
//   next start --hostname @listen_host@ --port @listen_port@
[tls] //   next dev --experimental-https --experimental-https-cert @certificate@ --experimental-https-key @key@
module.exports = {
  // Else answers are compressed, and a stream comes at its end. (Jackline's `no-transform` keeps it from that, too.)
  compress: false,
  experimental: {
    // Milliseconds of silence after which a rewritten request is cut; 30 s by default. Jackline sends something
    // every @heartbeat@ s.
    proxyTimeout: @idle@000,
  },
  async rewrites() {
    // Not through a route handler that reads the answer and sends it on: it would have to stream, and to end when
    // the viewer leaves.
    return [{ source: "/api/v1/:path*", destination: "http://@upstream@/api/v1/:path*" }];
  },
};
// Hosted on Vercel a function ends after 300 to 800 s; a rewrite to another host is not one.
"""

_VITE: Final = """\
// vite.config.js: Vite's development server before Jackline. From the vendor's documentation; not run here.
[tls] import { readFileSync } from "node:fs";

export default {
  server: {
    host: "@listen_host@",
    port: @listen_port@,
[tls]     // With TLS and a proxy Vite speaks HTTP/1.1: a browser has six connections to it.
[tls]     https: { cert: readFileSync("@certificate@"), key: readFileSync("@key@") },
    proxy: {
      "/api/v1": {
        target: "http://@upstream@",
        // Host goes on as it came: the page and the API have one origin, and no CORS is wanted.
        changeOrigin: false,
        // No proxyTimeout: when it is over, Jackline's side is closed and the browser's is left hanging. Jackline
        // sends something every @heartbeat@ s; a client that misses it comes back by itself.
      },
    },
  },
};
// Without a proxy it also works: in jackline.toml cors_origins = ["@scheme@://@listen@"].
"""


def next_js(wish: Wish) -> str:
    """Rewrites of Next.js."""
    return fill(_NEXT, wish)


def vite(wish: Wish) -> str:
    """The proxy of Vite's development server."""
    return fill(_VITE, wish)
