"""The reader of responses, fed in every way that a network may cut them."""

from __future__ import annotations

import pytest

from jackline.doctor.http1 import BadAnswer, Reader

HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(data: bytes, step: int) -> tuple[Reader, bytes]:
    reader = Reader()
    body = b"".join(reader.feed(data[at : at + step]) for at in range(0, len(data), step))
    return reader, body


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_chunks_are_read_however_they_are_cut(step: int) -> None:
    data = HEAD + b"003C;x=1\r\n" + b"a" * 60 + b"\r\n1f\r\n" + b"b" * 31 + b"\r\n0\r\nTrailer: t\r\n\r\n"
    reader, body = read(data, step)
    assert body == b"a" * 60 + b"b" * 31
    assert reader.complete
    assert (reader.status, reader.framing, reader.header("server")) == (200, "chunked", "x")
    assert reader.sizes == ["003C", "1f", "0"]


@pytest.mark.parametrize("step", [1, 1000])
def test_a_length_ends_the_body(step: int) -> None:
    reader, body = read(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nabc", step)
    assert (reader.status, reader.framing, reader.complete, body) == (502, "length", True, b"abc")


def test_without_either_the_connections_end_is_the_bodys() -> None:
    reader, body = read(b"HTTP/1.0 200 OK\r\n\r\nabc", 1)
    assert (reader.framing, reader.complete, body) == ("close", False, b"abc")
    reader.eof()
    assert reader.complete


def test_a_cut_in_chunks_or_a_length_is_no_end() -> None:
    for data in (HEAD + b"5\r\nab", HEAD + b"2\r\nab\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"):
        reader, _ = read(data, 1000)
        reader.eof()
        assert not reader.complete


def test_informational_answers_are_passed_over_and_some_have_no_body() -> None:
    reader, _ = read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 1)
    assert (reader.status, reader.complete, reader.headers) == (204, True, [])


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        HEAD + b"xyz\r\n",
        HEAD + b"1\r\nab\r\n",
        b"H" * 70_000,
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(data, 1000)
