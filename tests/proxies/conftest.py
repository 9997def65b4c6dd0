"""A Jackline for the proxies, and the proxies before it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import pytest

from jackline.proxies import Wish
from tests.blackbox.conftest import World, world
from tests.proxies.case import Case
from tests.proxies.cases import CASES, ORDER
from tests.proxies.documented import TAIL
from tests.proxies.facts import HEARTBEAT, Place
from tests.proxies.matrix import Column, Row, record
from tests.proxies.origin import origin
from tests.proxies.programs import running
from tests.support.processes import HOST, free_port


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server whose heartbeats come often enough for any limit here."""
    with world(
        tmp_path_factory.mktemp("lively"), JACKLINE_HEARTBEAT=str(HEARTBEAT), JACKLINE_PROBES="true"
    ) as made:
        yield made


@contextlib.contextmanager
def before(behind: World, case: Case, *, scaled: bool = False) -> Generator[Place]:
    """The proxy of a case before a server. `scaled`: for a test of silence, with the times of one."""
    mute = scaled and case.quiet
    with origin(behind.port, strip=case.strip, mute=mute, gather=case.gather) as upstream:
        if case.program is None:
            yield Place(world=behind, port=upstream.port, restart=upstream.cut)
            return
        port = free_port()
        wish = Wish(upstream=(HOST, upstream.port), listen=(HOST, port))
        with running(case.program, case.written(wish, scaled=scaled), port) as proxy:
            yield Place(world=behind, port=port, restart=proxy.restart)


@pytest.fixture(scope="module", params=CASES, ids=[case.id for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def place(case: Case, lively: World) -> Generator[Place]:
    """The proxy with its configuration, as it is."""
    with before(lively, case) as made:
        yield made


@pytest.fixture
def holds(case: Case) -> Callable[[Column, str], None]:
    """Writes down what was found out, and fails where that is not what is expected."""

    def check(column: Column, found: str) -> None:
        name, setting = case.key
        row = Row(proxy=name, configuration=setting, version=case.version, cells={column: found})
        stood = record(row, ORDER, TAIL)
        assert found == case.expects(column)
        assert stood is not None, "the table had no such row; it has now"
        assert stood.cells[column] == found, "the table said something else; it says this now"

    return check
