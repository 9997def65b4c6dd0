"""Pictures of the page's main states, kept by the test run for a person to look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SHOTS: Final = Path(os.environ.get("JACKLINE_SHOTS") or Path(__file__).parents[2] / ".shots")
"""Where they are: `JACKLINE_SHOTS`, else a folder of the checkout that git ignores."""


def picture(name: str) -> Path:
    """Where the picture of this name belongs; its folder is there."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f"{name}.png"
