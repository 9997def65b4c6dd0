"""Serves a GGUF model with llama.cpp's OpenAI-compatible server on a free port of the loopback.

`python llama.py MODEL`: reads the key that requests must carry from the first line of stdin, writes the
server's address to stdout once it can be asked, and serves until stdin ends. A program of its own,
because generating text holds processors that the worker's loop needs.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final, cast

NAME: Final = "smollm2-135m"
CONTEXT: Final = 4096
"""Tokens of one conversation, prompt and answer together."""
PARALLEL: Final = 2
"""Answers generated at once; more wait."""
LONGEST: Final = 512
"""Tokens of one answer: a small model may otherwise go on for ever."""
QUIET: Final = -1


def main(model: str) -> int:
    """Serve until stdin ends."""
    # An extra, untyped and 100 MB: only this process has it.
    xllamacpp = cast("Any", importlib.import_module("xllamacpp"))
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [sys.stdin.readline().strip()]
    params.n_ctx = CONTEXT * PARALLEL
    params.n_parallel = PARALLEL
    params.n_predict = LONGEST
    params.verbosity = QUIET
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
