"""Traefik."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# Traefik before Jackline; for 3.x. Call this file traefik.yml and start Traefik in its folder:
#   traefik --configFile=traefik.yml
# Traefik has two configurations, one that is read at the start and one that may change. Both are in this file:
# at the start it is read up to the line `---`; as the second one it is a template, in which the first part is a
# comment. To keep them apart, cut it at that line and change `filename`.

# First part, read at the start. {{/*
entryPoints:
  front:
    address: "@listen@"
    transport:
      respondingTimeouts:
        # A cap on the whole life of an answer, heartbeats or not. 0, the default, is none.
        writeTimeout: 0s
        # For a request to come whole: else a few slow clients hold all connections.
        readTimeout: 60s
      lifeCycle:
        # On SIGTERM open streams have so long to end by themselves.
        graceTimeOut: 10s
    # No forwardedHeaders.insecure: then what a client claims about itself is believed. Traefik sets X-Forwarded-For;
    # Jackline believes it of proxies in its setting `trusted_proxies`, else all viewers count as one address.
providers:
  file:
    filename: traefik.yml
global:
  checkNewVersion: false
  sendAnonymousUsage: false
# */}}
---
# Second part.
http:
  routers:
    jackline:
      rule: PathPrefix(`/`)
      entryPoints: [front]
      service: jackline
      # No middlewares: `buffering` gives the whole stream out at its end, `retry` can send a POST again, and
      # `compress` must have text/event-stream among its excludedContentTypes.
[tls]       tls: {}
  services:
    jackline:
      loadBalancer:
        serversTransport: jackline
        # The default. Else Jackline is told its own address instead of the name that was asked for.
        passHostHeader: true
        # A web process that ends says so here first; /healthz would send new viewers to it to the last.
        healthCheck:
          path: /readyz
          interval: 2s
          timeout: 2s
        servers:
          # One line for each web process.
          - url: http://@upstream@
  serversTransports:
    jackline:
      forwardingTimeouts:
        dialTimeout: 5s
        # Until the first byte of an answer; 0, the default, is none. No limit on silence exists after that:
        # Jackline sends something every @heartbeat@ s, and clients that miss it come back by themselves.
        responseHeaderTimeout: 0s
        # Jackline closes unused connections after 75 s. Traefik would keep them for 90 s: a POST then goes to
        # one that is just being closed, and gets 502.
        idleConnTimeout: 60s
[tls] tls:
[tls]   # With TLS browsers speak HTTP/2. Without it they have six connections to a server: the seventh stream hangs.
[tls]   options:
[tls]     default:
[tls]       minVersion: VersionTLS12
[tls]   stores:
[tls]     default:
[tls]       defaultCertificate:
[tls]         certFile: "@certificate@"
[tls]         keyFile: "@key@"
"""


def traefik(wish: Wish) -> str:
    """Both of Traefik's configurations, in one file that is read as either."""
    return fill(_TEXT, wish)
