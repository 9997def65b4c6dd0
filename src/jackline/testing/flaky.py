"""A store that does not always answer, as one process sees it."""

from __future__ import annotations

import asyncio
import inspect
import random
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from jackline.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from jackline.log.base import Store

Fault = Literal["none", "not_written", "answer_lost"]
"""`not_written`: the store was not reached. `answer_lost`: it did what it was asked, and that is not
known. Either raises `StoreUnavailable`."""

WRITES: Final = frozenset({"append", "begin", "claim", "put_artifact", "release", "renew", "reserve"})
"""What changes a run."""


class FlakyLog:
    """A store behind a bad line.

    `store` is to be used in the place of the one behind it. While `on`, `plan` decides, by the method's
    name, what becomes of each request. `freeze` stops everything, requests and answers on their way
    included, until `thaw`: what SIGSTOP does to a process. `cut` does so for good: what is left of a
    process that was killed reaches nothing any more.
    """

    def __init__(self, behind: Store, plan: Callable[[str], Fault] | None = None) -> None:
        self.on = plan is not None
        self.plan = plan
        self.faults: list[tuple[str, Fault]] = []
        """The faults so far: method and kind."""
        self._behind = behind
        self._open = asyncio.Event()
        self._open.set()
        self._dead = False
        self.store = cast("Store", _Line(behind, self._ask))

    def freeze(self) -> None:
        """Let nothing through, either way, until `thaw`."""
        self._open.clear()

    def thaw(self) -> None:
        """Go on where `freeze` has stopped."""
        if not self._dead:
            self._open.set()

    def cut(self) -> None:
        """Let nothing through any more: no request that is made now ever returns; cancel who waits."""
        self._dead = True
        self._open.clear()

    async def _ask(self, name: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        await self._open.wait()
        fault: Fault = self.plan(name) if self.on and self.plan is not None else "none"
        if fault != "none":
            self.faults.append((name, fault))
        if fault == "not_written":
            raise StoreUnavailable(f"{name}: the store was not reached")
        answer = await ask()
        await self._open.wait()
        if fault == "answer_lost":
            raise StoreUnavailable(f"{name}: the store's answer was lost")
        return answer


class _Line:
    """The store as it is seen over the line."""

    def __init__(
        self, behind: Store, ask: Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]
    ) -> None:
        self._behind = behind
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if name == "aclose" or not inspect.iscoroutinefunction(found):
            return found

        async def ask(*args: Any, **options: Any) -> Any:
            return await self._ask(name, lambda: found(*args, **options))

        return ask


def scripted(*faults: Fault, methods: Collection[str] = ("append",)) -> Callable[[str], Fault]:
    """One fault for each request of these methods, in order; then none."""
    left = list(faults)

    def plan(method: str) -> Fault:
        return left.pop(0) if method in methods and left else "none"

    return plan


def by_chance(
    seed: int, *, not_written: float = 0.1, answer_lost: float = 0.1, methods: Collection[str] = WRITES
) -> Callable[[str], Fault]:
    """Faults at random, the same ones for the same seed and requests. The chances are of 1."""
    dice = random.Random(seed)

    def plan(method: str) -> Fault:
        if method not in methods:
            return "none"
        thrown = dice.random()
        if thrown < not_written:
            return "not_written"
        return "answer_lost" if thrown < not_written + answer_lost else "none"

    return plan
