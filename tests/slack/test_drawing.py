"""What a thread shows: within Slack's limits whatever the run holds, and the same for whoever reads again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackline.client.frames import Entry
from jackline.slack.drawing import SECTION, Drawing, Drawn, section
from jackline.slack.mrkdwn import size
from jackline.slack.story import Story
from tests.slack.limits import pings, refusal

PAGE = "https://jackline.example/#/runs/"


def entry(kind: str, seq: int, /, **data: Any) -> Entry:
    full = {"run_id": "c.1", "seq": seq, **data}
    return Entry(type=kind, seq=seq, first=seq, id=str(seq), data=full, raw=json.dumps(full))


def draw(*entries: Entry) -> list[Drawn]:
    story = Story(run_id="c.1")
    for each in entries:
        story.add(each)
    return Drawing(story, lambda run: PAGE + run, "1.0").messages()


def text(drawn: Drawn) -> str:
    return "\n".join(block["text"]["text"] for block in drawn.blocks if "text" in block)


HARD = st.text(st.sampled_from("<>&`*_\n @!channel|\u202e😀x"), max_size=4000)
VALUES = st.recursive(
    HARD | st.integers() | st.none(), lambda inner: st.dictionaries(HARD, inner, max_size=3)
)
Happening = tuple[str, dict[str, Any]]


def happens(kind: str, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Happening]:
    """An entry of this kind with these fields."""
    return st.tuples(st.just(kind), st.fixed_dictionaries(fields))


def one_of(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


NAMES = HARD.map(lambda text: text or "x")
SAYS = happens("token", text=HARD, message_id=st.just("m"))
CALLS = happens(
    "tool",
    call_id=st.integers(1, 30).map("c.1.{}".format),
    name=NAMES,
    state=one_of("requested", "started", "finished", "failed", "unknown"),
    args=VALUES,
    result=VALUES,
    error=st.fixed_dictionaries({"message": HARD}),
    duration_ms=st.just(3),
)
ASKS = happens(
    "approval",
    call_id=st.integers(1, 9).map("c.1.{}".format),
    round=st.just(1),
    name=NAMES,
    state=one_of("pending", "granted", "denied", "expired", "withdrawn"),
    kind=one_of("call", "outcome"),
    args=VALUES,
    by=NAMES,
    reason=HARD,
)
TOOLS = st.lists(st.fixed_dictionaries({"name": HARD, "outcome": HARD}), max_size=30)
ENDS = happens(
    "workflow",
    state=one_of("queued", "executing", "stopping", "stopped", "failed", "completed"),
    by=NAMES,
    output=VALUES,
    error=st.fixed_dictionaries({"message": HARD}),
    receipt=st.fixed_dictionaries({"by": HARD, "tools": TOOLS}),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(SAYS | CALLS | ASKS | ENDS, max_size=12))
def test_whatever_a_run_holds_slack_takes_its_messages(happened: list[Happening]) -> None:
    """G11; the limits are those of the stand-in, written from Slack's documentation. And nothing pings."""
    drawn = draw(*(entry(kind, seq, **data) for seq, (kind, data) in enumerate(happened, 1)))
    assert len({each.key for each in drawn}) == len(drawn)
    for each in drawn:
        if not each.gone:
            body: dict[str, Any] = {"text": each.text, "blocks": each.blocks, "parse": "none"}
            assert refusal(body) is None, each.key
            assert pings(body, edited=True) == []


def test_merged_entries_make_the_same_messages() -> None:
    """G1: a bridge that comes back gets a replay, in which tokens are merged; its keys must be the same."""
    single = [entry("token", n, text=f"{n} ", message_id="m") for n in range(2, 5)]
    merged = Entry(type="token", seq=4, first=2, id="4", data={"text": "2 3 4 ", "message_id": "m"}, raw="")
    assert draw(*single) == draw(merged)


def test_what_is_superseded_is_gone() -> None:
    """G7: what a dead attempt had begun is said again under another id."""
    drawn = draw(
        entry("token", 2, text="half a sen", message_id="m1"),
        entry("workflow", 3, state="executing", attempt=2, reason="takeover", supersedes=["m1"]),
        entry("token", 4, text="half a sentence", message_id="m2"),
    )
    assert [(each.key, each.gone) for each in drawn] == [
        ("status", False),
        ("say.2.0", True),
        ("say.4.0", False),
    ]
    assert "attempt 2" in text(drawn[0])


def test_reasoning_stays_on_the_page() -> None:
    assert len(draw(entry("token", 2, text="hm", message_id="m", kind="reasoning"))) == 1


