"""Names of keys and the bytes of records. Pure.

Everything of a conversation shares the hash tag `{C}`, so that one script can change all of it in
one step, in a Cluster too. The indexes share `{index}`: they only say where to look.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jackline.errors import StoreUnavailable
from jackline.ids import conversation_of, is_run_id, number_of
from jackline.log.packing import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.events import Entry

_FIELDS: Final = 4
"""Of a plain record: `v`, its version, `e`, its entries. Then `f`, where the feed has a pointer to it."""


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of one run. `base` is the conversation's."""

    base: str
    number: int

    run: str = field(init=False)
    """Hash: the run's head, its lease, its checkpoint."""

    records: str = field(init=False)
    """Stream: one record per append, its id the last seq in it."""

    names: str = field(init=False)
    """Hash: once-name to seq."""

    def __post_init__(self) -> None:
        for name, letter in (("run", "r"), ("records", "e"), ("names", "o")):
            object.__setattr__(self, name, f"{self.base}:{letter}:{self.number}")

    def compacted(self, keeper: str) -> str:
        """Stream: what a keeper is making of the records, until it takes their place."""
        return f"{self.base}:z:{self.number}:{keeper}"

    @property
    def artifacts(self) -> str:
        """Hash: artifact id to media type, newline, bytes."""
        return f"{self.base}:a:{self.number}"


@dataclass(frozen=True, slots=True)
class Keys:
    """All names under one prefix."""

    prefix: str

    def base(self, conversation_id: str) -> str:
        """What every key of a conversation begins with."""
        return f"{self.prefix}:{{{conversation_id}}}"

    def conversation(self, conversation_id: str) -> str:
        """Hash: owner, created, last number, active number."""
        return f"{self.base(conversation_id)}:c"

    def waiting(self, conversation_id: str) -> str:
        """List: numbers of the runs that wait their turn."""
        return f"{self.base(conversation_id)}:w"

    def numbers(self, conversation_id: str) -> str:
        """Sorted set: numbers of the runs there are."""
        return f"{self.base(conversation_id)}:n"

    def tokens(self, conversation_id: str) -> str:
        """Hash: start token to number."""
        return f"{self.base(conversation_id)}:t"

    def channel(self, conversation_id: str) -> str:
        """Sharded channel of the hints of all runs of the conversation."""
        return f"{self.base(conversation_id)}:h"

    def run(self, run_id: str) -> RunKeys | None:
        """None for what cannot be a run's id: it must not become part of a key."""
        if not is_run_id(run_id):
            return None
        return RunKeys(self.base(conversation_of(run_id)), number_of(run_id))

    def index(self, name: str) -> str:
        """A key of the indexes: `where`, `due`, `runs`, `open`, `conversations`, `serial`, `h`, …"""
        return f"{self.prefix}:{{index}}:{name}"

    @property
    def feed(self) -> str:
        """Stream: pointers to what was appended to runs, that of all of them which is in the feed."""
        return f"{self.prefix}:{{feed}}:p"

    @property
    def feed_name(self) -> str:
        """String: a name by which the feed's cursors are told from another store's."""
        return f"{self.prefix}:{{feed}}:name"

    def feed_gone(self, run_id: str) -> str:
        """String, for a while: the run has been deleted."""
        return f"{self.prefix}:{{feed}}:gone:{run_id}"

    @property
    def feed_channel(self) -> str:
        """Sharded channel of the feed's hints."""
        return f"{self.prefix}:{{feed}}:h"

    def due_of(self, agent: str, revision: str) -> str:
        """Sorted set: from when on (ms) runs of an agent, and of a revision once they have one,
        can be claimed. The length in front keeps two pairs of names apart."""
        return self.index(f"due:{len(agent)}:{agent}:{revision}")


@dataclass(frozen=True, slots=True)
class Record:
    """A stored append: its entries are `first`…`last`."""

    first: int
    last: int
    entries: list[Entry]


def marked_in(identity: bytes, fields: Sequence[bytes]) -> list[tuple[bytes, list[tuple[int, Entry]]]]:
    """The marks in a record, each with the entries that it stands for and their seqs."""
    marks = marks_in(identity, fields)
    if not marks:
        return []
    whole = record(identity, fields)
    found: list[tuple[bytes, list[tuple[int, Entry]]]] = []
    for mark, begin, last in marks:
        first = begin or whole.first
        entries = whole.entries[first - whole.first : last + 1 - whole.first]
        found.append((mark, list(enumerate(entries, first))))
    return found


def marks_in(identity: bytes, fields: Sequence[bytes]) -> list[tuple[bytes, int, int]]:
    """The marks in a record, each with the first and the last seq of what it stands for; 0 for the
    record's first one."""
    if len(fields) <= _FIELDS:
        return []
    words = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"f", b"").split()
    parts = [word.split(b":") for word in words]
    return [
        (part[0], int(part[1]), int(part[2])) if len(part) > 1 else (part[0], 0, last_in(identity))
        for part in parts
    ]


def record(identity: bytes, fields: Sequence[bytes]) -> Record:
    """A record of a stream."""
    last = last_in(identity)
    entries = unpack(packed_in(identity, fields))
    return Record(last - len(entries) + 1, last, entries)


def last_in(identity: bytes) -> int:
    """The last seq in a record, from its id."""
    return int(identity.partition(b"-")[0])


def packed_in(identity: bytes, fields: Sequence[bytes]) -> bytes:
    """The entries of a record, as `unpack` takes them. Fields that a later version added are passed over."""
    if len(fields) >= _FIELDS and fields[2] == b"e":  # as nearly all are
        return fields[3]
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    if b"z" in values:  # compacted
        return zlib.decompress(values[b"z"])
    if b"e" in values:
        return values[b"e"]
    raise StoreUnavailable(
        f"record {last_in(identity)} of the log has no entries in it; a later version wrote it otherwise"
    )
