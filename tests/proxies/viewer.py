"""A viewer that knows when each frame came and how its stream ended, and can leave at any moment."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from jackline.sse import Decoder
from tests.blackbox.api import Frame
from tests.support.processes import HOST, PATIENCE

Ending = Literal["end", "clean", "cut"]
"""`end`: the stream's own last frame came. `clean`: HTTP says that the answer is whole, and that frame is
missing. `cut`: HTTP says that the answer is not whole."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A frame, and the monotonic time at which it was read."""

    at: float
    frame: Frame


@dataclass(kw_only=True)
class Viewer:
    """One stream, read by a thread of its own."""

    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    ending: Ending | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def frames(self) -> list[Frame]:
        return [arrival.frame for arrival in list(self.arrivals)]

    @property
    def entries(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.entry]

    @property
    def last_id(self) -> str:
        return next((frame.id for frame in reversed(self.entries) if frame.id), "0")

    @property
    def run_id(self) -> str:
        self.need(lambda: self.frames)
        return self.frames[0].data["run_id"]

    def count(self, event: str) -> int:
        return sum(frame.event == event for frame in self.frames)

    def waits(self, condition: Callable[[], object], timeout: float = PATIENCE) -> bool:
        """Whether this becomes true in time; looked at whenever something came."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout))

    def need(self, condition: Callable[[], object]) -> None:
        """Wait until this is true, which it must become."""
        assert self.waits(condition), f"{self.status} {self.ending} {[frame.event for frame in self.frames]}"

    def until_over(self) -> Ending:
        """Wait for the stream's end, of whichever kind."""
        self.need(lambda: self.ending)
        assert self.ending is not None
        return self.ending

    def read(self, answer: http.client.HTTPResponse) -> None:
        """Read to the end."""
        with self._changed:
            self.status, self.headers = answer.status, dict(answer.headers.items())
            self._changed.notify_all()
        inflate = zlib.decompressobj(31) if answer.headers["Content-Encoding"] == "gzip" else None
        decoder = Decoder()
        while chunk := answer.read1(1 << 16):
            text = inflate.decompress(chunk) if inflate else chunk
            now = time.monotonic()
            for event in decoder.feed(text):
                frame = Frame(id=event.id, event=event.event, raw=event.data)
                with self._changed:
                    self.arrivals.append(Arrival(at=now, frame=frame))
                    self._changed.notify_all()
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)

    def end(self, ending: Ending) -> None:
        """What the reading thread says last."""
        with self._changed:
            self.ending = ending
            self._changed.notify_all()


@contextlib.contextmanager
def watch(
    port: int, path: str, *, body: object = None, headers: Mapping[str, str] | None = None
) -> Generator[Viewer]:
    """Read a stream for the length of the block, by GET, or by POST where there is a body. As browsers do, it
    says that it takes compressed answers."""
    viewer = Viewer()
    connection = http.client.HTTPConnection(HOST, port, timeout=2 * PATIENCE)
    connection.connect()
    sock: socket.socket = connection.sock
    thread = threading.Thread(
        target=_follow,
        args=(viewer, connection, path, body, {"Accept-Encoding": "gzip", **(headers or {})}),
        daemon=True,
    )
    thread.start()
    try:
        yield viewer
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
        connection.close()
        assert not thread.is_alive()


def _follow(
    viewer: Viewer,
    connection: http.client.HTTPConnection,
    path: str,
    body: object,
    headers: dict[str, str],
) -> None:
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, body=json.dumps(body), headers=headers)
        with connection.getresponse() as answer:
            viewer.read(answer)
    except (OSError, http.client.HTTPException, zlib.error):
        viewer.end("cut")
    else:
        last = viewer.frames[-1].event if viewer.arrivals else None
        viewer.end("end" if last in {"end", "shutdown"} else "clean")