def test_long_arguments_are_cut_and_that_is_said() -> None:
    """A person must know that there is more than meets the eye."""
    ask = {"call_id": "c.1.1", "round": 1, "kind": "call", "name": "x", "state": "pending"}
    [_, long] = draw(entry("approval", 2, args={"path": "a" * 5000}, **ask))
    assert "This is not all of it" in text(long)
    [_, short] = draw(entry("approval", 2, args={"path": "a"}, reason="it is old", **ask))
    assert "not all of it" not in text(short)
    assert "Why: it is old" in text(short)


def test_nothing_around_arguments_opens_or_closes_their_block() -> None:
    """G11: a fence in a tool's name would show the arguments as the bridge's own words."""
    ask = {"call_id": "c.1.1", "round": 1, "kind": "call", "name": "x ```", "state": "denied"}
    [_, drawn] = draw(entry("approval", 2, args={"p": "*ok*"}, question="```", reason="````", **ask))
    [name, args, answer] = text(drawn).split("```")
    assert ("wants to run" in name, "*ok*" in args, "Denied" in answer) == (True, True, True)


def test_signs_that_may_count_twice_are_counted_twice() -> None:
    """G11: a question that Slack refuses for its length would be seen by nobody."""
    ask = {"call_id": "c.1.1", "round": 1, "kind": "call", "name": "x", "state": "pending"}
    for args in ({"path": "😀" * 1700}, {"path": "😀" * 700, "why": "y" * 500}):
        [_, drawn] = draw(entry("approval", 2, args=args, reason="😀" * 300, **ask))
        assert len(text(drawn).encode("utf-16-le")) // 2 <= 3000
    [_, end] = draw(entry("workflow", 1, state="completed", output="😀" * 2000))[:2]
    assert len(text(end).encode("utf-16-le")) // 2 <= 3000


def test_what_was_asked_elsewhere_is_to_be_read() -> None:
    start = {"state": "queued", "by": "user:ana", "input": [{"role": "user", "content": "restart <web>"}]}
    [elsewhere] = draw(entry("workflow", 1, **start))
    [here] = draw(entry("workflow", 1, **start, metadata={"slack": {"thread": "1.0"}}))
    assert ">restart &lt;web&gt;" in text(elsewhere)
    assert "restart" not in text(here)


def test_an_output_that_was_not_said_is_told() -> None:
    assert [each.key for each in draw(entry("workflow", 1, state="completed", output="all well"))] == [
        "status",
        "end.0",
    ]
    said = entry("token", 1, text="all well", message_id="m")
    assert len(draw(said, entry("workflow", 2, state="completed", output="all well"))) == 2
    [_, output] = draw(entry("workflow", 1, state="completed", output={"disk": "full"}))
    assert '"disk": "full"' in text(output)


def test_the_receipt_says_what_became_of_each_call() -> None:
    receipt = {
        "by": "user:ana",
        "quiet_ms": 1200,
        "model": "closed",
        "tools": [
            {"name": "copy", "outcome": "cancelled"},
            {"name": "wipe", "outcome": "unknown", "answer": {"text": "so far"}},
        ],
    }
    [_, end] = draw(entry("workflow", 1, state="stopped", receipt=receipt))
    assert text(end).splitlines() == [
        "⏹️ *Stopped*: asked for by user:ana; quiet 1.2 s later; the model's stream was closed",
        "• *copy* was cancelled",
        "• *wipe* may or may not have had its effect: *look before you try again*; its server said: so far",
    ]


def test_who_pressed_stop_is_named_where_several_share_a_key() -> None:
    """G4: in the status and in the receipt; a name that is only known as an id pings nobody."""
    stopping = entry("workflow", 1, state="stopping", by="local", reason="<@UBOB> in Slack")
    [status] = draw(stopping)
    assert "asked for by local (&lt;@UBOB&gt; in Slack)" in text(status)
    [_, end] = draw(stopping, entry("workflow", 2, state="stopped", receipt={"by": "local", "tools": []}))
    assert "asked for by local (&lt;@UBOB&gt; in Slack)" in text(end)
    story = Story(run_id="c.1")
    story.take({"seq": 3, "state": "stopping", "by": "user:ana", "stop": {"by": "local", "reason": "x"}})
    assert (story.stopped_by, story.stopped_why) == ("local", "x")


def test_of_two_who_stop_the_first_is_named_as_in_the_receipt() -> None:
    """G4: with the reason of the same one."""
    first = entry("workflow", 1, state="stopping", by="alice", mode="after_step")
    second = entry("workflow", 2, state="stopping", by="bob", mode="immediate", reason="bob in Slack")
    [status] = draw(first, second)
    assert "asked for by alice" in text(status)
    assert "bob" not in text(status)
    [_, end] = draw(
        first, second, entry("workflow", 3, state="stopped", receipt={"by": "alice", "tools": []})
    )
    assert "bob" not in text(end)


