"""What the parts of the Redis store share: commands with their errors, durability, the indexes."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import hiredis
import structlog

from jackline.errors import (
    EntryTooLarge,
    Fenced,
    InDoubt,
    LogError,
    Moved,
    RunClosed,
    StoreUnavailable,
    UnknownRun,
)
from jackline.ids import conversation_of
from jackline.log.base import KEEP, Due, Head, Keep
from jackline.log.redis_barrier import Barrier
from jackline.log.redis_connection import Connection
from jackline.log.redis_greeting import Server, code_of, in_words, unavailable
from jackline.log.redis_hints import Hints
from jackline.log.redis_keys import Keys, RunKeys
from jackline.log.redis_scripts import load
from jackline.log.redis_wire import Command, Reply, array, integer, raw, text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Sequence

    from jackline.events import Entry
    from jackline.log.redis_address import Address

_KNOWN: Final = 4096
"""Runs whose keys are at hand: each append and read needs them. About 2 MiB."""

_GUESSES: Final = 4
"""Workers whose beats are asked for along with a head: most likely one of those seen last holds the
run, and the head then takes one round and not two."""

_SETTLE: Final = 8
"""Times that an index entry is written anew while its run keeps changing; who changes it last
settles it anyway."""

_PLACE_FIELDS: Final = ("seq", "closed", "waiting", "expires", "due", "agent", "revision")
_HEAD_FIELDS: Final = (
    *_PLACE_FIELDS,
    "owner",
    "summary",
    "created",
    "updated",
    "worker",
    "renewed",
    "generation",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a run belongs in the indexes. `due_ms`: from when on it can be claimed."""

    state: Literal["new", "open", "closed", "gone"]
    name: str = ""
    due_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A head, and from when on its run can be claimed if nothing changes until then."""

    head: Head
    claimable_ms: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """What the feed is told of an append: `pointer` before it, `hint` after it; its record bears `mark`."""

    mark: str
    pointer: Command
    hint: Command


class Core:
    """The connections of one store. Every method raises `StoreUnavailable`."""

    def __init__(
        self,
        address: Address,
        prefix: str,
        *,
        deadline: float,
        max_entry_bytes: int,
        replicas: int,
        in_feed: Callable[[Entry], bool],
        feed_entries: int,
    ) -> None:
        self.in_feed = in_feed
        self.feed_entries = feed_entries
        self._ends: dict[str, tuple[str, int]] = {}
        self.address = address = replace(address, life_key=f"{prefix}:life")
        self.max_entry_bytes = max_entry_bytes
        self.keys = Keys(prefix)
        self._known = lru_cache(maxsize=_KNOWN)(self.keys.run)
        self.scripts = load()
        self._holders: list[str] = []
        self.hints = Hints(address, deadline, self.keys.index("h"))
        self._commands = Connection(address, deadline)
        self._barrier = Barrier(address, deadline, f"{prefix}:barrier", replicas)

    async def start(self) -> None:
        """Connect; raises `ConfigError` too, for a server that can never be the store."""
        await self._commands.start()
        await self.hints.start()

    async def aclose(self) -> None:
        """Let go of every connection."""
        try:
            await self.hints.aclose()
        finally:
            try:
                await self._barrier.aclose()
            finally:
                await self._commands.aclose()

    @property
    def durability(self) -> str:
        """For people: what a crash of the server can cost."""
        return self._commands.server.durability

    @property
    def warning(self) -> str | None:
        """What the operator should change on the server."""
        return self._commands.server.warning

    # -- commands ------------------------------------------------------------------------------

    @property
    def server(self) -> Server:
        """The server at the other end, as it said when the connection was made."""
        return self._commands.server

    async def call(
        self, *commands: Command, life: str | None = None, spare: Collection[Command] = ()
    ) -> list[Reply]:
        """The replies of commands that leave together; others' may run between them. `life`: of the
        server that they are meant for; any other never gets them. `spare`: those of them without which
        the others are good as well; what the server refuses of them comes to None."""
        replies = await self._commands.call(commands, life)
        for i, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError):
                if commands[i] in spare:
                    replies[i] = await self._spared(commands[i], reply, life)
                else:
                    replies[i] = final = await self._again(commands[i], reply, life)
                    if isinstance(final, hiredis.ReplyError):
                        if i and commands[i - 1] in spare:
                            # What was announced is refused: who reads the feed need not wait for it.
                            self.withdraw(replies[i - 1])
                        raise unavailable(final)
        return replies

    async def _again(
        self, command: Command, error: hiredis.ReplyError, life: str | None
    ) -> Reply | hiredis.ReplyError:
        """The reply of a script that the server had not seen, or has no memory for but must take; any
        other error comes back."""
        if code_of(error) == "NOSCRIPT":
            # The server started anew, or is another one: nothing of it was executed.
            script = self.scripts.named_by(command[1])
            (reply,) = await self._commands.call([script.whole(command)], life)
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            error = reply
        if code_of(error) == "OOM" and command[0] == "EVALSHA":
            variant = self.scripts.named_by(command[1]).when_full
            if variant is not None:
                (reply,) = await self._commands.call([variant.whole(command)], life)
                if not isinstance(reply, hiredis.ReplyError):
                    return reply
                error = reply
        if code_of(error) == "READONLY":
            self._commands.drop("the primary became a replica")
        return error

    async def one(self, command: Command, *, life: str | None = None) -> Reply:
        """The reply of one command; see `call`."""
        (reply,) = await self.call(command, life=life)
        return reply

    def post(self, *commands: Command) -> None:
        """Run scripts that nobody waits for, if there is a connection."""
        if self._commands.link is not None:
            # Whole: nobody would be there to send a script again that the server has not seen.
            whole = [self.scripts.named_by(command[1]).whole(command) for command in commands]
            answer = self._commands.link.send(whole)
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- the feed ------------------------------------------------------------------------------

    async def announce(
        self, run_id: str, entries: Sequence[Entry], after: int | None = None
    ) -> Announcement | None:
        """To be sent around the append of `entries`, None where the feed has nothing of them. They come
        after entry `after`, if that is known."""
        if not any(map(self.in_feed, entries)):
            return None
        if after is None:
            after = await self._end_of(run_id)
        mark = secrets.token_urlsafe(6)
        return Announcement(
            mark=mark,
            pointer=(
                *("XADD", self.keys.feed, "MAXLEN", "~", self.feed_entries),
                *("*", "p", f"{run_id} {after} {mark}"),
            ),
            hint=("SPUBLISH", self.keys.feed_channel, "0 0 0 0\n"),
        )

    async def _end_of(self, run_id: str) -> int:
        """A seq that the run's log has reached. What this process has seen last is good, since a log does not
        become shorter within one life of the server."""
        life, end = self._ends.get(run_id, ("", 0))
        if life and life == self.server.life:
            return end
        seq = await self.one(("HGET", self.run_keys(run_id).run, "seq"))
        return 0 if seq is None else integer(seq)

    def note_end(self, run_id: str, last: int) -> None:
        """The run's log has been seen to reach `last`."""
        if len(self._ends) >= _KNOWN and run_id not in self._ends:
            self._ends.clear()
        self._ends[run_id] = self.server.life, last

    def withdraw(self, pointer: Reply) -> None:
        """Take back a pointer, by the answer to it, that announced what was not appended. Nobody waits for
        that: it would be forgotten anyhow."""
        link = self._commands.link
        if link is not None and isinstance(pointer, bytes):
            answer = link.send([("XDEL", self.keys.feed, pointer)])
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _spared(self, command: Command, error: hiredis.ReplyError, life: str | None) -> Reply:
        if code_of(error) == "OOM" and command[0] == "XADD":
            whole = self.scripts.announce.whole(
                self.scripts.announce.by_digest([self.keys.feed], self.feed_entries, command[-1])
            )
            (reply,) = await self._commands.call([whole], life)
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            error = reply
        structlog.get_logger().warning("feed_refused", server=str(self.address), reason=in_words(error))
        return None

    @asynccontextmanager
    async def durable(self, life: str, *, awaited: bool = True) -> AsyncGenerator[None]:
        """Left once all that was written, before it was entered, in this life of the server is on its
        disk, where it can say so (G8). Raises `StoreUnavailable` when it has another life by now: what
        it wrote in the former one may be missing. Unless `awaited`, there is nothing to wait for."""
        passed = self._barrier.passed(life) if awaited and self.server.waitaof else None
        try:
            yield
        except BaseException:
            if passed is not None and not passed.cancel():
                passed.exception()  # nobody will ask for it
            raise
        if passed is not None and not await passed:
            self._commands.server = replace(self._commands.server, aof=None, waitaof=False)

    # -- the indexes ---------------------------------------------------------------------------

    def touch(self, run_id: str) -> Command:
        """Sent before a change: should this process die before it settles the run's place, the
        next who looks for due runs finds it and does so."""
        return self._place_command(run_id, "touch", "", "")

    def place(self, run_id: str, place: Place) -> Command:
        """Put a run in the indexes. Whoever sends it looks at the run again afterwards."""
        due = "" if place.due_ms is None else str(place.due_ms)
        return self._place_command(run_id, place.state, place.name, due)

    def _place_command(self, run_id: str, state: str, name: str, due: str) -> Command:
        names = ("where", "due", "runs", "open", "conversations", "serial", "ended", "loose")
        return self.scripts.place.by_digest(
            [self.keys.index(key) for key in names],
            run_id,
            conversation_of(run_id),
            state,
            name,
            due,
            self.keys.index("h"),
        )

    def look(self, run_id: str) -> Command:
        """What `place_of` reads."""
        return ("HMGET", self.run_keys(run_id).run, *_PLACE_FIELDS)

    def place_of(self, reply: Reply) -> Place:
        """Where a run belongs, from the answer to `look`."""
        seq, closed, waiting, expires, due, agent, revision = array(reply)
        if seq is None:
            return Place(state="gone")
        name = self.keys.due_of(text(agent), "" if revision is None else text(revision))
        if closed is not None:
            return Place(state="closed", name=name)
        return Place(state="open", name=name, due_ms=_claimable(waiting, expires, due))

    async def settle(self, run_id: str, place: Place | None = None) -> None:
        """Make the indexes say what the run says. `place`: what the caller has read.

        Each write is followed by a look, and by another write when the run has changed: so the
        last one that writes has seen the run's last change, whoever else does the same.
        """
        if self.keys.run(run_id) is None:
            return
        if place is None:
            place = self.place_of(await self.one(self.look(run_id)))
        for _ in range(_SETTLE):
            _, reply = await self.call(self.place(run_id, place), self.look(run_id))
            found = self.place_of(reply)
            if found == place:
                return
            place = found

    # -- heads ---------------------------------------------------------------------------------

    async def found(self, run_ids: Sequence[str]) -> list[Found | None]:
        """Heads in the order of `run_ids`; None where there is no such run."""
        known = [keys for run_id in run_ids if (keys := self.keys.run(run_id)) is not None]
        guessed = tuple(self._holders)
        replies = await self.call(
            *(("HMGET", keys.run, *_HEAD_FIELDS) for keys in known),
            ("TIME",),
            *(self._turned(worker) for worker in guessed),
        )
        now = milliseconds(replies[len(known)])
        beats = dict(zip(guessed, replies[len(known) + 1 :], strict=True))
        rows: list[dict[str, Reply]] = [
            dict(zip(_HEAD_FIELDS, array(reply), strict=True)) for reply in replies[: len(known)]
        ]
        holders = sorted({text(row["worker"]) for row in rows if row["worker"] is not None})
        missing = [worker for worker in holders if worker not in beats]
        if missing:
            turned = await self.call(*map(self._turned, missing))
            beats.update(zip(missing, turned, strict=True))
            self._holders = [*missing, *guessed][:_GUESSES]
        by_key = dict(zip((keys.run for keys in known), rows, strict=True))
        answers: list[Found | None] = []
        for run_id in run_ids:
            keys = self.keys.run(run_id)
            row = None if keys is None else by_key[keys.run]
            answers.append(None if row is None or row["seq"] is None else _found(run_id, row, now, beats))
        return answers

    def _turned(self, worker: str) -> Command:
        return ("HGET", self.beat_key(worker), "turned")

    def beat_key(self, worker: str) -> str:
        """Hash: when the worker's loop turned, what it serves."""
        return f"{self.keys.prefix}:{{workers}}:b:{worker}"

    def run_keys(self, run_id: str) -> RunKeys:
        """Raises `UnknownRun` for what cannot be a run's id."""
        keys = self._known(run_id)
        if keys is None:
            raise UnknownRun(run_id)
        return keys


