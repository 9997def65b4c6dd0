"""The threads that plain functions run in, and which call each works for."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

from jackline.processes import CallProcesses, running_call

if TYPE_CHECKING:
    from collections.abc import Callable


_TURNS: Final = 3
"""Turns of the loop after which a thread's result has reached the task that waits for it: one for the
future, one for the task, one to spare."""


class CallThreads(ThreadPoolExecutor):
    """The threads that plain functions run in. It knows which call each works for: a thread cannot
    be killed, so a stop must wait for it, or tell the truth about it."""

    def __init__(self, processes: CallProcesses | None = None, max_workers: int = 64) -> None:
        super().__init__(max_workers=max_workers, thread_name_prefix="tool")
        self.processes = processes or CallProcesses()
        """What those calls have started; kept here as a thread mostly waits for one."""
        self._of_call: dict[str, set[Future[object]]] = {}
        self._fresh: set[Future[object]] = set()

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future[object]:  # type: ignore[override]
        """Run `fn` in a thread; noted under the running call."""
        context = copy_context()
        future: Future[object] = super().submit(context.run, fn, *args, **kwargs)
        call_id = running_call.get("")
        if call_id:
            futures = self._of_call.setdefault(call_id, set())
            futures.add(future)
            self._fresh.add(future)
            loop = asyncio.get_running_loop()

            def done(_: Future[object]) -> None:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._arrives, future, _TURNS)

            future.add_done_callback(done)
        return future

    def _arrives(self, future: Future[object], turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._arrives, future, turns - 1)
        else:
            self._fresh.discard(future)

    def busy(self, call_id: str) -> set[Future[object]]:
        """The call's threads that still run."""
        return {future for future in self._of_call.get(call_id, ()) if not future.done()}

    def awaited(self, call_id: str) -> bool:
        """Whether a thread of the call still runs, or has ended so lately that who waits for it may not
        have its result: when that one is cancelled now, the work was done all the same."""
        return any(not each.done() or each in self._fresh for each in self._of_call.get(call_id, ()))

    def last(self, call_id: str) -> Future[object] | None:
        """The call's finished thread, if it had exactly one: its result is the call's."""
        futures = self._of_call.get(call_id, set())
        return next(iter(futures)) if len(futures) == 1 else None

    def forget(self, call_id: str) -> None:
        """The call has its end in the log."""
        if self.busy(call_id):
            self.processes.forget(call_id)
        else:
            self.processes.release(call_id)
        self._of_call.pop(call_id, None)
