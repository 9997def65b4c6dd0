"""The narrow waist: a durable log per run, and what is needed to find, lease and list runs.

Web and worker never call each other. Progress and commands are appends; everybody learns of them
by reading. A hint (`wait`) only says that there may be something to read; readers always read by
cursor, so a lost hint costs time and nothing else.

Every method raises `StoreUnavailable` when the store does not answer. A failed append is then
either written or not; `once` and `expect` make it safe to try again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from jackline.errors import Moved
from jackline.log.feed import Feed
from jackline.log.keeping import Keeping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from jackline.events import Entry

MAX_ENTRY_BYTES: Final = 64 * 1024
"""The default limit of one entry's body; a larger tool result is stored aside as an artifact."""

FORMAT: Final = 1
"""Version of a stored record. Version N reads N-1 and N+1 and keeps what it does not know."""


class Keep:
    """`due=KEEP`: leave the time from which the run can be claimed as it is."""


class Nobody:
    """`fence=NOBODY`: append only while no live lease stands behind the run."""


KEEP: Final = Keep()
NOBODY: Final = Nobody()
NOW: Final = "now"
NEVER: Final = "never"

type_due = Keep | Literal["now", "never"] | int
Due = type_due
"""KEEP, NOW, NEVER, or a time of the store's clock in ms since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Consecutive entries of a run: `entries[i]` has seq `first + i`.

    `first` is `after + 1`, unless the log no longer holds that entry: then it is the oldest one
    held, and the reader must say that there is a gap (G1). `last` is the seq of the log's newest
    entry at the time of reading, `closed` whether it is the final one. `cuts`: each time that the
    log came back from its store shorter than it had been and could not be healed, the seq of the
    last entry that was left. `restored`: the log came back, and nothing was written since. `doubt`:
    then also its holder has not yet said whether anything is missing; what is there is good, but
    more may follow that was there before (G8).
    """

    first: int
    entries: Sequence[Entry]
    last: int
    closed: bool
    cuts: tuple[int, ...] = ()
    restored: bool = False
    doubt: bool = False

    @property
    def epoch(self) -> int:
        """How often the log was cut."""
        return len(self.cuts)


class News(NamedTuple):
    """What a hint carried: `entries`, just appended, the first of them with seq `first`. `closed`: the
    last of them is the log's ending. `epoch`: how often the log had been cut before."""

    first: int
    entries: Sequence[Entry]
    closed: bool
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A name that `once` found used: the seq and the body of the entry that took it."""

    seq: int
    entry: Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """The append's place: `first`…`last`. With `repeated` nothing was written.

    `taken` then maps each `once` name already used to the entry that took it.
    """

    first: int
    last: int
    repeated: bool = False
    taken: dict[str, Taken] = field(default_factory=dict[str, Taken])


@dataclass(frozen=True, kw_only=True, slots=True)
class Serves:
    """An agent that a worker can drive: `name`, and the `revision` of its code."""

    name: str
    revision: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to write a run's progress, until its time runs out or it is released.

    `generation` grows with each claim of the run; it is the fence of every append (G7).
    `lapsed` tells that the claim before this one was never released: its worker died.
    """

    run_id: str
    worker: str
    generation: int
    agent: str
    revision: str
    last: int
    lapsed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """What a log that came back shorter is missing: `entries` after `last`, the newest one it has.

    `names`: the `once` names that entries among them took, with their seqs. `checkpoint` and
    `summary`: the newest, where the holder has them. `cut`: what came after `last` is lost.
    """

    last: int
    entries: Sequence[Entry] = ()
    names: Mapping[str, int] = field(default_factory=dict[str, int])
    checkpoint: bytes | None = None
    summary: bytes | None = None
    cut: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What is known of a run without reading its entries.

    `revision` is "" until a worker has claimed it. `due_ms` is None for never. `waiting` tells
    that an earlier run of the conversation must end first. `worker` tells who stands behind it:
    a live lease, one that lapsed without release, or none; `idle_ms` how long ago, by the store's
    clock, the loop of that worker last turned. Times are ms of the store's clock; `read_ms` is when
    this was read.
    """

    run_id: str
    agent: str
    revision: str
    owner: str
    last: int
    closed: bool
    summary: bytes
    created_ms: int
    updated_ms: int
    due_ms: int | None
    waiting: bool
    worker: Literal["alive", "lost", "none"]
    worker_id: str
    idle_ms: int
    generation: int
    read_ms: int = field(compare=False)
    """Of no matter to whether two readings are the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What `begin` needs to make a run. `token` is the start's own name: the same one again
    gives the same run. `queue`: wait for the active run to end instead of raising Busy."""

    conversation_id: str
    new_conversation: bool
    token: str
    agent: str
    owner: str
    entries: Sequence[Entry]
    summary: bytes
    queue: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """The run of a start. `active`: the run that it waits for, else None."""

    run_id: str
    last: int
    repeated: bool
    active: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """What an idempotency key stands for: the digest of the request and what it will make."""

    digest: str
    target: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """A conversation: its owner, the numbers of its runs in order, its active run if any."""

    conversation_id: str
    owner: str
    run_ids: tuple[str, ...]
    active: str | None
    created_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A value stored aside."""

    media_type: str
    data: bytes


