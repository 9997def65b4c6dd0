"""Untrusted text, receipts, and the dialog, without a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackline.cli import receipt
from jackline.cli.dialog import Dialog, Edit, Say, Send
from jackline.cli.exits import explain
from jackline.cli.plain import compact, duration, one_line, plain, pretty, shorten, visible
from jackline.cli.text_view import TextView
from jackline.client.errors import Refused
from jackline.client.frames import Entry, Gap, Heartbeat


@settings(deadline=None)
@given(st.text())
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    for safe in (plain(text), visible(text), one_line(text)):
        assert not [
            char for char in safe if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160
        ]
        safe.encode()


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_decided_on_is_shown_unchanged(value: Any) -> None:
    """What a person says yes to reads back as exactly what is executed, but for the form of its escapes."""
    shown = pretty(value).replace("\\x", "\\u00")
    if not any(ord(char) > 0xFFFF for char in json.dumps(value, ensure_ascii=False)):
        assert json.loads(shown) == value


def test_text_is_left_alone() -> None:
    assert plain("ä ⚓ नमस्ते 👩‍🚀\n\tx") == "ä ⚓ नमस्ते 👩‍🚀\n\tx"


def test_forms() -> None:
    assert compact({"a": "ü\u202e"}) == '{"a": "ü\\u202e"}'
    assert compact("text") == "text"
    assert shorten("abcdef", 3) == "abc … (3 characters more; --full shows all)"
    assert [duration(ms) for ms in (3, 1500, 125_000)] == ["3 ms", "1.5 s", "2 min 5 s"]


@pytest.mark.parametrize("broken", [{}, {"tools": 3}, {"tools": [None]}, {"quiet_ms": "x", "by": None}])
def test_a_receipt_of_another_version_is_still_words(broken: dict[str, Any]) -> None:
    assert receipt.in_words(broken)


@pytest.mark.parametrize(
    ("status", "problem", "words", "code"),
    [
        (400, {"detail": "bad cursor"}, "bad cursor", 2),
        (401, {"detail": "no key"}, "--token", 1),
        (403, {"detail": "viewers only watch"}, "viewers only watch", 1),
        (404, {"detail": "no run x"}, "not found: no run x. See: ", 1),
        (409, {"run_id": "c.1"}, "jackline tail c.1", 1),
        (409, {"by": "user:bo", "state": "denied", "at": "noon"}, "already denied by user:bo at noon", 1),
        (409, {"detail": "expired"}, "expired", 1),
        (413, {"title": "Too\nlarge"}, "refused (413): Too large", 1),
        (422, {"errors": [{"field": "agent", "detail": "unknown"}]}, "agent: unknown", 2),
    ],
)
def test_a_refusal_says_what_to_do(status: int, problem: dict[str, Any], words: str, code: int) -> None:
    text, exit_code = explain(Refused(status, problem))
    assert words in text
    assert "\n" not in text
    assert exit_code == code


def approval(state: str, call_id: str = "c.1.1", **data: Any) -> Entry:
    members: dict[str, Any] = {
        "seq": 1,
        "call_id": call_id,
        "name": "x",
        "state": state,
        "kind": "call",
        **data,
    }
    return Entry(type="approval", seq=1, first=1, id="1", data=members, raw="")


def test_a_decision_from_elsewhere_ends_what_was_being_typed() -> None:
    dialog = Dialog()
    dialog.frame(approval("pending", args={"a": 1}))
    edit = dialog.line("e")
    assert isinstance(edit, Edit)
    assert edit == Edit(call_id="c.1.1", round="1", args={"a": 1})
    dialog.edit_by_line(edit)
    dialog.frame(approval("granted"))
    assert dialog.prompt is None
    dialog.frame(approval("pending", "c.1.2"))
    assert dialog.prompt is not None
    assert dialog.prompt.startswith("approve x?")


def test_unchanged_arguments_are_not_sent() -> None:
    dialog = Dialog()
    dialog.frame(approval("pending", args={"a": 1}))
    edit = dialog.line("e")
    assert isinstance(edit, Edit)
    assert isinstance(dialog.edited(edit, '{"a": 1}'), Say)
    sent = dialog.line("y")
    assert isinstance(sent, Send)
    assert sent.decision.args is None


def test_arguments_that_are_stored_aside_are_not_edited() -> None:
    """What stands in their place is no arguments; sent back, it would be taken for some."""
    dialog = Dialog()
    dialog.frame(approval("pending", args={"artifact": "a1", "bytes": 40_000, "preview": '{"path": "xx'}))
    assert dialog.line("e") == Say(text="the arguments are too large to be edited here")
    assert isinstance(dialog.line("y"), Send)


def two_asked() -> tuple[Dialog, Edit]:
    """The first of two is decided, the second is being edited when the first is asked again."""
    dialog = Dialog()
    dialog.frame(approval("pending", args={"a": 1}))
    dialog.frame(approval("pending", "c.1.2", name="wipe", args={"b": 1}))
    dialog.line("y")
    edit = dialog.line("e")
    assert isinstance(edit, Edit)
    return dialog, edit


def test_edited_arguments_are_those_of_the_call_that_was_edited() -> None:
    """G5: whatever question stands first when the editor is left."""
    dialog, edit = two_asked()
    dialog.refused("c.1.1", final=False)
    dialog.edited(edit, '{"b": 2}')
    assert dialog.prompt is not None
    assert dialog.prompt.startswith("approve x?")
    first = dialog.line("y")
    second = dialog.line("y")
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    assert (first.decision.call_id, first.decision.args) == ("c.1.1", None)
    assert (second.decision.call_id, second.decision.args) == ("c.1.2", {"b": 2})


def test_arguments_typed_as_a_line_are_those_of_the_call_that_the_prompt_names() -> None:
    """G5"""
    dialog, edit = two_asked()
    dialog.edit_by_line(edit)
    assert dialog.prompt == "wipe: arguments as one JSON object (empty: as they were): "
    dialog.refused("c.1.1", final=False)
    assert dialog.prompt is not None
    assert dialog.prompt.startswith("approve x?")
    dialog.line("y")
    assert dialog.prompt.startswith("wipe: arguments")
    dialog.line('{"b": 2}')
    second = dialog.line("y")
    assert isinstance(second, Send)
    assert second.decision.args == {"b": 2}


def test_what_a_pair_of_esc_means_is_told_by_where_its_first_was_pressed() -> None:
    """G4: outside the menu it asks, in the menu it stops; one alone closes the menu."""
    dialog = Dialog(keys=True)
    presses = [dialog.escape(twice=twice) for twice in (False, True, False, True)]
    assert presses == [None, None, None, "stop"]
    assert dialog.prompt is None
    dialog.interrupt()
    assert dialog.escape(twice=False) is None
    assert dialog.prompt is None
    assert [dialog.escape(twice=twice) for twice in (False, True)] == [None, None]
    assert dialog.prompt is not None
    dialog.escape(twice=False)
    dialog.over()
    assert dialog.escape(twice=True) is None


@pytest.mark.parametrize("now", [approval("granted", "c.1.2"), approval("pending", "c.1.2", round=2)])
def test_an_edit_of_a_question_that_is_gone_is_not_used(now: Entry) -> None:
    """G5: nor for the next question about the same call."""
    dialog, edit = two_asked()
    dialog.frame(now)
    said = dialog.edited(edit, '{"b": 2}')
    assert isinstance(said, Say)
    assert "not used" in said.text
    sent = dialog.line("y")
    assert sent is None or (isinstance(sent, Send) and sent.decision.args is None)


def test_a_final_refusal_is_not_asked_again() -> None:
    """G5"""
    dialog = Dialog()
    dialog.frame(approval("pending"))
    dialog.line("y")
    assert dialog.prompt is None
    dialog.refused("c.1.1", final=True)
    assert dialog.prompt is None


def test_a_gaps_snapshot_says_what_is_asked() -> None:
    """G1"""
    dialog = Dialog()
    dialog.frame(approval("pending", "c.1.1"))
    pending = {"call_id": "c.1.2", "name": "y", "state": "pending", "kind": "call"}
    dialog.frame(Gap(first=1, last=2, snapshot={"approvals": [pending]}, id=None, data={}, raw=""))
    assert dialog.prompt is not None
    assert dialog.prompt.startswith("approve y?")


@pytest.mark.parametrize("text", ["", "3", "[1]", "{"])
def test_arguments_that_are_none_are_not_taken(text: str) -> None:
    dialog = Dialog()
    dialog.frame(approval("pending", args={"a": 1}))
    edit = dialog.line("e")
    assert isinstance(edit, Edit)
    assert isinstance(dialog.edited(edit, text), Say)
    assert dialog.prompt is not None
    assert dialog.prompt.startswith("approve x?")


def test_lines_without_a_question_are_ignored() -> None:
    assert Dialog().line("y") is None


def test_what_becomes_of_the_store_is_said_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    """G8: whoever watches learns that nothing pretends."""
    view = TextView()
    for store in (None, "away", "away", "doubt", None, None):
        data = {"store": store} if store else {}
        beat = Heartbeat(run_id="r", state="executing", seq=1, worker="alive", idle_ms=0, data=data, raw="")
        view.frame(beat)
    told = [line for line in "".join(capsys.readouterr()).splitlines() if "store" in line]
    assert [line.split("store ")[1][:6] for line in told] == ["does n", "came b", "is bac"]


def test_a_receipt_tells_what_a_server_said_of_a_cancelled_call() -> None:
    call = {"name": "commit", "call_id": "c.1.1", "outcome": "finished_before_stop"}
    done = receipt.in_words({"tools": [call | {"answer": {"text": "committed"}}]})
    assert done[1].endswith("had finished before the stop; its server said: committed")
    refused = receipt.in_words({"tools": [call | {"answer": {"error": {"message": "too\nlate"}}}]})
    assert "; its server said: too" in refused[1]
    assert "\n" not in refused[1]
