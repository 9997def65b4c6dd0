"""The command line. Importing this imports nothing: `jackline --help` must not pay for a server."""

from __future__ import annotations


def main() -> None:
    """The `jackline` command. Exits with 0 completed, 1 failed, 2 usage, 3 stopped, 4 not reachable;
    130 where it was interrupted and the run goes on."""
    from jackline.cli.app import app

    app()
