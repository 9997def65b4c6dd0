"""Ids that nest: conversation `C`, its runs `C.1`, `C.2`, a run's tool calls `C.2.1`.

Everything of a conversation can be found from any of its ids, so nothing has to be looked up and
all of it can live in one place of the store. The first part cannot be guessed (103 bits).
"""

from __future__ import annotations

import re
import secrets

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_CONVERSATION = re.compile(r"[a-z0-9]{8,40}")
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_RUN = re.compile(rf"[a-z0-9]{{8,40}}\.{_NUMBER}")
_CALL = re.compile(rf"[a-z0-9]{{8,40}}\.{_NUMBER}\.{_NUMBER}")


def new_conversation_id() -> str:
    """Twenty characters, URL-safe, 103 bits of chance."""
    left, found = secrets.randbelow(len(_ALPHABET) ** 20), ""
    for _ in range(20):
        left, at = divmod(left, len(_ALPHABET))
        found += _ALPHABET[at]
    return found


def is_conversation_id(text: str) -> bool:
    """Whether `text` has the shape of a conversation's id."""
    return _CONVERSATION.fullmatch(text) is not None


def is_run_id(text: str) -> bool:
    """Whether `text` has the shape of a run's id."""
    return _RUN.fullmatch(text) is not None


def is_call_id(text: str) -> bool:
    """Whether `text` has the shape of a tool call's id."""
    return _CALL.fullmatch(text) is not None


def run_id(conversation_id: str, number: int) -> str:
    """The id of a conversation's run number `number` (from 1)."""
    return f"{conversation_id}.{number}"


def call_id(run: str, number: int) -> str:
    """The id of a run's tool call number `number` (from 1)."""
    return f"{run}.{number}"


def conversation_of(any_id: str) -> str:
    """The conversation that a run or a call belongs to."""
    return any_id.split(".", 1)[0]


def run_of(call: str) -> str:
    """The run that a call belongs to."""
    return call.rsplit(".", 1)[0]


def number_of(run_or_call: str) -> int:
    """The last number of an id."""
    return int(run_or_call.rsplit(".", 1)[1])


def artifact_id(run: str, name: str) -> str:
    """The id, within its run, of a value stored aside: of `CALL:result`, `CALL:schema`, `output` …"""
    return name.removeprefix(f"{run}.").replace(":", "-")
