"""The SSE codec against what Chromium's EventSource does with the same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

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


SHARED = Path(__file__).parent / "sse_vectors.json"
"""The JavaScript client's decoder is held to the same. A character of a `stream` is a byte."""

VECTORS = {
    each["name"]: Vector(
        stream=each["stream"].encode("latin-1"),
        events=[(event, data, last_event_id) for event, data, last_event_id in each["events"]],
        last_event_id=each["last_event_id"],
        retry_ms=each["retry_ms"],
    )
    for each in json.loads(SHARED.read_text())
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