class EventLog(Protocol):
    """The log of each run."""

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
        """Append `entries`, all or nothing, in one atomic step; checked in this order:

        - unknown: `UnknownRun` when `begin` never made the run (or it was deleted);
        - `once`: names, each used one time only in the run's life. If any is used already nothing
          is written and `repeated` is set, on a closed run too. The i-th name is taken by the
          i-th entry;
        - closed: `RunClosed` after an append with `close` (G3);
        - `fence`: an int is a lease's generation, `Fenced` when it is not the run's present one;
          `NOBODY` raises `Fenced` while a live lease exists, and otherwise ends any lapsed one
          (its holder is fenced from then on). A lapsed lease that nobody took over still appends;
        - `expect`: the seq of the last entry the writer has read, `Moved` when there are more.

        `entries` may be empty when only `checkpoint`, `summary` or `due` are to be set.
        `checkpoint` and `summary` replace the former ones together with the entries.
        `due`: from when on the run can be claimed. `close` closes the log for ever, releases the
        lease, removes the run from its conversation, and wakes the conversation's next waiting
        run (due now). Acknowledged appends with `once`, `expect`, `checkpoint` or `close` are as
        durable as the store can make them (G8); the others, and those with `lazy`, are in the
        store's order and visible. Raises `EntryTooLarge` above the limit, before anything is
        written, and `InDoubt` while a run that came back from its store waits for its holder.
        """
        ...

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        """Up to `limit` entries after `after`, in order; stops early once `max_bytes` of bodies are
        exceeded (always at least one entry if there is one). Raises `UnknownRun`."""
        ...

    async def heal(self, lease: Lease, ttl: float, missing: Missing) -> None:
        """Put back what the store lost of the run that `lease` holds, or vouch that nothing is
        missing, or cut the log where it ends now: one atomic step, after which the run is no longer
        in doubt and the lease lives for `ttl` seconds. Also good when the store has forgotten the
        claim itself, as long as nobody has claimed the run since. Raises `Fenced`, `RunClosed`,
        `UnknownRun`, `Moved` when the log does not end at `missing.last`."""
        ...

    async def cut(self, run_id: str, page: Page) -> None:
        """Somebody has seen entries after those of the `restored` `page`, which ends where the log
        does: end the epoch there (G1). Does nothing when the log has gone on since, or was cut.
        Raises `InDoubt` while its holder may still put back what is missing, `RunClosed`,
        `UnknownRun`."""
        ...

    async def wait(self, run_id: str, after: int, timeout: float) -> None:
        """Return when the run may have entries after `after` or may have closed, at the latest
        after `timeout` seconds. A hint: it may return for nothing. Costs no connection."""
        ...

    def listen(self, run_id: str, hear: Callable[[News | None], None]) -> AbstractContextManager[None]:
        """Within it `hear` is called, on the event loop, whenever something was appended to the run or
        became of it: with the entries themselves where the store sends them along, with None where
        they have to be read. A hint like `wait`'s: it may come twice, or for nothing; one that may
        have been lost is followed by a None. It must not raise. Costs no connection."""
        ...

    async def head(self, run_id: str) -> Head:
        """The run's head. Raises `UnknownRun`."""
        ...

    async def checkpoint(self, run_id: str) -> bytes | None:
        """The newest checkpoint, None before the first. Raises `UnknownRun`."""
        ...


class NeverShort:
    """The `heal` and `cut` of stores whose runs are never in doubt: what they have shown, they keep."""

    async def heal(self, lease: Lease, ttl: float, missing: Missing) -> None:
        """See `EventLog.heal`: there is never anything to put back."""
        del ttl
        raise Moved(lease.run_id, missing.last)

    async def cut(self, run_id: str, page: Page) -> None:
        """See `EventLog.cut`: no page of theirs is `restored`."""


