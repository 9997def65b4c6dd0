"""Processes of the version before and of the version after this one, made of this one: a store that
writes as they would, and reads what stands there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import msgspec

from jackline.events import Entry
from jackline.log.base import KEEP, Appended, Begun, Due, Nobody, Start, Store

Version = Literal["former", "present", "next"]

LATER_FIELDS = ("on_expiry", "effect", "verifies", "args_schema")
"""Fields that the version before does not write."""


class Writes:
    """Everything of `store`, but what is written is of another version."""

    def __init__(self, store: Store, version: Version) -> None:
        self._store = store
        self._version = version

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(
        self,
        run_id: str,
        entries: Sequence[Entry],
        *,
        fence: int | Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        checkpoint: bytes | None = None,
        summary: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
        lazy: bool = False,
    ) -> Appended:
        written = [self._entry(entry) for entry in entries]
        if self._version == "next" and written and not close:
            # Types, and states of known types, that are not known here. Behind the others: the names of
            # `once` go by the order.
            written += [_note(), _dream(run_id)]
        return await self._store.append(
            run_id,
            written,
            fence=fence,
            expect=expect,
            once=once,
            checkpoint=None if checkpoint is None else self._checkpoint(checkpoint),
            summary=None if summary is None else self._summary(summary),
            due=due,
            close=close,
            lazy=lazy,
        )

    async def begin(self, start: Start) -> Begun:
        entries = [self._entry(entry) for entry in start.entries]
        if self._version == "next":
            entries.append(_note())
        return await self._store.begin(replace(start, entries=entries, summary=self._summary(start.summary)))

    def _entry(self, entry: Entry) -> Entry:
        body = json.loads(entry.body)
        if self._version == "former":
            body = {name: value for name, value in body.items() if name not in LATER_FIELDS}
        else:
            body["mood"] = {"v": 2, "because": ["a later version"]}
            if entry.type == "token":
                body["kind_of_words"] = "kind"
            if body.get("receipt"):
                # A value that is not known in a place that is.
                body["receipt"]["model"] = "asked politely"
        return Entry(entry.type, json.dumps(body, ensure_ascii=False).encode())

    def _summary(self, summary: bytes) -> bytes:
        told = json.loads(summary)
        if self._version == "former":
            told.pop("stop_mode", None)
        else:
            told |= {"mood": "fine", "priority": 7}
        return json.dumps(told).encode()

    def _checkpoint(self, checkpoint: bytes) -> bytes:
        envelope = msgspec.msgpack.decode(checkpoint)
        if self._version == "next":
            envelope |= {"v": 2, "parts": [b"x"]}
        return msgspec.msgpack.encode(envelope)


def _note() -> Entry:
    return Entry("note", b'{"ts":"2026-01-01T00:00:00.000Z","text":"of a later version"}')


def _dream(run_id: str) -> Entry:
    body = {"ts": "2026-01-01T00:00:00.000Z", "call_id": f"{run_id}.1", "name": "t", "state": "dreaming"}
    return Entry("tool", json.dumps(body).encode())


def of_version(store: Store, version: Version) -> Store:
    """`store` as a process of that version writes it."""
    return store if version == "present" else cast("Store", Writes(store, version))


def bodies_of(entries: Sequence[Entry], wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The decoded bodies that are wanted."""
    return [body for entry in entries if wanted(body := json.loads(entry.body))]
