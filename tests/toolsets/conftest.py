from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from jackline.mcp import ServerConfig


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Where the probe server leaves its traces."""
    directory = tmp_path / "traces"
    directory.mkdir()
    return directory


@pytest.fixture
def probe(traces: Path) -> ServerConfig:
    """The probe server, its tools prefixed."""
    return ServerConfig(
        name="probe",
        command=sys.executable,
        args=(str(Path(__file__).with_name("server.py")), str(traces)),
        env={"PATH": os.environ["PATH"], "GIVEN": "to the server"},
        prefix="probe_",
    )
