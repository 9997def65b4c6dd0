"""What is not run, because it runs on its vendor's machines or in a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Documented:
    """What the vendor's documentation says. `limit`: what cuts a stream there by default."""

    name: str
    live: str
    limit: str


DOCUMENTED: Final = (
    Documented(
        name="ingress-nginx", live="yes", limit="60 s of silence; 4 minutes after a reload, all that is open"
    ),
    Documented(name="nginx-gateway-fabric", live="yes", limit="60 s of silence"),
    Documented(name="istio", live="yes", limit="5 minutes of silence; its retries are on"),
    Documented(name="contour", live="yes", limit="15 s, heartbeats or not"),
    Documented(
        name="cloudflare",
        live="yes; a quick tunnel gives the answer to a GET at its end",
        limit="100 s of silence (newer pages: 120 s)",
    ),
    Documented(name="aws-alb", live="yes", limit="60 s of silence"),
    Documented(name="cloudfront", live="yes", limit="30 s of silence"),
    Documented(
        name="api-gateway",
        live="a REST API with the response transfer mode STREAM, else at the end",
        limit="5 minutes of silence; 15 minutes, heartbeats or not",
    ),
    Documented(name="gcp", live="yes", limit="30 s, heartbeats or not"),
    Documented(
        name="azure",
        live="Application Gateway with `enableResponseBuffering=false`, Front Door",
        limit="Application Gateway 20 s of silence, Front Door 16 to 240 s",
    ),
    Documented(name="heroku", live="yes", limit="30 s to the first byte, then 55 s of silence"),
    Documented(name="fly", live="yes", limit="60 s of silence"),
    Documented(name="next", live="yes, by `no-transform`; else its compression holds back", limit="none"),
    Documented(name="vite", live="yes", limit="none"),
)

_HEAD: Final = """
## From documentation

These are not run: what stands here is what their vendors write. `jackline doctor URL` tells what yours does.

| proxy | live? | what cuts a stream by default |
|---|---|---|
"""
TAIL: Final = _HEAD + "".join(
    f"| [{each.name}]({each.name}.md) | {each.live} | {each.limit} |\n" for each in DOCUMENTED
)
