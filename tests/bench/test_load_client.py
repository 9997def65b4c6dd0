"""The load client counts and measures right: against a server whose every byte is known."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.load import Load, build, get, load, post
from tests.support.processes import HOST

MS = 1_000_000
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
END = b"0\r\n\r\n"

Answer = Callable[[socket.socket, bytes], None]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("client"))


@contextmanager
def server(answer: Answer) -> Generator[int]:
    """Answers each connection's request in a thread of its own; its port."""
    with socket.create_server((HOST, 0)) as listener:

        def one(connection: socket.socket) -> None:
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                answer(connection, request)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def loading(
    client: Path, folder: Path, port: int, *requests: bytes, connections: int = 1, expect: int = 0
) -> Generator[Load]:
    with load(
        client,
        folder=folder,
        port=port,
        requests=requests or [get("/events")],
        connections=connections,
        core=None,
        expect=expect,
        seconds=60,
    ) as started:
        yield started


def frame(number: int, made: int) -> bytes:
    return b'id: %d\nevent: token\ndata: {"text":"@%019d;word "}\n\n' % (number, made)


def chunk(data: bytes) -> bytes:
    return b"%X\r\n%b\r\n" % (len(data), data)


def test_entries_are_counted_over_all_connections(client: Path, tmp_path: Path) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        frames = b"".join(frame(n, n) for n in range(1, 6))
        connection.sendall(CHUNKED + chunk(b": hello\n\n") + chunk(frames) + END)

    with server(answer) as port, loading(client, tmp_path, port, connections=40) as started:
        measured = started.result()
    assert (measured.delivered, measured.least, measured.most) == (200, 5, 5)
    assert (measured.answered, measured.whole, measured.cut, measured.failed) == (40, 40, 0, 0)
    assert measured.ended.count == 40


@pytest.mark.parametrize("head", [CHUNKED, PLAIN], ids=["chunked", "plain"])
def test_a_mark_may_be_cut_anywhere(client: Path, tmp_path: Path, head: bytes) -> None:
    """Every byte in a segment of its own, chunks that cut the mark included."""

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = frame(1, 7) + frame(2, 8)
        if head is CHUNKED:
            data = b"".join(chunk(data[at : at + 3]) for at in range(0, len(data), 3)) + END
        for byte in head + data:
            connection.sendall(bytes([byte]))

    with server(answer) as port, loading(client, tmp_path, port) as started:
        measured = started.result()
    assert (measured.delivered, measured.whole, measured.cut) == (2, 1, 0)


def test_what_is_said_again_is_not_counted_twice(client: Path, tmp_path: Path) -> None:
    """A frame may hold several entries, merged; and a summary in the end repeats what was said."""

    def answer(connection: socket.socket, request: bytes) -> None:
        merged = b"data: @%019d;a @%019d;b \n\n" % (1, 2)
        connection.sendall(PLAIN + merged + frame(3, 3) + merged)

    with server(answer) as port, loading(client, tmp_path, port) as started:
        measured = started.result()
    assert (measured.delivered, measured.repeated) == (3, 2)


def test_what_only_looks_like_a_mark_is_skipped(client: Path, tmp_path: Path) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        odd = b"data: a@b.example @12; @%019dx @@%019d; @%020d;\n\n" % (5, 6, 7)
        connection.sendall(PLAIN + odd)

    with server(answer) as port, loading(client, tmp_path, port) as started:
        assert started.result().delivered == 1


