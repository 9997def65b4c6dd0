"""A Slack, a server and a bridge between them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.blackbox.conftest import World, world
from tests.slack.bridge import BridgeProcess, bridge
from tests.slack.stand_in import StandIn, slack_in_thread


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server without keys, for all tests of a process."""
    with world(tmp_path_factory.mktemp("slack-server")) as made:
        yield made


@pytest.fixture
def slack() -> Generator[StandIn]:
    with slack_in_thread() as made:
        yield made
        assert made.pinged == [], "nothing may ping anybody"


@pytest.fixture
def bridged(slack: StandIn, server: World, tmp_path: Path) -> Generator[BridgeProcess]:
    """A bridge between the two."""
    with bridge(slack, server.server.url, tmp_path) as made:
        yield made
