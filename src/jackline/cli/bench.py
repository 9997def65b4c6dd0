"""`jackline bench …`: benchmarks, on servers of their own and on one that runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from jackline.bench.stop import bench_stop
from jackline.cli import exits
from jackline.client.errors import ClientError
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jackline.bench.viewers import Wish


class _Report(Protocol):
    def as_json(self) -> dict[str, Any]: ...

    def in_words(self) -> list[str]: ...


def stop(*, runs: int, redis: str | None, sqlite: bool, as_json: bool) -> int:
    """Measure how long stops take. The exit code."""

    async def measure() -> _Report:
        return await bench_stop(runs=runs, redis=redis, sqlite=sqlite)

    return _print(measure, as_json=as_json)


def viewers(wish: Wish, *, url: str, token: str | None, as_json: bool) -> int:
    """Measure what a running server delivers. The exit code."""
    from jackline.bench.viewers import bench_viewers

    async def measure() -> _Report:
        return await bench_viewers(wish, url=url, token=token)

    return _print(measure, as_json=as_json)


def _print(measure: Callable[[], Awaitable[_Report]], *, as_json: bool) -> int:
    try:
        report = anyio.run(measure)
    except ConfigError as error:
        print(f"jackline: {error}", file=sys.stderr)
        return exits.USAGE
    except ClientError as error:
        text, code = exits.explain(error)
        print(f"jackline: {text}", file=sys.stderr)
        return code
    if as_json:
        print(json.dumps(report.as_json(), separators=(",", ":")))
    else:
        print("\n".join(report.in_words()))
    return exits.COMPLETED