def milliseconds(time: Reply) -> int:
    """The answer to TIME, in ms since 1970."""
    seconds, micros = array(time)
    return integer(seconds) * 1000 + integer(micros) // 1000


def due_argument(due: Due) -> str:
    """`due` as the scripts take it."""
    if isinstance(due, Keep):
        return "keep"
    return due if isinstance(due, str) else str(due)


def changes_due(due: Due) -> bool:
    """Whether `due` says anything."""
    return due is not KEEP


def check_entries(entries: Sequence[Entry], once: Sequence[str], limit: int) -> None:
    """Raises `EntryTooLarge`, or `ValueError` for names without an entry each."""
    if len(once) > len(entries) or len(set(once)) < len(once):
        raise ValueError("each name of `once` needs an entry of its own")
    for entry in entries:
        if len(entry.body) > limit:
            raise EntryTooLarge(len(entry.body), limit)


def refusal(answer: list[Reply], run_id: str) -> LogError | InDoubt | None:
    """The error for a script's answer, None for `ok` and answers that are no refusal."""
    match raw(answer[0]):
        case b"unknown":
            return UnknownRun(run_id)
        case b"closed":
            return RunClosed(run_id)
        case b"doubt":
            return InDoubt(run_id)
        case b"fenced":
            return Fenced(run_id)
        case b"moved":
            return Moved(run_id, integer(answer[1]))
        case _:
            return None


