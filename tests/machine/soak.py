"""`python -m tests.machine.soak SEED EXAMPLES`: one round of `scripts/soak`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.contract.redis_server import redis_server
from tests.machine.machine import explore

if __name__ == "__main__":
    with TemporaryDirectory() as folder, redis_server(Path(folder), aof="always") as server:
        explore(server, int(sys.argv[1]), int(sys.argv[2]))
