"""The page in a person's browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def can_show(environ: Mapping[str, str], *, terminal: bool | None = None) -> bool:
    """Whether somebody started this at a terminal and sits before a display of this machine: through SSH a
    browser would come up here, or crawl over the network. `terminal`: of stdout, if not given."""
    if not (sys.stdout.isatty() if terminal is None else terminal) or environ.get("SSH_CONNECTION"):
        return False
    if sys.platform == "darwin":
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def show(address: str) -> bool:
    """Open it; whether there is a program for that. What a browser writes to its terminal is not for here,
    and Ctrl-C here does not end it."""
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is None:
        return False
    opener = subprocess.Popen(  # noqa: S603 - the system's own opener, our own address
        [program, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # It may be the browser itself and live for days: it is waited for, and keeps nobody from leaving.
    threading.Thread(target=opener.wait, name="browser", daemon=True).start()
    return True
