"""`python -m jackline.demo [--dir DIRECTORY]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jackline.demo.scratch import Refused, Scratch, default_directory
from jackline.demo.server import build


def main() -> int:
    """Serve MCP on stdin and stdout until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m jackline.demo", description="The demo's MCP server.")
    parser.add_argument("--dir", type=Path, default=None, help="scratch directory, made if missing")
    given: Path | None = parser.parse_args().dir
    try:
        scratch = Scratch(given or default_directory())
    except (Refused, OSError) as error:
        sys.stderr.write(f"jackline demo: {error}\n")
        return 1
    build(scratch).run("stdio")
    return 0


if __name__ == "__main__":
    sys.exit(main())
