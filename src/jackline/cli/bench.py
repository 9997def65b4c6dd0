"""`jackline bench …`: benchmarks on servers of their own."""

from __future__ import annotations

import json
import sys

import anyio

from jackline.bench.stop import Report, bench_stop
from jackline.cli import exits
from jackline.client.errors import ClientError
from jackline.errors import ConfigError


def stop(*, runs: int, redis: str | None, sqlite: bool, as_json: bool) -> int:
    """Measure how long stops take. The exit code."""

    async def measure() -> Report:
        return await bench_stop(runs=runs, redis=redis, sqlite=sqlite)

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
