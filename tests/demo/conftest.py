from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil
import pytest

from jackline.demo.scratch import Scratch
from jackline.demo.services import Services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    """A scratch directory; what it started is killed afterwards."""
    scratch = Scratch(tmp_path / "scratch")
    yield scratch
    # By what they were started with: tests change the state files, which may name any process.
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(scratch.services) in process.cmdline():
                process.kill()


@pytest.fixture
def services(scratch: Scratch) -> Services:
    return Services(scratch)