def test_a_snapshot_stands_for_what_cannot_be_read() -> None:
    """G1: a gap is said."""
    story = Story(run_id="c.1")
    story.take(
        {
            "seq": 9,
            "state": "awaiting_approval",
            "attempt": 1,
            "transcript": [
                {"role": "assistant", "kind": "text", "message_id": "m", "seq": 3, "text": "hello"}
            ],
            "tools": [{"call_id": "c.1.1", "name": "note", "state": "finished", "result": "x"}],
            "approvals": [
                {"call_id": "c.1.2", "round": 1, "kind": "call", "name": "wipe", "state": "pending"}
            ],
        }
    )
    drawn = Drawing(story, lambda run: PAGE + run, "1.0").messages()
    assert "could not be read" in text(drawn[0])
    assert [each.key for each in drawn] == ["status", "say.3.0", "calls.0", "ask.0"]
    assert [question.name for question in story.pending] == ["wipe"]


def test_a_receipt_of_many_calls_names_all_that_somebody_must_look_at() -> None:
    """G4: whatever their number, and within Slack's limits."""
    tools = [{"name": f"copy-{n}-" + "&" * 60, "outcome": "cancelled"} for n in range(70)]
    tools[66:] = [{"name": f"wipe-{n}", "outcome": "unknown"} for n in range(4)]
    for count in (20, 40):
        [_, end] = draw(entry("workflow", 1, state="stopped", receipt={"tools": tools[:count]}))
        assert text(end).count(" was cancelled") == count
        assert refusal({"text": end.text, "blocks": end.blocks}) is None
    [_, end] = draw(entry("workflow", 1, state="stopped", receipt={"tools": tools}))
    assert [f"*wipe-{n}* may or may not" in text(end) for n in range(4)] == [True] * 4
    assert "22 more" in text(end)
    assert refusal({"text": end.text, "blocks": end.blocks}) is None


def test_who_decided_is_said_whatever_was_asked() -> None:
    """G5: no argument and no reason takes the room of the answer."""
    hard = "&<>" * 20_000
    asked = {
        "call_id": "c.1.1",
        "round": 1,
        "kind": "call",
        "name": hard,
        "args": {"x": hard},
        "reason": hard,
    }
    entries = [
        entry("approval", n, **(asked | {"call_id": f"c.1.{n}"}), state="pending") for n in range(1, 5)
    ]
    answer = asked | {"args": {"x": hard + "!"}, "state": "granted", "by": "user:ana"}
    entries += [entry("approval", n + 4, **(answer | {"call_id": f"c.1.{n}"})) for n in range(1, 5)]
    [_, drawn] = draw(*entries)
    assert text(drawn).count("*Approved* by user:ana") == 4
    assert refusal({"text": drawn.text, "blocks": drawn.blocks}) is None


def test_calls_whose_words_grow_when_they_are_escaped_fit() -> None:
    """G1: else Slack takes none of a message's calls."""
    entries = [
        entry(
            "tool",
            n,
            call_id=f"c.1.{n}",
            name="&" * 90,
            state="finished",
            args={"x": "&" * 300},
            result="&" * 300,
        )
        for n in range(1, 61)
    ]
    messages = draw(*entries)[1:]
    assert sum(len(each.blocks) for each in messages) == 60
    assert [refusal({"text": each.text, "blocks": each.blocks}) for each in messages] == [None] * 8


def test_a_table_that_would_be_too_wide_is_shown_as_it_was_written() -> None:
    """G1: nothing of it is lost."""
    rows = [f"| {'wide ' * 60 if n == 7 else n} | row-{n} |" for n in range(40)]
    table = "\n".join(["| a | b |", "|---|---|", *rows])
    shown = "\n".join(text(each) for each in draw(entry("token", 1, text=table, message_id="m"))[1:])
    assert [row for row in rows if row not in shown] == []


@pytest.mark.parametrize("text", ["x" * 4000, "😀" * 4000, "😀" * 100 + "x" * 4000])
def test_a_section_that_is_too_long_is_cut_where_it_is_full(text: str) -> None:
    """G9: what Slack has room for is shown, however it counts the signs."""
    shown = section(text)["text"]["text"]
    assert shown.endswith("…")
    assert text.startswith(shown[:-1])
    assert SECTION - 2 < size(shown) <= SECTION
