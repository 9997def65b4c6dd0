"""Varnish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.errors import ConfigError
from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# Varnish before Jackline; for 7.x. FOLDER is one that it may make; both paths absolute:
#   varnishd -C -f THIS_FILE -n FOLDER     checks it
#   varnishd -F -f THIS_FILE -n FOLDER -a @listen@ -p pipe_timeout=@idle@
# pipe_timeout: how long a stream may be silent; 60 s by default. Jackline sends something every @heartbeat@ s.

vcl 4.1;

backend jackline {
  .host = "@upstream_host@";
  .port = "@upstream_port@";
  .connect_timeout = 5s;
  # For all that is no stream.
  .first_byte_timeout = 120s;
  # A web process that ends says so here first; /healthz would send new viewers to it to the last.
  .probe = {
    .url = "/readyz";
    .interval = 2s;
    .timeout = 2s;
    .window = 3;
    .threshold = 2;
    # Else the first requests after a start get 503.
    .initial = 2;
  }
}

sub vcl_recv {
  # Set, not added to: what a client claims about itself ends here. Jackline believes it of proxies in its
  # setting `trusted_proxies`; else all viewers count as one address.
  set req.http.X-Forwarded-For = client.ip;
  set req.http.X-Forwarded-Proto = "http";
  # Streams are piped: from then on Varnish only moves bytes. Otherwise a live GET may be shared with other
  # clients, `do_gzip` and `do_stream = false` hold it back, and send_timeout cuts it after 10 minutes,
  # heartbeats or not. Jackline answers with a stream wherever nothing else is asked for.
  if (req.url ~ "^/api/" &&
      (req.http.Accept ~ "text/event-stream" || req.http.Accept !~ "application/json")) {
    return (pipe);
  }
  # Nothing else is kept either: what one principal may see is not for the next one.
  return (pass);
}

sub vcl_pipe {
  # Else what comes next on this connection goes on unseen, with whatever the client claims about itself.
  set bereq.http.Connection = "close";
  return (pipe);
}
"""


def varnish(wish: Wish) -> str:
    """A whole VCL. Raises `ConfigError` for a wish with TLS."""
    if wish.tls:
        raise ConfigError(
            "varnish does not end TLS: leave --tls out, and put something in front of it that does, such as "
            "Hitch, HAProxy or NGINX (jackline proxy haproxy --tls CERT KEY --upstream VARNISH:PORT)"
        )
    return fill(_TEXT, wish)