def test_latency_is_from_the_making_to_the_arrival(client: Path, tmp_path: Path) -> None:
    """Ninety entries made 100 ms ago and ten made 900 ms ago: each is found where it belongs, and what
    the machine adds only makes them later."""
    sent: list[int] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        now = time.monotonic_ns()
        old = [now - 900 * MS + n for n in range(10)]
        new = [now - 100 * MS + n for n in range(90)]
        connection.sendall(PLAIN + b"".join(frame(1, made) for made in old + new))
        sent.append(now)

    with server(answer) as port, loading(client, tmp_path, port) as started:
        measured = started.result()
        took = (time.monotonic_ns() - sent[0]) / MS
    assert measured.latency.count == 100
    assert 100 * 0.98 <= measured.latency.p50_ms <= (100 + took) * 1.02
    assert 900 * 0.98 <= measured.latency.p99_ms <= (900 + took) * 1.02
    assert measured.latency.p99_ms - measured.latency.p50_ms == pytest.approx(800, rel=0.05)
    assert measured.latency.max_ms >= measured.latency.p99_ms
    assert measured.latency.mean_ms - measured.latency.p50_ms == pytest.approx(80, rel=0.3)


def test_the_window_begins_when_it_is_told(client: Path, tmp_path: Path) -> None:
    begun = threading.Event()

    def answer(connection: socket.socket, request: bytes) -> None:
        # With its head in one segment, so that what says it is ready has read both.
        connection.sendall(PLAIN + frame(1, 1) + frame(2, 2))
        begun.wait(60)
        connection.sendall(frame(3, 3))
        connection.recv(1)

    with server(answer) as port, loading(client, tmp_path, port, expect=3) as started:
        started.ready()
        started.begin()
        begun.set()
        measured = started.result()
    assert (measured.delivered, measured.latency.count, measured.most) == (1, 1, 1)
    assert measured.whole == 1  # by `expect`, which counts all three


def test_the_end_can_be_asked_for(client: Path, tmp_path: Path) -> None:
    done = threading.Event()

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(PLAIN)
        done.wait(60)

    with server(answer) as port, loading(client, tmp_path, port, connections=3) as started:
        started.ready()
        started.begin()
        measured = started.end()
        done.set()
    assert (measured.delivered, measured.answered, measured.whole) == (0, 3, 0)
    assert measured.seconds > 0


def test_refusals_and_cuts_are_told_apart(client: Path, tmp_path: Path) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        if b"/busy" in request:
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
        elif b"/cut" in request:
            connection.sendall(CHUNKED + chunk(frame(1, 1)))
        elif b"/mute" not in request:
            connection.sendall(CHUNKED + chunk(frame(1, 1)) + END)

    requests = [get("/busy"), get("/cut"), get("/mute"), get("/good")]
    with server(answer) as port, loading(client, tmp_path, port, *requests, connections=8) as started:
        measured = started.result()
    assert (measured.refused, measured.cut, measured.whole, measured.failed) == (4, 2, 2, 2)
    assert measured.delivered == 4


def test_nobody_listens(client: Path, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    with loading(client, tmp_path, port, connections=2) as started:
        measured = started.result()
    assert (measured.refused, measured.failed, measured.delivered) == (2, 2, 0)


def test_each_connection_sends_its_request_whole(client: Path, tmp_path: Path) -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        while b"a body" not in request and request.startswith(b"POST"):
            request += connection.recv(65536)
        seen.append(request)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    requests = [
        post("/chat", b"a body", [("Authorization", "Bearer k")]),
        get("/events", [("Last-Event-ID", "7")]),
    ]
    with server(answer) as port, loading(client, tmp_path, port, *requests, connections=4) as started:
        assert started.result().whole == 4
    assert sorted(seen) == sorted(requests * 2)


def test_its_own_cpu_is_told(client: Path, tmp_path: Path) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        frames = b"".join(frame(n, n) for n in range(1, 200_001))
        connection.sendall(PLAIN + frames)

    with server(answer) as port, loading(client, tmp_path, port) as started:
        measured = started.result()
    assert measured.delivered == 200_000
    assert 0 < measured.cpu_seconds <= measured.seconds * 1.1
    assert measured.cpu_share == pytest.approx(measured.cpu_seconds / measured.seconds, rel=0.1)
    assert measured.bytes > 200_000 * len(frame(1, 1))
