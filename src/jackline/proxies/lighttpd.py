"""lighttpd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# lighttpd before Jackline; for 1.4.60 and later.
#   lighttpd -tt -f THIS_FILE     checks it
#   lighttpd -D -f THIS_FILE
[tls] # mod_openssl has a package of its own in Debian, lighttpd-mod-openssl.

[plain] server.modules = ( "mod_setenv", "mod_proxy" )
[tls] server.modules = ( "mod_openssl", "mod_setenv", "mod_proxy" )
# No mod_deflate: where text/event-stream is among its types it holds entries back.

server.bind = "@listen_in_brackets@"
server.port = @listen_port@
# It wants one; nothing is served from it.
server.document-root = "/var/empty"

# The one that matters. By default (0) an answer is collected whole before its first byte goes out, and gets a
# Content-Length: a stream arrives when it is over, and goes on for viewers who have left.
server.stream-response-body = 1
# Request bodies are collected before they go on (0, the default): a slow client does not hold a connection of
# Jackline's.
server.stream-request-body = 0

# How long a viewer may take nothing of what is there for it; Jackline sends something every @heartbeat@ s.
server.max-write-idle = @idle@
# A request must have come in this time: else a few slow clients hold all connections.
server.max-read-idle = 60
# A stream takes two open files; the number of connections is a third of this by default. Beyond it new ones wait
# until a stream ends.
server.max-fds = 16384
server.max-connections = 8192

# What a client claims about itself ends here: taken away, before mod_proxy adds the address. Jackline believes it of
# proxies in its setting `trusted_proxies`, else all viewers count as one address.
setenv.set-request-header = ( "X-Forwarded-For" => "" )
# Paths go on as they were asked for; by default %2F becomes / and %7E becomes ~.
server.http-parseopts = ( "url-normalize" => "disable" )
# One ( … ) for each web process. Host goes on as it came, X-Forwarded-Proto is set.
proxy.server = ( "" => (
  ( "host" => "@upstream_host@", "port" => @upstream_port@ )
) )
# New streams go where the fewest are.
proxy.balance = "least-connection"
[tls]
[tls] ssl.engine = "enable"
[tls] ssl.pemfile = "@certificate@"
[tls] ssl.privkey = "@key@"
"""


def lighttpd(wish: Wish) -> str:
    """A whole lighttpd.conf."""
    return fill(_TEXT, wish)
