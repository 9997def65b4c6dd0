"""The threads that plain functions run in, and which call each works for."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING

from jackline.processes import CallProcesses, running_call

if TYPE_CHECKING:
    from collections.abc import Callable


class CallThreads(ThreadPoolExecutor):
    """The threads that plain functions run in. It knows which call each works for: a thread cannot
    be killed, so a stop must wait for it, or tell the truth about it."""

    def __init__(self, processes: CallProcesses | None = None, max_workers: int = 64) -> None:
        super().__init__(max_workers=max_workers, thread_name_prefix="tool")
        self.processes = processes or CallProcesses()
        """What those calls have started; kept here as a thread mostly waits for one."""
        self._of_call: dict[str, set[Future[object]]] = {}

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future[object]:  # type: ignore[override]
        """Run `fn` in a thread; noted under the running call."""
        context = copy_context()
        future: Future[object] = super().submit(context.run, fn, *args, **kwargs)
        call_id = running_call.get("")
        if call_id:
            futures = self._of_call.setdefault(call_id, set())
            futures.add(future)
        return future

    def busy(self, call_id: str) -> set[Future[object]]:
        """The call's threads that still run."""
        return {future for future in self._of_call.get(call_id, ()) if not future.done()}

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
