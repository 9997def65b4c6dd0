"""`python -m benchmarks`: what scripts/bench runs once everything is built."""

from __future__ import annotations

import sys

from benchmarks.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
