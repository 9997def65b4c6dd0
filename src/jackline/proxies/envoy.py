"""Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.errors import ConfigError
from jackline.proxies.template import fill
from jackline.proxies.wish import is_address

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_TEXT: Final = """\
# Envoy before Jackline; for 1.30 and later. This file's name must end in .yaml.
#   envoy --mode validate -c THIS_FILE     checks it
#   envoy -c THIS_FILE --disable-hot-restart
# Envoy ends at once on SIGTERM and cuts what is open; clients come back by themselves.
static_resources:
  listeners:
    - name: front
      address:
        socket_address: {address: "@listen_host@", port_value: @listen_port@}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: front
                # Else clients from outside may set Envoy's own x-envoy-… headers, retries among them.
                use_remote_address: true
                # A stream that is silent for so long is cut; 5 minutes by default. Jackline sends something
                # every @heartbeat@ s.
                stream_idle_timeout: @idle@s
                # A request must have come whole in this time: else a few slow clients hold all connections.
                # It says nothing about the answer.
                request_timeout: 60s
                request_headers_timeout: 10s
                route_config:
                  virtual_hosts:
                    - name: jackline
                      domains: ["*"]
                      request_headers_to_add:
                        # Set, not added to: what a client claims about itself ends here. Jackline believes it of
                        # proxies in its setting `trusted_proxies`; else all viewers count as one address.
                        - header: {key: x-forwarded-for, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
                          append_action: OVERWRITE_IF_EXISTS_OR_ADD
                      routes:
                        - match: {prefix: "/"}
                          route:
                            cluster: jackline
                            # The one that matters. 15 s by default for the whole answer: every stream is cut
                            # after that, heartbeats or not. 0 is no limit.
                            timeout: 0s
                            # No retry_policy: with `retry_on: 5xx` one POST was run four times.
                http_filters:
                  # No compressor: it holds entries back.
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
[tls]           transport_socket:
[tls]             name: envoy.transport_sockets.tls
[tls]             typed_config:
[tls]               "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
[tls]               common_tls_context:
[tls]                 # Without HTTP/2 a browser has six connections to a server: the seventh stream hangs.
[tls]                 alpn_protocols: [h2, http/1.1]
[tls]                 tls_params: {tls_minimum_protocol_version: TLSv1_2}
[tls]                 tls_certificates:
[tls]                   - certificate_chain: {filename: "@certificate@"}
[tls]                     private_key: {filename: "@key@"}
  clusters:
    - name: jackline
      type: STRICT_DNS
      connect_timeout: 5s
      # New streams go where the fewest are.
      lb_policy: LEAST_REQUEST
      # One for each stream, 1024 by default: further ones, and every other request, wait until a stream ends.
      circuit_breakers:
        thresholds:
          - {max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http_protocol_options: {}}
          # Jackline closes unused connections after 75 s. Envoy would keep them for an hour: a POST then goes
          # to one that is just being closed, and gets 503.
          common_http_protocol_options: {idle_timeout: 60s}
      # A web process that ends says so here first; /healthz would send new viewers to it to the last.
      health_checks:
        - timeout: 2s
          interval: 2s
          # Else a process that has just come is looked at only once a minute.
          no_traffic_interval: 2s
          unhealthy_threshold: 2
          healthy_threshold: 1
          http_health_check: {path: /readyz}
      load_assignment:
        cluster_name: jackline
        endpoints:
          # One line for each web process.
          - lb_endpoints:
              - endpoint: {address: {socket_address: {address: "@upstream_host@", port_value: @upstream_port@}}}
"""


def envoy(wish: Wish) -> str:
    """A whole envoy.yaml. Raises `ConfigError` for a name to listen on: Envoy would not start."""
    if not is_address(wish.listen[0]):
        raise ConfigError(
            f"listen: Envoy listens on an address, not on a name like {wish.listen[0]!r}; "
            "give one, as 127.0.0.1 or 0.0.0.0"
        )
    return fill(_TEXT, wish)
