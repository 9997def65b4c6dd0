"""What runs in Kubernetes: the resources to apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill
from jackline.proxies.wish import is_address

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_ENVOYS_STREAM_IDLE: Final = 300
"""Seconds of silence after which Envoy cuts a stream by default; Istio has no resource of its own for it."""

_ISTIO_NAMESPACE: Final = "istio-system"

_HEAD: Final = """\
#   kubectl apply -f THIS_FILE
# @service@ is the Service of your web processes (--upstream SERVICE.NAMESPACE:PORT), @host@ the name that people
# ask for (--listen NAME:PORT). The network of the proxy's pods belongs into Jackline's setting `trusted_proxies`, else
# all viewers count as one address. Written from the vendor's documentation; not run here.
[tls] # The certificate lies in a Secret:
[tls] #   kubectl create secret tls jackline-tls --namespace @secrets@ --cert=@certificate@ --key=@key@
"""

_INGRESS_NGINX: Final = (
    """\
# ingress-nginx before Jackline. It is retired since March 2026 and gets no more fixes; for something new see
# nginx-gateway-fabric, envoy, traefik or contour. The port is the controller's own, not @listen_port@.
"""
    + _HEAD
    + """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: jackline
  namespace: @namespace@
  annotations:
    # How long a stream may be silent; 60 s by default. Jackline sends something every @heartbeat@ s.
    nginx.ingress.kubernetes.io/proxy-read-timeout: "@idle@"
    # Three tries by default. With `non_idempotent` a POST is one of them: two runs are started.
    nginx.ingress.kubernetes.io/proxy-next-upstream: "off"
    # Both are the defaults; they hold where the controller's ConfigMap says otherwise. With HTTP/1.0 entries come
    # in blocks of 4 KiB, with buffering answers without chunks do.
    nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
    nginx.ingress.kubernetes.io/proxy-buffering: "off"
    # 1m by default; a body above Jackline's own limit gets Jackline's answer, which says so in JSON.
    nginx.ingress.kubernetes.io/proxy-body-size: 8m
    # proxy-send-timeout is about sending the request: it does nothing for streams.
spec:
  ingressClassName: nginx
[tls]   tls:
[tls]     # With TLS browsers speak HTTP/2. Without it they have six connections to a server.
[tls]     - hosts: [@host@]
[tls]       secretName: jackline-tls
  rules:
    - host: @host@
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: @service@
                port: {number: @upstream_port@}
# Every change of any Ingress reloads NGINX; the old processes cut what is still open after so long, 240s by default.
# Clients come back by themselves, all at once. It is a setting of the controller's own ConfigMap, for all Ingresses
# of the cluster. So nothing here sets it; this does, and leaves the ConfigMap's other keys as they are:
#   kubectl -n ingress-nginx patch configmap ingress-nginx-controller --type merge \\
#     -p '{"data": {"worker-shutdown-timeout": "@idle@s"}}'
# Two more of its keys matter where they were changed: text/event-stream must not be among `gzip-types`, or everything
# comes at the end; and `upstream-keepalive-timeout`, 60 s by default, must stay below the 75 s after which Jackline
# closes unused connections, or a POST goes to one that is just being closed: 502.
"""
)

_NGINX_GATEWAY_FABRIC: Final = (
    """\
# NGINX Gateway Fabric before Jackline.
"""
    + _HEAD
    + """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: jackline
  namespace: @namespace@
spec:
  gatewayClassName: nginx
  listeners:
    - name: front
      port: @listen_port@
[plain]       protocol: HTTP
[tls]       protocol: HTTPS
      hostname: @host@
[tls]       # With TLS browsers speak HTTP/2. Without it they have six connections to a server.
[tls]       tls:
[tls]         mode: Terminate
[tls]         certificateRefs:
[tls]           - {kind: Secret, name: jackline-tls}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: jackline
  namespace: @namespace@
spec:
  parentRefs:
    - {name: jackline, sectionName: front}
  hostnames: [@host@]
  rules:
    # No `timeouts.request`: it caps the whole life of an answer, heartbeats or not.
    - matches:
        - path: {type: PathPrefix, value: /}
      backendRefs:
        - {name: @service@, port: @upstream_port@}
---
apiVersion: gateway.nginx.org/v1alpha1
kind: ProxySettingsPolicy
metadata:
  name: jackline
  namespace: @namespace@
spec:
  targetRefs:
    - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: jackline}
  buffering:
    # On by default. Answers without chunks come in blocks of 4 KiB.
    disable: true
  timeout:
    # How long a stream may be silent; 60 s by default. Jackline sends something every @heartbeat@ s. A version that
    # does not know `timeout` needs a SnippetsFilter with proxy_read_timeout.
    read: @idle@s
---
apiVersion: gateway.nginx.org/v1alpha1
kind: UpstreamSettingsPolicy
metadata:
  name: jackline
  namespace: @namespace@
spec:
  targetRefs:
    - {group: core, kind: Service, name: @service@}
  # New streams go where the fewest are.
  loadBalancingMethod: least_conn
  keepAlive:
    connections: 32
    # Jackline closes unused connections after 75 s. Longer than that, and a POST goes to one that is just being
    # closed: 502.
    timeout: 60s
