"""The helpers that other tests stand on."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil
import pytest

from tests.support.chromium import chromium
from tests.support.nginx import nginx, proxy
from tests.support.node import EVERYTHING, NODE, follow
from tests.support.processes import HOST, answers, eventually, eventually_async, free_port, listens, start

CHILD_IN_ITS_OWN_SESSION = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""

STREAM = (
    'retry: 1\n\nevent: ready\ndata: {"seq":0}\n\nid: 1\nevent: workflow\ndata: {"seq":1}\n\n',
    'id: 2\nevent: token\ndata: {"seq":2}\n\nevent: end\ndata: {"seq":2}\n\n',
)


class Cut(http.server.BaseHTTPRequestHandler):
    """A stream that is cut after its first entry, and goes on for who says where it was."""

    def do_GET(self) -> None:
        if self.path == "/page":
            self._send("text/html", "<title>empty</title>")
        else:
            self._send("text/event-stream", STREAM[1 if self.headers["Last-Event-ID"] == "1" else 0])

    do_POST = do_GET  # noqa: N815

    def _send(self, media_type: str, text: str) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@contextmanager
def upstream() -> Generator[str]:
    with http.server.ThreadingHTTPServer((HOST, free_port()), Cut) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_process_takes_all_its_descendants_with_it(tmp_path: Path) -> None:
    with start([sys.executable, "-c", CHILD_IN_ITS_OWN_SESSION], log_path=tmp_path / "log") as process:
        child = int(eventually(process.log))
        assert psutil.pid_exists(child)
    assert not process.running
    assert eventually(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")


def test_a_process_dies_with_the_test_run(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from tests.support.processes import eventually, start\n"
        "args = [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)']\n"
        "with start(args, log_path=Path(sys.argv[1])) as process:\n"
        "    eventually(process.log); print(process.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    args = [sys.executable, "-c", program, str(tmp_path / "log")]
    killed = subprocess.run(args, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL
    orphan = int(killed.stdout)
    assert eventually(lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie")


def test_waiting_gives_up_at_its_deadline() -> None:
    with pytest.raises(AssertionError, match="never mind"):
        eventually(lambda: False, timeout=0.01, what="never mind")


@pytest.mark.anyio
async def test_waiting_returns_what_it_waited_for() -> None:
    results = iter([None, 0, 7])

    async def condition() -> int | None:
        return next(results)

    assert await eventually_async(condition) == 7


def test_nginx_passes_a_stream_on(tmp_path: Path) -> None:
    port = free_port()
    with upstream() as origin:
        with nginx(tmp_path / "nginx", proxy(port, origin), port):
            assert answers(port, "/")
        assert not listens(port)


@pytest.mark.parametrize("library", ["eventsource", "eventsource-client"])
def test_node_clients_read_over_a_cut(
    tmp_path: Path, library: Literal["eventsource", "eventsource-client"]
) -> None:
    with upstream() as origin, follow(origin, tmp_path / "log", library=library) as reader:
        frames = reader.finish()
    assert [(frame.event, frame.data) for frame in frames] == [
        ("ready", {"seq": 0}),
        ("workflow", {"seq": 1}),
        ("token", {"seq": 2}),
        ("end", {"seq": 2}),
    ]
    assert [frame.id for frame in frames][1:3] == ["1", "2"]


def test_a_node_client_can_post(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    with (
        upstream() as origin,
        follow(origin, tmp_path / "log", library="eventsource-client", body=body) as reader,
    ):
        assert reader.finish()[-1].event == "end"


def test_the_foreign_mcp_server_answers() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    answer = subprocess.run(
        [NODE, EVERYTHING, "stdio"],
        input=json.dumps(hello) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "everything" in json.loads(answer.stdout.splitlines()[0])["result"]["serverInfo"]["name"]


@pytest.mark.anyio
async def test_chromium_reads_a_stream() -> None:
    with upstream() as origin:
        async with chromium() as browser:
            page = await browser.new_page()
            await page.goto(f"{origin}/page")
            last = await page.evaluate(
                """url => new Promise(resolve => {
                    const source = new EventSource(url)
                    source.addEventListener('end', event => { source.close(); resolve(event.lastEventId) })
                })""",
                origin,
            )
    assert last == "2"
