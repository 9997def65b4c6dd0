"""The SSE codec against what Chromium's EventSource does with the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackline.sse import Decoder, EventTooLarge, ServerSentEvent, encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    """Bytes, the (event, data, lastEventId) of what they dispatch, and what they leave behind."""

    stream: bytes
    events: list[tuple[str, str, str]]
    last_event_id: str = ""
    retry_ms: int | None = None


def message(data: str, last_event_id: str = "") -> tuple[str, str, str]:
    return ("message", data, last_event_id)


BOM = b"\xef\xbb\xbf"

VECTORS = {
    "one BOM is stripped": Vector(stream=BOM + b"data: 1\n\n", events=[message("1")]),
    "a second BOM loses the first event": Vector(
        stream=BOM + BOM + b"data: 1\n\ndata: 2\n\n", events=[message("2")]
    ),
    "half a BOM is an unknown field": Vector(stream=b"\xef\xbbdata: 1\n\ndata: 2\n\n", events=[message("2")]),
    "a BOM later on is text": Vector(stream=b"data: 1" + BOM + b"\n\n", events=[message("1\ufeff")]),
    "LF ends lines": Vector(stream=b"event: a\ndata: 1\n\n", events=[("a", "1", "")]),
    "CR ends lines": Vector(stream=b"event: a\rdata: 1\r\r", events=[("a", "1", "")]),
    "CRLF ends lines": Vector(stream=b"event: a\r\ndata: 1\r\n\r\n", events=[("a", "1", "")]),
    "mixed line ends": Vector(
        stream=b"data: 1\r\ndata: 2\rdata: 3\n\r\ndata: 4\n\rdata: 5\r\n\n",
        events=[message("1\n2\n3"), message("4"), message("5")],
    ),
    "CRLF CR is a break and a blank line": Vector(
        stream=b"data: 1\r\n\rdata: 2\n\n",
        events=[
            message("1"),
            message("2"),
        ],
    ),
    "U+2028, U+2029, FF, VT and NEL are no breaks": Vector(
        stream="data: a\u2028b\u2029c\fd\ve\u0085f\x1cg\n\n".encode(),
        events=[message("a\u2028b\u2029c\fd\ve\u0085f\x1cg")],
    ),
    "bare data dispatches an empty string": Vector(stream=b"data\n\n", events=[message("")]),
    "data with a colon only dispatches an empty string": Vector(stream=b"data:\n\n", events=[message("")]),
    "two bare data lines give one newline": Vector(stream=b"data\ndata\n\n", events=[message("\n")]),
    "several data lines are joined": Vector(
        stream=b"data: a\ndata:\ndata: b\n\n", events=[message("a\n\nb")]
    ),
    "one leading space is removed": Vector(stream=b"data:  a \n\n", events=[message(" a ")]),
    "a leading tab stays": Vector(stream=b"data:\ta\n\n", events=[message("\ta")]),
    "a colon in the value stays": Vector(stream=b"data:a:b\n\n", events=[message("a:b")]),
    "nothing is dispatched at EOF without a blank line": Vector(
        stream=b"data: 1\n\ndata: 2\n", events=[message("1")]
    ),
    "an unfinished line at EOF is void": Vector(stream=b"data: 1\n\nid: 7\ndata: 2", events=[message("1")]),
    "an id without its blank line does not advance": Vector(
        stream=b"id: 1\ndata: 1\n\nid: 2\n", events=[message("1", "1")], last_event_id="1"
    ),
    "an event without data is dropped": Vector(stream=b"event: a\n\n", events=[]),
    "its type is reset": Vector(stream=b"event: a\n\ndata: 1\n\n", events=[message("1")]),
    "a dispatched type is reset": Vector(
        stream=b"event: a\ndata: 1\n\ndata: 2\n\n", events=[("a", "1", ""), message("2")]
    ),
    "the last type wins": Vector(stream=b"event: a\nevent: b\ndata: 1\n\n", events=[("b", "1", "")]),
    "a bare event means message": Vector(stream=b"event: a\nevent\ndata: 1\n\n", events=[message("1")]),
    "an id with NUL is ignored": Vector(
        stream=b"id: 1\nid: 2\x003\ndata: 1\n\n", events=[message("1", "1")], last_event_id="1"
    ),
    "an id lasts": Vector(
        stream=b"id: 1\ndata: 1\n\ndata: 2\n\n",
        events=[message("1", "1"), message("2", "1")],
        last_event_id="1",
    ),
    "a bare id resets it": Vector(
        stream=b"id: 1\ndata: 1\n\nid\ndata: 2\n\n", events=[message("1", "1"), message("2")]
    ),
    "an id alone advances and dispatches nothing": Vector(
        stream=b"id:9\n\ndata: 1\n\n", events=[message("1", "9")], last_event_id="9"
    ),
    "an id is not a number": Vector(
        stream=b"id: 7.1\ndata: 1\n\n", events=[message("1", "7.1")], last_event_id="7.1"
    ),
    "retry is taken": Vector(stream=b"retry: 1000\n\n", events=[], retry_ms=1000),
    "retry counts without a blank line": Vector(stream=b"retry:1000\n", events=[], retry_ms=1000),
    "retry with a letter is ignored": Vector(stream=b"retry:300\nretry:1000x\n\n", events=[], retry_ms=300),
    "retry with a sign is ignored": Vector(stream=b"retry:-1\nretry:+1\nretry: 1 \n\n", events=[]),
    "retry with other digits is ignored": Vector(stream="retry:\u0661\n\n".encode(), events=[]),
    "an endless retry is ignored": Vector(stream=b"retry:" + b"9" * 5000 + b"\n\n", events=[]),
    "a bare retry resets it": Vector(stream=b"retry:1000\nretry\n\n", events=[]),
    "field names are case-sensitive": Vector(stream=b"DATA: 1\nData: 2\ndata: 3\n\n", events=[message("3")]),
    "a leading space makes an unknown field": Vector(stream=b" data: 1\ndata: 2\n\n", events=[message("2")]),
    "a trailing space makes an unknown field": Vector(stream=b"data : 1\ndata: 2\n\n", events=[message("2")]),
    "unknown fields are ignored": Vector(stream=b"foo: 1\nbar\ndata: 2\n\n", events=[message("2")]),
    "comments are ignored": Vector(stream=b": hello\n:\ndata: 1\n: more\n\n", events=[message("1")]),
    "a comment and a blank line dispatch nothing": Vector(
        stream=b"id: 1\ndata: 1\n\n:\n\n", events=[message("1", "1")], last_event_id="1"
    ),
    "bad UTF-8 becomes U+FFFD": Vector(
        stream=b"data: a\xffb\xc3\n\ndata: \xe2\x82\n\n",
        events=[message("a\ufffdb\ufffd"), message("\ufffd")],
    ),
    "bad UTF-8 in a type": Vector(stream=b"event: \xff\ndata: 1\n\n", events=[("\ufffd", "1", "")]),
    "NUL in data stays": Vector(stream=b"data: a\0b\n\n", events=[message("a\0b")]),
    "blank lines dispatch nothing": Vector(stream=b"\n\r\n\r\n\n", events=[]),
    "multi-byte text": Vector(stream="data: ⚓ né\n\n".encode(), events=[message("⚓ né")]),
}


def outcome(stream: list[bytes]) -> tuple[list[tuple[str, str, str]], str, int | None]:
    decoder = Decoder()
    events = [event for chunk in stream for event in decoder.feed(chunk)]
    seen = [(event.event, event.data, event.last_event_id) for event in events]
    return seen, decoder.last_event_id, decoder.retry_ms


def expected(vector: Vector) -> tuple[list[tuple[str, str, str]], str, int | None]:
    return vector.events, vector.last_event_id, vector.retry_ms


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_decodes_as_chromium_does(vector: Vector) -> None:
    assert outcome([vector.stream]) == expected(vector)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_decodes_the_same_byte_by_byte(vector: Vector) -> None:
    assert outcome([vector.stream[i : i + 1] for i in range(len(vector.stream))]) == expected(vector)


@settings(deadline=None)
@given(st.sampled_from(sorted(VECTORS)), st.lists(st.integers(0, 80), max_size=6))
def test_decodes_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    stream = VECTORS[name].stream
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert outcome(chunks) == expected(VECTORS[name])


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_decode_the_same_whole_and_cut(stream: bytes, cut: int) -> None:
    assert outcome([stream[:cut], stream[cut:]]) == outcome([stream])


def test_a_cr_dispatches_without_waiting_for_the_next_byte() -> None:
    decoder = Decoder()
    assert [event.data for event in decoder.feed(b"data: 1\r\r")] == ["1"]
    assert [event.data for event in decoder.feed(b"\ndata: 2\n\n")] == ["2"]


def test_a_decoder_may_start_from_an_id() -> None:
    decoder = Decoder("7")
    assert decoder.feed(b"data: 1\n\n") == [ServerSentEvent(event="message", data="1", last_event_id="7")]
    assert decoder.last_event_id == "7"


def test_an_event_tells_its_own_id_and_retry_apart_from_the_lasting_ones() -> None:
    first, second = Decoder().feed(b"id: 1\nretry: 5\ndata: a\n\ndata: b\n\n")
    assert (first.id, first.retry) == ("1", 5)
    assert (second.id, second.last_event_id, second.retry) == (None, "1", None)


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"data: xxxxxxxx\n" * 20])
def test_an_endless_event_is_refused(stream: bytes) -> None:
    decoder = Decoder(limit=100)
    with pytest.raises(EventTooLarge):
        decoder.feed(stream)


def test_many_events_within_the_limit_are_fine() -> None:
    decoder = Decoder(limit=100)
    assert len(decoder.feed(b"data: xxxxxxxx\n\n" * 50)) == 50


def test_encodes_a_frame() -> None:
    assert encode(event="token", data=b'{"a":1}', id="7") == b'id: 7\nevent: token\ndata: {"a":1}\n\n'
    assert encode(event=None, data="x", retry=2000) == b"retry: 2000\ndata: x\n\n"


def test_data_of_several_lines_becomes_several_fields() -> None:
    assert encode(event=None, data="a\r\nb\rc\n") == b"data: a\ndata: b\ndata: c\ndata: \n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "\n"])
def test_the_encoder_refuses_what_would_break_a_field(bad: str) -> None:
    with pytest.raises(ValueError, match="id holds"):
        encode(event="a", data=b"", id=bad)
    with pytest.raises(ValueError, match="event holds"):
        encode(event=bad, data=b"")


def test_the_encoder_refuses_a_negative_retry() -> None:
    with pytest.raises(ValueError, match="retry"):
        encode(event=None, data=b"", retry=-1)


field_text = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(
    event=field_text,
    id=field_text,
    data=st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=40),
    retry=st.none() | st.integers(0, 10**9),
)
def test_what_was_encoded_decodes(event: str, id: str, data: str, retry: int | None) -> None:  # noqa: A002
    (decoded,) = Decoder().feed(encode(event=event, data=data, id=id, retry=retry))
    assert decoded == ServerSentEvent(
        event=event or "message", data=data, id=id, last_event_id=id, retry=retry
    )
