"""All scenarios by name: who takes part, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import alone, fanout, layers, replays
from benchmarks.fanout import Fan, fan
from benchmarks.hubs import HUBS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.bench import Bench, Figure

    Measure = Callable[[Bench, str], Figure | Sequence[Figure]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """`title`: what is done, in a line. `contestants`: who takes part; those in `spared` not in a quick
    run, unless they are named."""

    name: str
    title: str
    contestants: tuple[str, ...]
    measure: Measure
    spared: frozenset[str] = frozenset()


_ALL: Final = tuple(HUBS)
_SPARED: Final = frozenset({"jackline embedded", "starlette queues"})
_EACH_ONE: Final = tuple(name for name in HUBS if name != "jackline tick")


def _fan(
    name: str,
    *,
    channels: int,
    viewers: int,
    rate: float,
    quick: tuple[int, int],
    contestants: tuple[str, ...] = _EACH_ONE,
) -> Scenario:
    """`quick`: channels and viewers of the quick run, at the same rate."""

    def measure(bench: Bench, contestant: str) -> Figure:
        few, less = quick
        wish = Fan(
            scenario=name,
            channels=bench.count(channels, few),
            viewers=bench.count(viewers, less),
            rate=rate,
            seconds=bench.choose(4.0, 1.0),
        )
        return fan(bench, contestant, wish)

    readers = "one viewer each" if channels > 1 else f"{viewers:,} viewers"
    runs = f"{channels:,} runs" if channels > 1 else "one run"
    title = f"{runs}, {readers}, {rate:g} entries/s in each run"
    return Scenario(name=name, title=title, contestants=contestants, measure=measure, spared=_SPARED)


SCENARIOS: Final = (
    _fan("1000x50", channels=1, viewers=1000, rate=50, quick=(1, 200)),
    _fan("1000x100", channels=1, viewers=1000, rate=100, quick=(1, 200), contestants=_ALL[:3]),
    _fan("1000x500", channels=1, viewers=1000, rate=500, quick=(1, 200)),
    _fan("5000x10", channels=1, viewers=5000, rate=10, quick=(1, 500)),
    _fan("1000 runs x20", channels=1000, viewers=1000, rate=20, quick=(100, 100)),
    _fan("1000 runs x60", channels=1000, viewers=1000, rate=60, quick=(100, 100)),
    Scenario(
        name="idle",
        title="memory of 5,000 viewers that wait",
        contestants=_EACH_ONE,
        measure=fanout.idle_memory,
        spared=_SPARED,
    ),
    Scenario(
        name="one run",
        title="all layers, one run of 50 tokens/s, one reader: what the server adds to a chunk's way",
        contestants=layers.PACED,
        measure=layers.one_run,
    ),
    Scenario(
        name="paced",
        title="all layers on one core, runs of 50 tokens/s, one reader each, until the p99 is over 50 ms",
        contestants=layers.PACED,
        measure=layers.paced,
    ),
    Scenario(
        name="burst",
        title="all layers on one core, 50 runs of 2,000 tokens at once, as fast as they are taken",
        contestants=tuple(layers.HOUSES),
        measure=layers.burst,
    ),
    Scenario(
        name="replay",
        title="one viewer reads a run of 100,000 entries from its beginning",
        contestants=tuple(replays.REPLAYS),
        measure=replays.replay,
    ),
    Scenario(
        name="storm",
        title="1,000 viewers come back at once and read 500 entries each, while 100 others watch a live run",
        contestants=tuple(replays.STORMS),
        measure=replays.storm,
    ),
    Scenario(
        name="commit",
        title="one process appends to 50 runs at once by the store's interface",
        contestants=alone.COMMITS,
        measure=alone.commit,
    ),
    Scenario(
        name="stop",
        title="`jackline bench stop`: from a stop's request to the entry at a viewer of the other replica",
        contestants=alone.STORES,
        measure=alone.stop,
    ),
    Scenario(name="start", title="starting up", contestants=("jackline",), measure=alone.start),
    Scenario(
        name="grow viewers",
        title="CPU per delivered entry, one run, 1 to 10,000 viewers, about 10,000 entries/s in all",
        contestants=("jackline", "nchan"),
        measure=alone.grow_viewers,
        spared=frozenset({"nchan"}),
    ),
    Scenario(
        name="grow runs",
        title="CPU per delivered entry, 1 to 5,000 runs with one viewer each, about 5,000 entries/s in all",
        contestants=("jackline", "nchan"),
        measure=alone.grow_runs,
        spared=frozenset({"nchan"}),
    ),
    Scenario(
        name="grow entries",
        title="a run of 100 to 1,000,000 entries: an append to it, reading its end, reading it all",
        contestants=alone.STORES,
        measure=alone.grow_entries,
    ),
)
