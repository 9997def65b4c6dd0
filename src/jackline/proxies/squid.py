"""Squid, as a reverse proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# Squid before Jackline, as a reverse proxy; for 5.x and later.
#   squid -k parse -f THIS_FILE     checks it
#   squid -N -d 1 -f THIS_FILE

# vhost: the name that was asked for goes on; without it Jackline is told the proxy's own.
[plain] http_port @listen@ accel vhost
[tls] # HTTP/1.1: a browser has six connections to a server, the seventh stream hangs. Where pages watch many
[tls] # runs, take a proxy with HTTP/2.
[tls] https_port @listen@ accel vhost tls-cert=@certificate@ tls-key=@key@
# One line for each web process.
# login=PASSTHRU: without it Squid drops Authorization, and everybody gets 401.
cache_peer @upstream_host@ parent @upstream_port@ 0 no-query no-digest originserver login=PASSTHRU connect-timeout=5 name=web1
# Only to Jackline, whatever name is asked for: else everybody could reach other servers through this one.
never_direct allow all
http_access allow all

# Nothing is kept: a cache would give one person's stream to another.
cache deny all
# How long it may be silent; 15 minutes by default. Jackline sends something every @heartbeat@ s.
read_timeout @idle@ seconds
# A cap on the whole life of a connection, heartbeats or not: one day by default.
client_lifetime 7 days
# A request's head must be complete in this time: else a few slow clients hold all connections.
request_timeout 10 seconds
# Jackline closes unused connections after 75 s: longer than that, and a request goes to one that is just being
# closed.
server_idle_pconn_timeout 60 seconds
# A viewer that has left is let go at once; by default Squid may read on for it.
quick_abort_min 0 KB
quick_abort_max 0 KB
# A failed request is not sent again.
retry_on_error off
# A stream takes two open files. The limit (ulimit -n) must allow it.
max_filedescriptors 16384

# Set, not added to: what a client claims about itself ends here. Jackline believes it of proxies in its
# setting `trusted_proxies`; else all viewers count as one address.
forwarded_for truncate
request_header_access X-Forwarded-Proto deny all
request_header_add X-Forwarded-Proto "@scheme@" all

# So that it also runs for an ordinary user, from any folder.
visible_hostname jackline-proxy
pid_filename none
access_log none
cache_log /dev/null
cache_store_log none
coredump_dir /tmp
pinger_enable off
netdb_filename none
# Streams have so long to end by themselves when Squid is told to.
shutdown_lifetime 10 seconds
"""


def squid(wish: Wish) -> str:
    """A whole squid.conf."""
    return fill(_TEXT, wish)
