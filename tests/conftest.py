"""What every test may use."""

from __future__ import annotations

import pytest

from tests.support.shots import SHOTS


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the product does."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the pictures of the page are, when there are new ones."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    if any("tests/page/" in getattr(report, "nodeid", "") for report in reports):
        terminalreporter.write_line(f"Pictures of the page to look at: {SHOTS}")
