"""NGINX."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_IDLE_SECONDS = 3600
"""How long a stream may be silent: an hour, or what a slow heartbeat needs."""


def nginx(wish: Wish) -> str:
    """A whole nginx.conf."""
    host, port = wish.listen
    listen = f"listen {host}:{port}" + (" ssl" if wish.tls else "")
    tls = f"    ssl_certificate {wish.tls[0]};\n    ssl_certificate_key {wish.tls[1]};\n" if wish.tls else ""
    idle = max(_IDLE_SECONDS, ceil(4 * wish.heartbeat))
    upstream = "{}:{}".format(*wish.upstream)
    return f"""\
# nginx -p FOLDER -c THIS_FILE, FOLDER being one that you may write to.
events {{}}
http {{
  upstream jackline {{
    server {upstream};
    # Below Jackline's own 75 s: else a POST may go to a connection that is just being closed (502).
    keepalive_timeout 60s;
    keepalive 32;
  }}
  server {{
    {listen};
{tls}    location / {{
      proxy_pass http://jackline;
      # With HTTP/1.0, the default before 1.29.7, the answer comes in blocks of 4 KiB.
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      # A cache would give one person's stream to another.
      proxy_cache off;
      # With SSE among its types it holds everything back to the end.
      gzip off;
      # 60 s by default, from one entry or heartbeat to the next.
      proxy_read_timeout {idle}s;
      send_timeout 60s;
      # A start would be sent to a second upstream when the first fails.
      proxy_next_upstream off;
      proxy_set_header Host $host;
    }}
  }}
}}
"""
