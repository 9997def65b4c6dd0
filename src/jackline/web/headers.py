"""The headers that keep proxies from spoiling a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

CACHE_CONTROL: Final = (
    # A cache replays one client's stream to another.
    ("no-store", "no-store, no-cache"),
    # Compressors that obey it do not hold events back. NGINX obeys only X-Accel-Buffering.
    ("no-transform", "no-transform"),
)


def stream_headers(
    *,
    identity: bool,
    without: Collection[Literal["no-store", "no-transform", "x-accel-buffering"]] = (),
) -> list[tuple[bytes, bytes]]:
    """What every stream says of itself. `identity`: with a `Content-Encoding` too; `without`: what to leave
    out, to see whether a path works without it."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    cache = ", ".join(words for name, words in CACHE_CONTROL if name not in without)
    if cache:
        headers.append((b"cache-control", cache.encode()))
    if "x-accel-buffering" not in without:
        headers.append((b"x-accel-buffering", b"no"))
    if identity:
        headers.append((b"content-encoding", b"identity"))
    return headers
