"""The command line. Importing this imports nothing: `jackline --help` must not pay for a server.

`app.py` has the commands and their options, `running.py` what runs a client's command. What they do:
`orders.py` (chat, tail, decide, stop), `lists.py`, `records.py`. A run is watched by `watch.py`, which reads
its frames and the person (`keyboard.py`, `dialog.py`, `signals.py`), shows both in a `View` (`view.py`;
`text_view.py`, `live_view.py`), and sends by `outbox.py`; a list by `board.py`.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The `jackline` command. Exits with 0 completed, 1 failed, 2 usage, 3 stopped, 4 not reachable;
    130 where it was interrupted and the run goes on."""
    _open_what_is_closed()
    from jackline.cli.app import app

    app()


def _open_what_is_closed() -> None:
    """Where stdin, stdout or stderr is closed (`>&-`) Python has none, and the next file would get its
    number: a socket, into which whoever says something would write."""
    for name, flags, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_WRONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, flags)
            os.set_inheritable(file, True)
            setattr(sys, name, os.fdopen(file, mode, encoding="utf-8", closefd=False))
