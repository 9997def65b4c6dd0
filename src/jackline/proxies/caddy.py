"""Caddy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# Caddy before Jackline; for 2.6 and later.
#   caddy validate --adapter caddyfile --config THIS_FILE     checks it
#   caddy run --adapter caddyfile --config THIS_FILE
{
  # No port 2019, on which everybody on this host can change the configuration. `caddy reload` needs one; a socket
  # will do: admin unix//FOLDER/admin.sock
  admin off
  # No certificates from outside, no port 80.
  auto_https off
  # On SIGTERM open streams have so long to end by themselves; without it Caddy waits for them for ever.
  grace_period 10s
  servers {
    timeouts {
      # A request's head must be complete in this time: else a few slow clients hold all connections.
      read_header 10s
      # No `write`: it caps the whole life of an answer, heartbeats or not.
    }
  }
}

@scheme@://:@listen_port@ {
  bind @listen_host@
[tls]   # With TLS browsers speak HTTP/2. Without it they have six connections to a server: the seventh stream hangs.
[tls]   tls @certificate@ @key@

  # No `encode`. That of 2.6 holds a whole stream back to its end when the first write has 512 bytes or more, as
  # that of a replay has, and ignores `no-transform`. Where you need it, keep streams out of it:
  #   @page not path /api/*
  #   encode @page gzip

  # One address for each web process.
  reverse_proxy @upstream@ {
    # New streams go where the fewest are.
    lb_policy least_conn
    # No lb_try_duration: a GET was sent twelve times.
    # A web process that ends says so here first; /healthz would send new viewers to it to the last.
    health_uri /readyz
    health_interval 2s
    health_timeout 2s
    # No flush_interval: streams are flushed at once anyway, and with -1 Caddy keeps reading for viewers who have
    # left.
    transport http {
      dial_timeout 5s
      # Jackline closes unused connections after 75 s. Caddy would keep them for two minutes: a POST then goes
      # to one that is just being closed, and gets 502.
      keepalive 60s
      # No read_timeout: there is no limit on silence by default (Jackline sends something every @heartbeat@ s),
      # and 2.6 ends a stream that reached one as if it were complete. (So it does with one that was cut on Jackline's
      # side; nothing helps against that but a later Caddy. Clients must go by the last frame.)
    }
    # Caddy itself passes Host on, and sets X-Forwarded-For and X-Forwarded-Proto anew. Jackline believes them of
    # proxies in its setting `trusted_proxies`; else all viewers count as one address.
  }
}
"""


def caddy(wish: Wish) -> str:
    """A whole Caddyfile."""
    return fill(_TEXT, wish)