def _claimable(waiting: Reply, expires: Reply, due: Reply) -> int | None:
    start = due if expires is None else expires
    return None if waiting is not None or start is None else integer(start)


def _found(run_id: str, row: dict[str, Reply], now: int, beats: dict[str, Reply]) -> Found:
    expires, due, revision = row["expires"], row["due"], row["revision"]
    worker = "" if row["worker"] is None else text(row["worker"])
    turned = beats.get(worker)
    if turned is None:
        turned = row["renewed"]
    closed = row["closed"] is not None
    head = Head(
        run_id=run_id,
        agent=text(row["agent"]),
        revision="" if revision is None else text(revision),
        owner=text(row["owner"]),
        last=integer(row["seq"]),
        closed=closed,
        summary=raw(row["summary"]),
        created_ms=integer(row["created"]),
        updated_ms=integer(row["updated"]),
        due_ms=None if due is None else integer(due),
        waiting=row["waiting"] is not None,
        worker="none" if expires is None else "alive" if integer(expires) > now else "lost",
        worker_id=worker,
        idle_ms=0 if expires is None or turned is None else now - integer(turned),
        generation=integer(row["generation"]),
        read_ms=now,
    )
    return Found(head=head, claimable_ms=None if closed else _claimable(row["waiting"], expires, due))


def unexpected(answer: Sequence[Reply]) -> StoreUnavailable:
    """A script's answer that it cannot give."""
    return StoreUnavailable(f"Redis answered something unexpected: {answer!r:.200}")
