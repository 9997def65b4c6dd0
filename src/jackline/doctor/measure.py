"""Asks the questions, in their order. What the answers mean is `diagnose`'s matter."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, TypeVar

from jackline.doctor.probing import ASK_S, PATIENCE_S, Ask, Prober
from jackline.doctor.record import Measurements

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jackline.doctor.record import Count, Stream

LIVE: Final = (*range(0, 1000, 100), 1500, 2100, 2700)
"""When the events of an ordinary probe are due, in ms: close together, which shows blocks, and then apart,
which tells a fixed delay from an event that waits for the next one."""
BLOCKS: Final = tuple(range(0, 2000, 100))
SHORT: Final = (0, 300, 600, 900)
PARALLEL: Final = 20

_BLOCK_PAD: Final = 600
_FIRST_PAD: Final = 2000
"""More than compressors gather before they decide (512 B), less than a block of NGINX (4 KiB)."""
_HOLD_MS: Final = 2500
_LATE_S: Final = 65.0
_BEATS: Final = 20
_BEAT_S: Final = (0.2, 15.0)
_PROTECTIONS: Final = ("no-store", "no-transform", "x-accel-buffering")
_ALL: Final = {"without": ",".join(_PROTECTIONS)}
_One = TypeVar("_One")


class Doctor:
    """Measures one address. `token`: of `--grant`, of an origin, or an API key. `tell` hears what is being
    done. Raises `ValueError` for a bad URL."""

    def __init__(self, url: str, token: str | None, *, tell: Callable[[str], None]) -> None:
        self._prober = Prober(url, token)
        self._tell = tell

    async def measure(self, *, horizon_s: float = 0.0, provoke: bool = False) -> Measurements:
        """All of it: about 15 s, or the horizon if that is longer. Raises `ClientError` when the first
        request is not answered by a probe."""
        clock = asyncio.get_running_loop().time
        began = clock()
        self._tell("asking for an echo")
        echo = await self._prober.echo()
        quick, late = await _together(self._quick(), self._long(horizon_s))
        counts = await self._counts(horizon_s)
        return Measurements(
            url=self._prober.endpoint.url,
            echo=echo,
            streams=[*quick, *late],
            counts=counts,
            provoked=await self._provoke() if provoke else "",
            horizon_s=horizon_s,
            seconds=round(clock() - began, 3),
        )

    async def _quick(self) -> list[Stream]:
        self._tell("streams as they ship: GET, POST, compressed, large, cut")
        found = await self._streams(
            Ask(name="get", plan=LIVE),
            Ask(name="post", plan=LIVE, method="POST"),
            Ask(name="gzip", plan=LIVE, gzip=True),
            Ask(name="gzip-first", plan=LIVE, gzip=True, first=_FIRST_PAD),
            Ask(name="blocks", plan=BLOCKS, pad=_BLOCK_PAD, first=_BLOCK_PAD),
            Ask(name="cut", plan=SHORT, query={"ending": "cut"}, seconds=PATIENCE_S / 2),
        )
        self._tell("the same with what protects them taken off, one by one and together")
        off = [Ask(name=f"no-{name}", plan=LIVE, gzip=True, query={"without": name}) for name in _PROTECTIONS]
        plain = Ask(name="plain", plan=LIVE, query=_ALL)
        said = {"identity": "1"}
        off.append(Ask(name="identity", plan=LIVE, gzip=True, first=_FIRST_PAD, query=said))
        found += await self._streams(*off, plain, Ask(name="plain-gzip", plan=LIVE, gzip=True, query=_ALL))
        self._tell("two readers of one address, and a third one later")
        for readers in await _together(self._readers("readers", {}), self._readers("plain-readers", _ALL)):
            found += readers
        self._tell(f"{PARALLEL} streams at once")
        return found + await self._streams(
            *(Ask(name=f"parallel-{n}", plan=(0, _HOLD_MS)) for n in range(PARALLEL))
        )

    async def _readers(self, name: str, query: dict[str, str]) -> list[Stream]:
        """One address read by a second client while the first one reads, and by a third one afterwards."""
        probe_id = secrets.token_hex(8)

        def ask(number: int) -> Ask:
            return Ask(name=f"{name}-{number}", plan=SHORT, shared=probe_id, query=query)

        async def second() -> Stream:
            await asyncio.sleep(SHORT[1] / 1000)
            return await self._prober.stream(ask(2))

        found = await _together(self._prober.stream(ask(1)), second())
        return [*found, await self._prober.stream(ask(3))]

    async def _long(self, horizon_s: float) -> list[Stream]:
        """What only time shows: who cuts a silent stream, any stream, and what is late."""
        if not horizon_s:
            return []
        plan = (0, int(horizon_s * 1000))
        shortest, longest = _BEAT_S
        beat = int(min(longest, max(shortest, horizon_s / _BEATS)) * 1000)
        late = min(horizon_s, _LATE_S)
        self._tell(f"a silent stream, one with heartbeats and a late one: {horizon_s:g} s")
        return await self._streams(
            Ask(name="silent", plan=plan),
            Ask(name="beats", plan=plan, query={"beat": str(beat)}),
            Ask(name="late", plan=(0,), query={"delay": str(int(late * 1000))}, seconds=late + PATIENCE_S),
        )

    async def _counts(self, horizon_s: float) -> list[Count]:
        """After all else, since a proxy may take a server for dead whose answers are bad."""
        self._tell("counting how often what is sent once is executed")
        found = [
            await self._prober.count("POST", "503"),
            await self._prober.count("POST", "cut"),
            await self._prober.count("GET", "cut"),
        ]
        if horizon_s:
            found.append(await self._prober.count("POST", "slow", delay_s=min(horizon_s, _LATE_S)))
        return found

    async def _provoke(self) -> str:
        data = b"GET / HTTP/1.1\r\nHost: a/b c\r\nConnection: close\r\n\r\n"
        return (await self._prober.endpoint.raw(data, seconds=ASK_S)).decode("latin-1")[:2000]

    async def _streams(self, *asks: Ask) -> list[Stream]:
        """All at once, in their order."""
        return await _together(*(self._prober.stream(ask) for ask in asks))


async def _together(*work: Coroutine[None, None, _One]) -> list[_One]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]
