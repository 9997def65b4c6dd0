"""`jackline slack` as a process, between a stand-in for Slack and a server."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.slack.slack_side import APP_TOKEN, BOT_TOKEN
from tests.slack.stand_in import StandIn
from tests.support.processes import Process, clean_environment, eventually, start

CONNECTED = "connected to slack"


@dataclass(kw_only=True)
class BridgeProcess:
    """The process; `env` may be changed before it is started again."""

    args: list[str]
    env: dict[str, str]
    log_path: Path
    stack: contextlib.ExitStack
    starts: int = 0
    process: Process = field(init=False)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def launch(self, *, wait: bool = True) -> None:
        """Start it; wait until it is connected."""
        before = self.log().count(CONNECTED)
        self.process = self.stack.enter_context(start(self.args, log_path=self.log_path, env=self.env))
        if wait:
            eventually(lambda: self._ready(before), what="the bridge is connected")

    def _ready(self, before: int) -> bool:
        assert self.process.running, f"the bridge has exited:\n{self.log()}"
        return self.log().count(CONNECTED) > before

    def kill(self) -> None:
        """`kill -9`."""
        self.process.end()


@contextlib.contextmanager
def bridge(
    slack: StandIn,
    url: str,
    path: Path,
    *,
    users: Mapping[str, str] | None = None,
    name: str = "bridge",
    **env: str,
) -> Generator[BridgeProcess]:
    """A bridge for the length of the block. `users`: Slack users and their API keys; ana and bob act for a
    server without keys if none are given."""
    settings = {
        "JACKLINE_SLACK_APP_TOKEN": APP_TOKEN,
        "JACKLINE_SLACK_BOT_TOKEN": BOT_TOKEN,
        "JACKLINE_SLACK_URL": slack.url,
        "JACKLINE_SLACK_USERS": json.dumps(users or {"UANA": "", "UBOB": ""}),
        "JACKLINE_SLACK_DB": str(path / "slack.db"),
        "JACKLINE_SLACK_RATE": str(slack.rate),
        "JACKLINE_PUBLIC_URL": "https://jackline.example",
        "JACKLINE_URL": url,
    }
    with contextlib.ExitStack() as stack:
        process = BridgeProcess(
            args=[sys.executable, "-W", "error", "-m", "jackline", "slack"],
            env=clean_environment(**settings) | env,
            log_path=path / f"{name}.log",
            stack=stack,
        )
        process.launch()
        yield process