class Leases(Protocol):
    """Who drives which run."""

    async def claim(self, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
        """Take one run that is due, has no live lease, does not wait for another run, is not
        closed, and whose agent is served: one claimed before only by the same revision (a run
        never claimed is pinned to the claimer's). The longest due comes first. None when there is
        none. `ttl` in seconds, by the store's clock. Runs whose lease lapsed are due."""
        ...

    async def wait_due(self, timeout: float) -> None:
        """Return when some run may have become due, at the latest after `timeout` seconds."""
        ...

    async def renew(self, lease: Lease, ttl: float) -> None:
        """Raises `Fenced` when another has claimed since, `RunClosed`, `UnknownRun`."""
        ...

    async def release(self, lease: Lease, due: Due, *, expect: int) -> None:
        """Give the run back; `Moved` when entries came since `expect`, and it is still held then.
        Raises `Fenced`, `RunClosed`, `UnknownRun`."""
        ...

    async def beat(self, worker: str, ttl: float, *, idle_ms: int, catalogue: bytes | None = None) -> None:
        """Say that the worker lives, that its loop last turned `idle_ms` ago, and (when given)
        what it serves, opaque here. Forgotten after `ttl` seconds without another."""
        ...

    async def catalogues(self) -> list[bytes]:
        """What the live workers serve."""
        ...


class Directory(Protocol):
    """Starting, finding and removing runs and conversations."""

    async def begin(self, start: Start) -> Begun:
        """Make the conversation's next run, due now, in one atomic step with its first entries.

        The same `token` in the same conversation again gives the run it made (`repeated`).
        An active run raises `Busy`, or with `queue` the new run waits its turn, in order.
        The limit of an entry's size does not hold for these: what a person says is bounded where it
        comes in. Raises `UnknownRun` (of the conversation's id) when the conversation does not exist and
        `new_conversation` is false.
        """
        ...

    async def reserve(self, key: str, reservation: Reservation) -> Reservation:
        """Reserve an idempotency key; returns the reservation that stands (this one, or the
        earlier one). Kept at least a day, and as long as the run that `target` names is open;
        `target` is opaque here except that it begins with a conversation's id."""
        ...

    async def conversation(self, conversation_id: str) -> Conversation:
        """Raises `UnknownRun` (of the conversation's id)."""
        ...

    async def runs(
        self, *, cursor: str = "", limit: int = 100, open_only: bool = False, conversation_id: str = ""
    ) -> tuple[list[Head], str]:
        """Heads, newest first, and the cursor of the next page ("" at the end)."""
        ...

    async def conversations(self, *, cursor: str = "", limit: int = 100) -> tuple[list[Conversation], str]:
        """Newest first, and the cursor of the next page ("" at the end)."""
        ...

    async def overdue(self, limit: int = 100) -> list[Head]:
        """Open runs that are due and have no live lease, whoever serves them, longest due first.
        The sweeper's list."""
        ...

    async def delete(self, run_or_conversation_id: str) -> None:
        """Remove it everywhere, artifacts included. Raises `Busy` while a run of it is open,
        `UnknownRun`."""
        ...


class Artifacts(Protocol):
    """Values too large for an entry, kept beside the run."""

    async def put_artifact(self, run_id: str, artifact_id: str, artifact: Artifact) -> None:
        """Store before the entry that names it is appended. Raises `UnknownRun`."""
        ...

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact | None:
        """None when there is none."""
        ...


class Store(EventLog, Leases, Directory, Artifacts, Keeping, Feed, Protocol):
    """All of it, as the composition root makes it. One per process."""

    async def now_ms(self) -> int:
        """The store's clock, ms since 1970: the only one that leases and expiries go by."""
        ...

    async def ping(self) -> None:
        """Raises `StoreUnavailable` with the reason."""
        ...

    def describe(self) -> str:
        """For people: `SQLite /path`, `Redis host:port (AOF everysec)`; never a password."""
        ...

    async def aclose(self) -> None:
        """Let go of connections, threads and files."""
        ...


async def follow(
    log: EventLog, run_id: str, after: int = 0, *, poll: float = 5.0, limit: int = 1000
) -> AsyncIterator[Page]:
    """Pages of a run's entries after `after`, for ever until it is closed and all is read.

    The last page has `closed` and reaches `last`. `poll`: the longest time in seconds that a lost
    hint can cost.
    """
    while True:
        page = await log.read(run_id, after, limit)
        if page.entries:
            after = page.first + len(page.entries) - 1
            yield page
        if after >= page.last:
            if page.closed:
                if not page.entries:
                    yield page
                return
            await log.wait(run_id, after, poll)