---
apiVersion: gateway.nginx.org/v1alpha1
kind: ClientSettingsPolicy
metadata:
  name: jackline
  namespace: @namespace@
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: jackline}
  body:
    # 1m by default; a body above Jackline's own limit gets Jackline's answer, which says so in JSON.
    maxSize: 8m
"""
)

_ISTIO: Final = (
    """\
# Istio before Jackline.
"""
    + _HEAD
    + """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: jackline
  namespace: @namespace@
spec:
  selector: {istio: ingressgateway}
  servers:
    - port:
        number: @listen_port@
        name: front
[plain]         protocol: HTTP
[tls]         protocol: HTTPS
      hosts: ["@host@"]
[tls]       # With TLS browsers speak HTTP/2. Without it they have six connections to a server.
[tls]       tls: {mode: SIMPLE, credentialName: jackline-tls}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: jackline
  namespace: @namespace@
spec:
  hosts: ["@host@"]
  gateways: [jackline]
  http:
    - route:
        - destination:
            host: @service@
            port: {number: @upstream_port@}
      # For the whole answer, heartbeats or not. 0s is no limit, and the default; this holds where somebody set one.
      timeout: 0s
      # Two retries by default, of connections that failed and of 503. A POST of Jackline's must be sent once.
      retries: {attempts: 0}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: jackline
  namespace: @namespace@
spec:
  host: @service@
  trafficPolicy:
    # New streams go where the fewest are.
    loadBalancer: {simple: LEAST_REQUEST}
    connectionPool:
      # Jackline closes unused connections after 75 s. Istio would keep them for an hour: a POST then goes to one
      # that is just being closed, and gets 503.
      http: {idleTimeout: 60s}
"""
)

_ISTIO_QUIET: Final = """\
# A stream that is silent for 5 minutes is cut (stream_idle_timeout). Jackline sends something every
# @heartbeat@ s, so nothing has to be set.
"""

_ISTIO_SLOW: Final = """\
---
# A stream that is silent for 5 minutes is cut. With a heartbeat every @heartbeat@ s that is not enough.
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: jackline
  namespace: istio-system
spec:
  workloadSelector:
    labels: {istio: ingressgateway}
  configPatches:
    - applyTo: NETWORK_FILTER
      match:
        context: GATEWAY
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
      patch:
        operation: MERGE
        value:
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            stream_idle_timeout: @idle@s
"""

_CONTOUR: Final = (
    """\
# Contour before Jackline. The port is that of Contour's own Envoy, not @listen_port@.
"""
    + _HEAD
    + """\
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata:
  name: jackline
  namespace: @namespace@
spec:
  virtualhost:
    fqdn: @host@
[tls]     # With TLS browsers speak HTTP/2. Without it they have six connections to a server.
[tls]     tls: {secretName: jackline-tls}
  routes:
    - conditions:
        - prefix: /
      timeoutPolicy:
        # The one that matters. 15 s by default for the whole answer: every stream is cut after that, heartbeats or
        # not. `0s` is the default here, not "no limit".
        response: infinity
        # A stream that is silent for so long is cut; 5 minutes by default. Jackline sends something every
        # @heartbeat@ s.
        idle: @idle@s
        # Jackline closes unused connections after 75 s. Contour would keep them for an hour: a POST then goes to one
        # that is just being closed, and gets 503.
        idleConnection: 60s
      # Off, also where a default says otherwise: a POST of Jackline's must be sent once.
      retryPolicy: {count: -1}
      # New streams go where the fewest are.
      loadBalancerPolicy: {strategy: WeightedLeastRequest}
      # A web process that ends says so here first; /healthz would send new viewers to it to the last.
      healthCheckPolicy:
        path: /readyz
        intervalSeconds: 2
        timeoutSeconds: 2
        unhealthyThresholdCount: 2
        healthyThresholdCount: 1
      services:
        - {name: @service@, port: @upstream_port@}
"""
)


def ingress_nginx(wish: Wish) -> str:
    """An Ingress; what belongs to the whole cluster is only told."""
    return fill(_INGRESS_NGINX, wish, **_names(wish))


def nginx_gateway_fabric(wish: Wish) -> str:
    """A Gateway, an HTTPRoute and the policies that belong to them."""
    return fill(_NGINX_GATEWAY_FABRIC, wish, **_names(wish))


def istio(wish: Wish) -> str:
    """A Gateway, a VirtualService and a DestinationRule; an EnvoyFilter where the heartbeat is slow."""
    rest = _ISTIO_SLOW if wish.least > _ENVOYS_STREAM_IDLE else _ISTIO_QUIET
    # A gateway of Istio's looks for its certificates where it runs itself.
    return fill(_ISTIO + rest, wish, **_names(wish) | {"secrets": _ISTIO_NAMESPACE})


def contour(wish: Wish) -> str:
    """An HTTPProxy."""
    return fill(_CONTOUR, wish, **_names(wish))


def _names(wish: Wish) -> dict[str, str]:
    """What stands for the addresses of the wish: no Service is called by an address, and no rule has one."""
    upstream, listen = wish.upstream[0], wish.listen[0]
    service, _, rest = ("jackline" if is_address(upstream) else upstream).partition(".")
    host = "jackline.example.com" if is_address(listen) or listen == "localhost" else listen
    namespace = rest.partition(".")[0] or "default"
    return {"service": service, "namespace": namespace, "secrets": namespace, "host": host}
