"""Configurations of proxies through which streams work, as text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.errors import ConfigError
from jackline.proxies.apache import apache
from jackline.proxies.caddy import caddy
from jackline.proxies.clouds import api_gateway, aws_alb, azure, cloudflare, cloudfront, fly, gcp, heroku
from jackline.proxies.development import next_js, vite
from jackline.proxies.envoy import envoy
from jackline.proxies.haproxy import haproxy
from jackline.proxies.kubernetes import contour, ingress_nginx, istio, nginx_gateway_fabric
from jackline.proxies.lighttpd import lighttpd
from jackline.proxies.nginx import nginx
from jackline.proxies.squid import squid
from jackline.proxies.traefik import traefik
from jackline.proxies.varnish import varnish
from jackline.proxies.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["GENERATED", "NOTES", "Wish", "about", "render"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    about: str
    render: Callable[[Wish], str]


_GENERATED: Final[Mapping[str, _Text]] = {
    "nginx": _Text(about="NGINX: an nginx.conf", render=nginx),
    "ingress-nginx": _Text(about="ingress-nginx in Kubernetes: an Ingress", render=ingress_nginx),
    "nginx-gateway-fabric": _Text(
        about="NGINX Gateway Fabric in Kubernetes: a Gateway, a route, policies", render=nginx_gateway_fabric
    ),
    "haproxy": _Text(about="HAProxy: an haproxy.cfg", render=haproxy),
    "envoy": _Text(about="Envoy: an envoy.yaml", render=envoy),
    "istio": _Text(about="Istio: a Gateway, a VirtualService, a DestinationRule", render=istio),
    "contour": _Text(about="Contour: an HTTPProxy", render=contour),
    "traefik": _Text(about="Traefik: a traefik.yml, both configurations in one", render=traefik),
    "caddy": _Text(about="Caddy: a Caddyfile", render=caddy),
    "apache": _Text(about="Apache httpd: an httpd.conf", render=apache),
    "varnish": _Text(about="Varnish: a VCL", render=varnish),
    "lighttpd": _Text(about="lighttpd: a lighttpd.conf", render=lighttpd),
    "squid": _Text(about="Squid as a reverse proxy: a squid.conf", render=squid),
}
_NOTES: Final[Mapping[str, _Text]] = {
    "cloudflare": _Text(about="Cloudflare's proxy and tunnels", render=cloudflare),
    "aws-alb": _Text(about="application load balancers of AWS", render=aws_alb),
    "cloudfront": _Text(about="CloudFront", render=cloudfront),
    "api-gateway": _Text(about="API Gateway of AWS", render=api_gateway),
    "gcp": _Text(about="application load balancers of Google Cloud, Cloud Run", render=gcp),
    "azure": _Text(about="Application Gateway, Front Door, App Service", render=azure),
    "heroku": _Text(about="Heroku's router", render=heroku),
    "fly": _Text(about="Fly's proxy: a fly.toml", render=fly),
    "next": _Text(about="Next.js: rewrites in a next.config.js", render=next_js),
    "vite": _Text(about="Vite's development server: a vite.config.js", render=vite),
}
_TEXTS: Final = {**_GENERATED, **_NOTES}

GENERATED: Final = tuple(_GENERATED)
"""Those of which a whole configuration is written."""

NOTES: Final = tuple(_NOTES)
"""Those of others' making, of which it is only told what to set."""


def render(name: str, wish: Wish) -> str:
    """The configuration of the proxy `name`. Raises `ConfigError`, which names those there are, or says what
    this one cannot do."""
    return _text(name).render(wish)


def about(name: str) -> str:
    """What `render` gives for it, in a few words. Raises `ConfigError`, which names those there are."""
    return _text(name).about


def _text(name: str) -> _Text:
    text = _TEXTS.get(name)
    if text is None:
        raise ConfigError(f"there is nothing for {name!r}; there is for: {', '.join(_TEXTS)}")
    return text
