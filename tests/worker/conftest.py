"""What the tests of workers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def _no_log_lines() -> Iterator[None]:
    """Agents fail a lot here; to render their tracebacks would take most of the tests' time."""
    with capture_logs():
        yield
