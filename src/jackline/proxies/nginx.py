"""NGINX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# NGINX before Jackline; for 1.22 and later. FOLDER is one that you may write to:
#   nginx -p FOLDER/ -c THIS_FILE -e stderr -g 'daemon off; pid nginx.pid;'
# In an NGINX that you have already, only `upstream` and `server` are wanted.

worker_processes auto;
# Streams live long. Without a worker_shutdown_timeout a reload lets those that are open finish; with one
# it cuts them (clients come back by themselves).

events {
  # A stream takes two. Beyond half of it (the default is 512, for each worker) further connections are closed
  # without an answer. The limit of open files (ulimit -n) must be above it.
  worker_connections 4096;
}

http {
  # So that it also runs for an ordinary user, from FOLDER.
  access_log access.log;
  client_body_temp_path client_body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;

  upstream jackline {
    # One line for each web process. max_fails=0: else one run that fails early takes a good server out of
    # service for 10 s, and with it everybody's streams.
    server @upstream@ max_fails=0;
    # Connections to Jackline are used again, but only while it certainly keeps them: it closes them after
    # 75 s. Longer than that, and a POST goes to one that is just being closed: 502.
    keepalive 32;
    keepalive_timeout 60s;
  }

  server {
[plain]     listen @listen@;
[tls]     # Without HTTP/2 a browser has six connections to a server, ordinary requests included: the seventh
[tls]     # stream hangs. (From 1.25.1 on `http2 on;` says the same; this way works with all.)
[tls]     listen @listen@ ssl http2;
[tls]     ssl_certificate @certificate@;
[tls]     ssl_certificate_key @key@;
[tls]     ssl_protocols TLSv1.2 TLSv1.3;

    # NGINX's own limit is 1m. A body above Jackline's `max_body` gets Jackline's answer, which says so in JSON.
    client_max_body_size 8m;

    location / {
      # Without a path behind the name: with one, NGINX writes paths anew.
      proxy_pass http://jackline;

      # The one that matters. With HTTP/1.0, the default before 1.29.7, entries come in blocks of 4 KiB,
      # seconds or minutes late.
      proxy_http_version 1.1;
      # Else `Connection: close` is sent, and no connection is ever used again.
      proxy_set_header Connection "";
      # For answers without chunks, which are held back with HTTP/1.1 too. Jackline asks for it by itself with
      # X-Accel-Buffering; this holds where something drops that header (proxy_ignore_headers).
      proxy_buffering off;
      # A cache gives one person's stream to another, in 0 ms. Jackline says no-store; this holds where
      # something ignores it.
      proxy_cache off;
      # It leaves streams alone, unless text/event-stream is among gzip_types: then everything comes at the
      # end, `no-transform` or not.
      gzip off;

      # How long it may be silent. The default is 60s; Jackline sends something every @heartbeat@ s.
      proxy_read_timeout @idle@s;
      # How long a viewer may take nothing of what is there for it: after that it is gone.
      send_timeout 60s;

      # A server that is gone costs nobody anything: the next one is asked. A POST is asked of it only while nothing
      # of it was sent. With `non_idempotent` it is sent again: two runs are started, or one answer is given twice.
      proxy_next_upstream error timeout;
      # A server that vanished without a word is noticed.
      proxy_socket_keepalive on;

      # With the port. Else Jackline is told the name `jackline`, which every foreign page could use.
      proxy_set_header Host $http_host;
      # Set, not added to: what a client claims about itself ends here. Jackline believes it of proxies in its
      # setting `trusted_proxies`; else all viewers count as one address.
      # Behind another proxy of yours: $proxy_add_x_forwarded_for, and both in `trusted_proxies`.
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;

      # Often advised for streams, and what they do:
      #   chunked_transfer_encoding on;  nothing, it is on. Off hides from clients that a stream was cut.
      #   proxy_send_timeout @idle@s;      nothing: it is about sending the request. To a viewer: send_timeout.
      #   proxy_buffering off;           alone, with HTTP/1.0, it helps, but see proxy_http_version.
      #   proxy_cache off;               nothing, unless a proxy_cache is set further out.
      #   tcp_nodelay on;                nothing, it is on.
      #   proxy_ignore_client_abort on;  leaves connections open to Jackline for viewers who have left.
      #   proxy_request_buffering off;   lets a slow client hold a connection of Jackline's with half a body.
    }
  }
}
"""


def nginx(wish: Wish) -> str:
    """A whole nginx.conf."""
    return fill(_TEXT, wish)
