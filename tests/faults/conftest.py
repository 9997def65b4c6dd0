"""What the tests under faults share."""

from __future__ import annotations

import pytest

from tests.support.processes import COMPILED


@pytest.fixture(autouse=True)
def _quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are started by a supervisor have the tests' own environment."""
    for name, value in COMPILED.items():
        monkeypatch.setenv(name, value)
