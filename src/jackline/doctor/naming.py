"""Which proxy it may be: a score by what it says of itself and by its ways, never a certainty. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jackline.doctor.finding import Guess
from jackline.doctor.shape import shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.doctor.record import Measurements

_Rule = tuple[str, str, str, float]
"""A proxy, a header, a pattern of its value, and how much that says."""

_ANSWERS: Final[Sequence[_Rule]] = (
    ("nginx", "server", r"^nginx", 0.8),
    ("nginx", "server", r"^openresty", 0.8),
    ("caddy", "server", r"^caddy", 0.9),
    ("caddy", "via", r"caddy", 0.9),
    ("istio", "server", r"^istio-envoy", 0.95),
    ("envoy", "server", r"^envoy", 0.9),
    ("envoy", "x-envoy-upstream-service-time", r"", 0.8),
    ("apache", "server", r"^apache", 0.9),
    ("lighttpd", "server", r"^lighttpd", 0.9),
    ("squid", "via", r"squid", 0.9),
    ("squid", "x-squid-error", r"", 0.9),
    ("squid", "x-cache-lookup", r"", 0.6),
    ("varnish", "via", r"varnish", 0.9),
    ("varnish", "x-varnish", r"", 0.9),
    ("mitmproxy", "server", r"^mitmproxy", 0.9),
    ("express", "x-powered-by", r"^express", 0.7),
    ("next", "x-powered-by", r"^next", 0.8),
    ("cloudflare", "cf-ray", r"", 0.95),
    ("cloudflare", "server", r"^cloudflare", 0.9),
    ("cloudfront", "x-amz-cf-id", r"", 0.95),
    ("api-gateway", "x-amz-apigw-id", r"", 0.95),
    ("api-gateway", "apigw-requestid", r"", 0.95),
    ("aws-alb", "server", r"^awselb", 0.9),
    ("gcp", "via", r"google", 0.9),
    ("azure", "x-azure-ref", r"", 0.95),
    ("heroku", "via", r"vegur|heroku", 0.95),
    ("fly", "fly-request-id", r"", 0.95),
)
"""What stands in answers."""

_REQUESTS: Final[Sequence[_Rule]] = (
    ("envoy", "x-envoy-expected-rq-timeout-ms", r"", 0.9),
    ("envoy", "x-envoy-internal", r"", 0.6),
    ("istio", "x-envoy-attempt-count", r"", 0.4),
    ("varnish", "x-varnish", r"", 0.95),
    ("squid", "via", r"squid", 0.9),
    ("apache", "x-forwarded-server", r"", 0.4),
    ("traefik", "x-forwarded-server", r"", 0.5),
    ("traefik", "x-real-ip", r"", 0.2),
    ("nginx", "x-real-ip", r"", 0.1),
    ("caddy", "via", r"caddy", 0.9),
    ("cloudflare", "cf-connecting-ip", r"", 0.95),
    ("aws-alb", "x-amzn-trace-id", r"", 0.7),
    ("gcp", "x-cloud-trace-context", r"", 0.8),
    ("azure", "x-appgw-trace-id", r"", 0.95),
    ("azure", "x-arr-ssl", r"", 0.8),
    ("fly", "fly-client-ip", r"", 0.95),
    ("heroku", "x-request-start", r"", 0.2),
    ("lighttpd", "x-forwarded-for", r"", 0.05),
)
"""What a proxy adds to requests."""

_PROVOKED: Final[Sequence[tuple[str, str, float]]] = (
    ("nginx", r"<center>nginx", 0.9),
    ("haproxy", r"Your browser sent an invalid request\.", 0.9),
    ("caddy", r"Server: Caddy", 0.9),
    ("apache", r"Apache", 0.6),
    ("squid", r"squid", 0.8),
    ("lighttpd", r"lighttpd", 0.8),
    ("traefik", r"400 Bad Request: (malformed Host header|missing required Host header)", 0.4),
    ("caddy", r"400 Bad Request: (malformed Host header|missing required Host header)", 0.3),
    ("envoy", r"^HTTP/1\.1 400 Bad Request\r\n(?:[^\r]+\r\n)*content-length: 0\r\n", 0.4),
)
"""What answers a request that was wrong on purpose."""

_LEAST: Final = 0.1


def guesses(measured: Measurements) -> list[Guess]:
    """The candidates, the likeliest first."""
    said: list[tuple[str, float, str]] = []
    for rules, headers, where in (
        (_ANSWERS, _answered(measured), "the answers have"),
        (_REQUESTS, measured.echo.arrived, "it adds to requests"),
    ):
        for name, header, pattern, weight in rules:
            values = [value for known, value in headers if known == header]
            if values and re.search(pattern, values[0], re.IGNORECASE):
                said.append(
                    (name, weight, f"{where} {header}" + (f": {values[0][:60]}" if values[0] else ""))
                )
    for name, pattern, weight in _PROVOKED:
        if re.search(pattern, measured.provoked, re.IGNORECASE | re.MULTILINE):
            said.append((name, weight, "of how it answers a bad request"))
    said += _ways(measured)
    found: dict[str, tuple[float, list[str]]] = {}
    for name, weight, why in said:
        doubt, because = found.get(name, (1.0, []))
        found[name] = (doubt * (1 - weight), [*because, *([why] if why not in because else [])])
    ranked = [
        Guess(name=name, score=round(1 - doubt, 2), because=because)
        for name, (doubt, because) in found.items()
        if 1 - doubt >= _LEAST
    ]
    return sorted(ranked, key=lambda guess: -guess.score)


def accel_stripped(measured: Measurements) -> bool:
    """Whether X-Accel-Buffering was sent and does not arrive."""
    answers = [stream for stream in measured.streams if stream.status == 200 and not stream.without]  # noqa: PLR2004
    return bool(answers) and not any(stream.header("x-accel-buffering") for stream in answers)


def _answered(measured: Measurements) -> list[tuple[str, str]]:
    """The headers of all answers."""
    return [*measured.echo.headers, *(pair for stream in measured.streams for pair in stream.headers)]


def _ways(measured: Measurements) -> list[tuple[str, float, str]]:
    """What it does rather than says."""
    found: list[tuple[str, float, str]] = []
    headers = dict(_answered(measured))
    sizes = [size for stream in measured.streams for size in stream.sizes if int(size, 16)]
    silent = "server" not in headers and "via" not in headers
    if any(size.startswith("0") for size in sizes):
        found.append(("varnish", 0.5, "its chunk sizes have leading zeros"))
        found.append(("lighttpd", 0.3, "its chunk sizes have leading zeros"))
    elif any(size.upper() == size and size.lower() != size for size in sizes):
        found.append(("haproxy", 0.6 if silent else 0.2, "its chunk sizes are in upper case"))
        found.append(("squid", 0.2, "its chunk sizes are in upper case"))
    if accel_stripped(measured):
        found.append(("nginx", 0.5, "X-Accel-Buffering does not arrive"))
    get = measured.stream("get")
    if get is not None and get.status is not None:
        if silent and shape_of(get) == "held":
            found.append(("haproxy", 0.4, "events are held for 200 ms"))
        if measured.echo.http == "1.0":
            found.append(("nginx", 0.3, "it speaks HTTP/1.0 to the server"))
    return found
