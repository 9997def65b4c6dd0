"""The page's modules, run in Node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.node import NODE
from tests.ui.logs import RUN, Frame

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Model:
    """The page's fold of a run, in a Node of its own."""

    process: subprocess.Popen[str]

    def fold(self, frames: Sequence[Frame], *, run_id: str = RUN, now: float | None = None) -> dict[str, Any]:
        """What these frames come to. `now`: in ms, for what still lasts."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"runId": run_id, "frames": frames, "now": now}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "Node ended"
        return json.loads(line)


@contextmanager
def model() -> Generator[Model]:
    """A Node that folds."""
    with subprocess.Popen(
        [NODE, HERE / "model_driver.mjs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield Model(process=process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)
