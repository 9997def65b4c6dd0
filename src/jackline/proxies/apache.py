"""Apache httpd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# Apache httpd before Jackline; for 2.4. FOLDER is one that you may write to:
#   apache2 -d FOLDER -f THIS_FILE -t               checks it
#   apache2 -d FOLDER -f THIS_FILE -DFOREGROUND     (as root also -C 'User www-data' -C 'Group www-data')
# The modules' folder is Debian's. The program is called httpd elsewhere.

LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
[tls] LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
[tls] LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
# No mod_deflate: where text/event-stream is among its types it holds entries back.
# No mod_cache: it could give one person's stream to another.

Listen @listen@
# It wants one. It is not used: people's own goes on, see ProxyPreserveHost.
ServerName localhost
# So that it also runs for an ordinary user, from FOLDER.
DefaultRuntimeDir .
PidFile apache2.pid
ErrorLog error.log

# Each open stream keeps one thread, to its end. Beyond MaxRequestWorkers (400 by default) new ones wait until
# another one ends: it looks as if Jackline hung.
ServerLimit 16
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 2048
# A process that is replaced after so many connections would cut streams. 0 is never.
MaxConnectionsPerChild 0

# A request must have come in this time: else a few slow clients hold all threads.
RequestReadTimeout header=10 body=60
# How long a viewer may take nothing of what is there for it.
Timeout 60

# The default. On, everybody could reach other servers through this one.
ProxyRequests Off
# Else Jackline is told its own address instead of the name that was asked for.
ProxyPreserveHost On
# timeout: how long it may be silent; without it `Timeout` counts, 60 s. Jackline sends something every
#   @heartbeat@ s.
# ttl: Jackline closes unused connections after 75 s. Without it a POST goes to one that is just being closed:
#   502.
# retry: by default everybody gets 503 for a minute after a single failure to connect.
# nocanon: paths stay as they were asked for.
ProxyPass / http://@upstream@/ timeout=@idle@ connectiontimeout=5 ttl=60 retry=0 nocanon
AllowEncodedSlashes NoDecode

# What a client claims about itself ends here. Apache sets X-Forwarded-For by itself; Jackline believes it of proxies
# in its setting `trusted_proxies`, else all viewers count as one address.
RequestHeader unset X-Forwarded-For early
RequestHeader set X-Forwarded-Proto @scheme@

# Apache notices that a viewer has left when it writes to it next: with the heartbeats, after @heartbeat@ s.
[tls]
[tls] # HTTP/1.1: a browser has six connections to a server, the seventh stream hangs. Where pages watch many
[tls] # runs, take a proxy with HTTP/2.
[tls] SSLEngine on
[tls] SSLCertificateFile @certificate@
[tls] SSLCertificateKeyFile @key@
[tls] SSLProtocol -all +TLSv1.2 +TLSv1.3
[tls] SSLSessionCache shmcb:ssl_scache(512000)
"""


def apache(wish: Wish) -> str:
    """A whole httpd.conf."""
    return fill(_TEXT, wish)
