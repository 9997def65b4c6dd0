"""What to set against each finding, where the proxy is known and where it is not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackline.doctor.finding import Code

_NO_COMPRESSION: Final = "keep text/event-stream out of what the proxy compresses"

GENERAL: Final[Mapping[Code, str]] = {
    "buffered-http10": "let the proxy speak HTTP/1.1 to the server, and switch response buffering off",
    "buffered-blocks": "switch response buffering off for this path",
    "buffered-whole": "switch response buffering off for this path",
    "compressed-early": _NO_COMPRESSION,
    "compressed-late": _NO_COMPRESSION,
    "first-write": _NO_COMPRESSION,
    "held-200ms": "have the proxy send without delay (TCP_NODELAY, no MSG_MORE)",
    "one-behind": _NO_COMPRESSION,
    "get-only": "let GET through as POST is; quick tunnels hold GET: use a named one",
    "idle-limit": "raise the read time-out of this path above four heartbeats; an hour does no harm",
    "lifetime-cap": "lift the limit on the whole duration of a request for this path",
    "zombie": "no setting closes the client's side; clients must watch the heartbeats, as Jackline's do",
    "masked-end": "trust the last frame (`end`, `shutdown`), never the end of the response",
    "error-before-headers": "raise the time-out for the first byte",
    "shared-stream": "switch caching and request coalescing off for this path",
    "repeated-request": "never repeat a POST: no retries for this path",
    "accel-stripped": "do not ignore X-Accel-Buffering (proxy_ignore_headers), and set proxy_buffering off",
    "worker-cap": "allow the proxy as many workers, threads or connections as there are to be streams",
    "rewritten": "pass path, query, body and headers on as they come",
    "cached": "switch caching off for this path",
}

_NGINX_BUFFERS: Final = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;'

SPECIAL: Final[Mapping[tuple[str, Code], str]] = {
    ("nginx", "buffered-http10"): _NGINX_BUFFERS,
    ("nginx", "buffered-blocks"): _NGINX_BUFFERS,
    ("nginx", "buffered-whole"): _NGINX_BUFFERS,
    ("nginx", "compressed-late"): "gzip off;",
    ("nginx", "compressed-early"): "gzip off;",
    ("nginx", "idle-limit"): "proxy_read_timeout 1h;",
    ("nginx", "error-before-headers"): "proxy_read_timeout 1h;",
    ("nginx", "cached"): "proxy_cache off;",
    ("nginx", "shared-stream"): "proxy_cache off;",
    ("nginx", "repeated-request"): "proxy_next_upstream off;",
    ("nginx", "masked-end"): 'proxy_http_version 1.1; proxy_set_header Connection "";',
    ("haproxy", "held-200ms"): "option http-no-delay",
    ("haproxy", "one-behind"): "no `compression type text/event-stream`",
    ("haproxy", "idle-limit"): "timeout client 1h; timeout server 1h",
    ("haproxy", "error-before-headers"): "timeout server 1h",
    ("haproxy", "repeated-request"): "http-request disable-l7-retry if METH_POST",
    ("envoy", "lifetime-cap"): "route: timeout: 0s",
    ("envoy", "idle-limit"): "route: idle_timeout, and stream_idle_timeout, above the heartbeat",
    ("envoy", "error-before-headers"): "route: timeout: 0s",
    ("envoy", "repeated-request"): "no retry_policy on routes that take POST",
    ("istio", "lifetime-cap"): "VirtualService: timeout: 0s",
    ("istio", "repeated-request"): "VirtualService: retries: attempts: 0",
    ("contour", "lifetime-cap"): "HTTPProxy: timeoutPolicy: response: infinity",
    ("traefik", "buffered-whole"): "no `buffering` middleware on this router",
    ("traefik", "lifetime-cap"): "entryPoints: transport: respondingTimeouts: writeTimeout: 0",
    ("traefik", "repeated-request"): "no `retry` middleware on this router",
    ("caddy", "first-write"): "keep text/event-stream out of `encode`, or run Caddy 2.7 or newer",
    ("caddy", "compressed-early"): "keep text/event-stream out of `encode`, or run Caddy 2.7 or newer",
    ("caddy", "masked-end"): "no `read_timeout` in the transport, or run Caddy 2.7 or newer",
    ("caddy", "idle-limit"): "no `read_timeout` in the transport",
    ("caddy", "repeated-request"): "no lb_try_duration for POST",
    ("apache", "idle-limit"): "ProxyPass / http://…/ timeout=3600",
    ("apache", "error-before-headers"): "ProxyPass / http://…/ timeout=3600",
    ("apache", "worker-cap"): "mpm_event with MaxRequestWorkers above the number of streams",
    ("varnish", "shared-stream"): 'if (req.http.Accept ~ "text/event-stream") { return (pipe); }',
    ("varnish", "cached"): 'if (req.http.Accept ~ "text/event-stream") { return (pipe); }',
    ("varnish", "buffered-whole"): 'if (req.http.Accept ~ "text/event-stream") { return (pipe); }',
    ("varnish", "compressed-early"): 'if (req.http.Accept ~ "text/event-stream") { return (pipe); }',
    ("varnish", "idle-limit"): "pipe_timeout above the heartbeat",
    ("lighttpd", "buffered-whole"): "server.stream-response-body = 1",
    ("squid", "idle-limit"): "read_timeout 1 hour",
    ("squid", "cached"): "cache deny all",
    ("mitmproxy", "buffered-whole"): "--set stream_large_bodies=1",
    ("express", "compressed-early"): "no-transform in Cache-Control, or no compression() on this route",
    ("cloudflare", "idle-limit"): "heartbeats below 100 s",
    ("cloudflare", "get-only"): "a named tunnel in the place of a quick one",
    ("api-gateway", "buffered-whole"): "response transfer mode STREAM",
    ("gcp", "lifetime-cap"): "backend service: timeoutSec: 3600",
    ("azure", "buffered-whole"): "Application Gateway: enableResponseBuffering=false",
}


def fix_for(code: Code, proxy: str | None) -> str:
    """What to set."""
    return SPECIAL.get((proxy or "", code), GENERAL[code])
