"""Where the server's own log lines go: stderr, one line each."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer


class Lines:
    """A stream for log lines that loses a line rather than fail: on a full disk, the log's own included, the
    server must go on, and say in its answers what is wrong (G8)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """See the class."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """See the class."""
        with suppress(OSError):
            self._stream.flush()


def configure_logs() -> None:
    """Human lines on a terminal, JSON otherwise; libraries' warnings along with ours."""
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without locals: they may hold keys and tokens.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        if not sys.stderr.isatty()
        else structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", Lines(sys.stderr))),
    )
    # What it warns of is what came to it and is no HTTP: anybody can fill a log with that. It is counted.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
