"""HAProxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# HAProxy before Jackline; for 2.6 and later.
#   haproxy -c -f THIS_FILE     checks it
#   haproxy -f THIS_FILE
[tls] # It wants the certificate and its key in one file, in the folder in which it is started:
[tls] #   cat @certificate@ @key@ >haproxy.pem

global
  # How many streams there can be follows from the limit of open files (ulimit -n): two for each.

defaults
  mode http
  # Without it each entry waits about 200 ms for more to be sent with it.
  option http-no-delay
  timeout connect 5s
  # A request's head must be complete in this time: else a few slow clients hold all connections.
  timeout http-request 10s
  timeout http-keep-alive 60s
  # How long a stream may be silent, on either side: whichever is shorter cuts. Jackline sends something
  # every @heartbeat@ s.
  timeout client @idle@s
  timeout server @idle@s
  # A viewer that has left is let go at once. Without it Jackline learns of it when it writes to it next: with
  # the heartbeats, after @heartbeat@ s.
  option abortonclose
  # No `compression`: that of 2.6 gives out each entry only when the next one comes.

frontend front
[plain]   bind @listen@
[tls]   # Without HTTP/2 a browser has six connections to a server: the seventh stream hangs.
[tls]   bind @listen@ ssl crt haproxy.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2
  # Set, not added to: what a client claims about itself ends here. Jackline believes it of proxies in its
  # setting `trusted_proxies`; else all viewers count as one address.
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto @scheme@
  # A POST is sent once, whatever `retry-on` says here or in `defaults`: `all-retryable-errors` ran one three
  # times.
  http-request disable-l7-retry if METH_POST
  default_backend jackline

backend jackline
  # New streams go where the fewest are. roundrobin knows nothing of those that have been open for hours.
  balance leastconn
  # Only when nothing was sent yet.
  retry-on conn-failure
  # A web process that ends says so here first, takes no new streams, and hands over those it has. /healthz
  # would send new viewers to it to the last.
  option httpchk GET /readyz
  http-check expect status 200
  # No `on-marked-down shutdown-sessions`: it cuts every stream of a server at once.
  default-server check inter 2s fall 2 rise 1
  # One line for each web process. Connections that are used again are closed after 5 s without use
  # (pool-purge-delay), well below Jackline's 75 s.
  server web1 @upstream@
"""


def haproxy(wish: Wish) -> str:
    """A whole haproxy.cfg."""
    return fill(_TEXT, wish)
