"""One claimed run in a worker's hands: open it, let the agent work, watch for what cuts it off, end it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
import structlog

from jackline.answers import expired_answer, is_late
from jackline.commands import read_state
from jackline.context import Envelope, PreviousRun, RunContext
from jackline.endings import CallEnd, close_calls, lost_ends, lost_error, stop_entries
from jackline.errors import (
    AgentError,
    Fenced,
    IllegalTransition,
    InDoubt,
    JacklineError,
    LimitReached,
    Moved,
    NotFound,
    StopRequested,
    UnknownRun,
)
from jackline.events import Approval, ErrorInfo, Tool, Workflow, parse_timestamp, timestamp
from jackline.ids import number_of, run_id
from jackline.journal import Journal
from jackline.limits import merge_limits
from jackline.log.base import KEEP, NEVER, NOW, Missing
from jackline.run import HANDED_BACK, TAKEOVER
from jackline.values import clean, to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from concurrent.futures import Future

    from jackline.agents.base import Agent
    from jackline.clock import StoreClock
    from jackline.events import Event, Json
    from jackline.limits import RunLimits
    from jackline.log.base import Due, Lease, Store
    from jackline.remote import Ask
    from jackline.run import Call, RunState
    from jackline.settings import Settings
    from jackline.threads import CallThreads

HISTORY_RUNS: Final = 20
"""How many earlier runs without a checkpoint are read for the agent's history."""

OUTCOME_CHOICES: Final = ("retry", "done", "abort")

Cut = Literal["lost", "stopped", "ended", "halted", "wall", "leaving"]
"""What ended the agent's work."""

CUTS: Final[tuple[Cut, ...]] = ("lost", "stopped", "ended", "halted", "wall", "leaving")
"""Where several are true at once, the first of them counts."""


class Boss(Protocol):
    """What a worker tells its supervisor. Nothing here waits."""

    def held(self, lease: Lease) -> None:
        """This run is driven now and nothing of it is being cut off (any more): renew its lease."""
        ...

    def gone(self, run_id: str) -> None:
        """It is no longer."""
        ...

    def stopping(self, run_id: str) -> None:
        """Everything of this run is being cut off: if it is not gone within the grace, kill me."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What all runs of one worker share. `leaving` is set once the worker is told to go."""

    store: Store
    clock: StoreClock
    agent: Agent
    settings: Settings
    threads: CallThreads
    boss: Boss
    leaving: asyncio.Event


class Drive:
    """See the module. `run` returns when the run has ended, is parked, or handed back; it raises
    `Fenced` or `RunClosed` when it was lost. `lost`: set from outside when the lease is gone."""

    def __init__(self, bench: Bench, lease: Lease, lost: asyncio.Event) -> None:
        self._store = bench.store
        self._clock = bench.clock
        self._agent = bench.agent
        self._settings = bench.settings
        self._threads = bench.threads
        self._boss = bench.boss
        self._leaving = bench.leaving
        self._log = structlog.get_logger().bind(run_id=lease.run_id)
        self._lease = lease
        self._lost = lost
        self._journal: Journal
        self._limits: RunLimits

    def _now(self) -> str:
        return self._clock.ts()

    @property
    def _state(self) -> RunState:
        return self._journal.state

    async def run(self) -> None:
        """Drive the run. See the class."""
        state = await read_state(self._store, self._lease.run_id)
        self._limits = merge_limits(self._settings.limits.model_dump(), state.limits)
        try:
            await self._with_journal(state, self._until_over)
        except Fenced:
            if self._journal.short is None:
                raise
            await self._journal.patiently(self._cut_log)

    async def _with_journal(self, state: RunState, work: Callable[[], Awaitable[None]]) -> None:
        self._journal = Journal(
            self._store, self._lease, state, max_bytes=self._limits.bytes, ttl=self._settings.lease
        )
        fault: JacklineError | None = None
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._journal.run()), group.create_task(self._journal.watch())]
            try:
                await work()
            except JacklineError as error:
                fault = error  # raised below, out of the group, or it would come wrapped
            finally:
                for task in tasks:
                    task.cancel()
        if fault is not None:
            raise fault

    async def _cut_log(self) -> None:
        """The store came back without entries that cannot be put back. What the run did in them no
        longer stands in its log, so it does not go on (G8)."""
        lost = self._state
        while True:
            state = await read_state(self._store, self._lease.run_id)
            with contextlib.suppress(Moved):
                await self._store.heal(self._lease, self._settings.lease, Missing(last=state.seq, cut=True))
                break
        self._log.error("log_lost", after=state.seq, upto=lost.seq)

        async def end() -> None:
            if state.stop is not None:
                await self._finish_stop(None, ends=lost_ends(state, lost))
            else:
                await self._fail(lost_error(state, lost), lost_ends(state, lost))

        await self._with_journal(state, end)

    async def _until_over(self) -> None:
        try:
            while await self._once():
                pass
        except StopRequested:
            await self._finish_stop(None)

    async def _once(self) -> bool:
        """Drive until the next pause; True when it is over already."""
        state = self._state
        if state.ended:
            # It was put back without its close: who did that has died in between (G3).
            await self._journal.commit([], expect=True, even_if_stopping=True, close=True)
            return False
        if state.stop is not None:
            await self._finish_stop(None)
            return False
        if state.state == "awaiting_approval":
            now = await self._journal.patiently(self._store.now_ms)
            late = [expired_answer(question, now) for question in state.pending if is_late(question, now)]
            if late:
                try:
                    await self._journal.commit(late, expect=True)
                except IllegalTransition:
                    return True  # a sweeper was faster: what stands there now has been read
            if state.pending:
                return await self._park()
        if not await self._open():
            return False
        if self._state.state == "awaiting_approval":
            return await self._park()
        return await self._work()

    # Opening: what stands before the agent goes on

    async def _open(self) -> bool:
        """Write the boundary entries; False when the run ended with them."""
        state = self._state
        match state.state:
            case "queued":
                await self._journal.commit([self._workflow("executing", attempt=1)], expect=True)
            case "awaiting_approval":
                died = any(call.state == "started" for call in state.open_calls)
                # A call that ran beside the question when its worker died: nobody saw its end.
                return await self._open_answered() and (not died or await self._open_takeover())
            case _:
                return await self._open_takeover()
        return True

    async def _open_answered(self) -> bool:
        events: list[Event] = [self._workflow("executing")]
        aborted: str | None = None
        for call in list(self._state.calls.values()):
            question = self._state.last_question(call.call_id)
            if question is None or call.state not in {"requested", "unknown"}:
                continue
            who = question.by or "somebody"
            if question.kind == "call" and question.state in {"denied", "expired"}:
                because = f": {question.answer_reason}" if question.answer_reason else ""
                verb = "denied by" if question.state == "denied" else "not answered in time; denied by"
                error = ErrorInfo(type=question.state, message=f"{verb} {who}{because}")
                events.append(_tool(self._now(), call, "denied", error=error))
            elif question.outcome == "done":
                events.append(_tool(self._now(), call, "finished", result=question.result))
            elif question.outcome == "abort" or (question.kind == "outcome" and question.state == "expired"):
                aborted = f"{who} gave up on {call.name}, whose outcome is unknown"
                error = ErrorInfo(type="aborted", message=aborted)
                events.append(_tool(self._now(), call, "failed", error=error))
        await self._journal.commit(events, expect=True)
        if aborted is not None:
            await self._fail(ErrorInfo(type="aborted", message=aborted), {})
            return False
        return True

    async def _open_takeover(self) -> bool:
        """Another worker had the run: say so, drop what it was saying, and ask a person about every
        call whose outcome nobody saw (G6, G7)."""
        state = self._state
        attempt = state.attempt + 1
        if attempt - state.handed_back > self._settings.max_attempts:
            detail = f"{self._settings.max_attempts} attempts ended without an ending; see the worker's log"
            await self._fail(ErrorInfo(type="max_attempts", message=detail), {})
            return False
        if state.executing_seconds > self._limits.wall_seconds:
            limit = LimitReached("wall_seconds", self._limits.wall_seconds)
            await self._fail(ErrorInfo(type=limit.kind, message=str(limit)), {})
            return False
        opening = self._workflow(
            "executing", attempt=attempt, reason=TAKEOVER, supersedes=await self._unfinished()
        )
        events: list[Event] = [opening]
        unknown = [
            call
            for call in state.open_calls
            if call.state == "started" and call.effect not in {"read_only", "idempotent"}
        ]
        due: Due = KEEP
        if unknown:
            expires, due = await self._expiry()
            ts = self._now()
            for call in unknown:
                events += [_tool(ts, call, "unknown"), _outcome_question(ts, state, call, expires)]
            events.append(self._workflow("awaiting_approval", attempt=attempt))
        await self._journal.commit(events, expect=True, due=due)
        return True

    async def _unfinished(self) -> tuple[str, ...]:
        """The messages begun after the last checkpoint: they will be said again."""
        if self._agent.repeats_itself:
            return ()
        checkpoint = await self._journal.patiently(lambda: self._store.checkpoint(self._lease.run_id))
        kept = 0
        if checkpoint is not None:
            kept = msgspec.msgpack.decode(checkpoint, type=Envelope).messages
        said = [entry for entry in self._state.said.values() if entry.role == "assistant"]
        names = list(dict.fromkeys(entry.message_id for entry in said))
        dropped = {entry.message_id for entry in said if entry.superseded}
        return tuple(name for name in names[kept:] if name not in dropped)

    async def _expiry(self) -> tuple[str | None, Due]:
        if self._settings.approval_expiry is None:
            return None, NEVER
        at = await self._journal.patiently(self._store.now_ms)
        at += round(self._settings.approval_expiry * 1000)
        return timestamp(at / 1000), at

    # Working: the agent, and what can cut it off

    async def _work(self) -> bool:
        ctx = await self._journal.patiently(self._context)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_outcome(self._agent, ctx), name=f"agent {self._lease.run_id}")
            try:
                why = await self._watch(task, ctx)
            except BaseException:
                # The worker itself falls, and the agent with it. What it cancels on the way down must
                # stay open in the log: nobody saw those calls end, so a person is asked (G6).
                ctx.over = True
                raise
            model_open = ctx.model_open
            await self._cut(task, ctx, why)
        if why != "lost":
            # What was put in before must be folded first, or what has just happened would be told twice.
            await self._journal.commit([])
            if self._state.state == "awaiting_approval":
                return await self._park(self._ends(ctx))  # its question was asked, whatever came then
        match why:
            case "lost":
                raise Fenced(self._lease.run_id)
            case "stopped":
                await self._finish_stop(ctx, model_open=model_open)
                return False
            case "wall":
                limit = LimitReached("wall_seconds", ctx.limits.wall_seconds)
                await self._fail(ErrorInfo(type=limit.kind, message=str(limit)), self._ends(ctx))
                return False
            case "leaving":
                await self._hand_back(self._ends(ctx))
                return False
            case "halted":
                return await self._after_halt(ctx, model_open=model_open)
            case "ended":
                await self._conclude(ctx, _ended(task), model_open=model_open)
                return False

    async def _context(self) -> RunContext:
        state = self._state
        self._journal.checkpoint = await self._store.checkpoint(state.run_id)
        previous: list[PreviousRun] = []
        for number in range(
            number_of(state.run_id) - 1, max(0, number_of(state.run_id) - 1 - HISTORY_RUNS), -1
        ):
            earlier = run_id(state.conversation_id, number)
            try:
                fold = await read_state(self._store, earlier)
                checkpoint = await self._store.checkpoint(earlier)
            except (NotFound, UnknownRun):
                continue  # deleted by its owner
            saved = (
                msgspec.msgpack.decode(checkpoint, type=Envelope).agent if checkpoint is not None else None
            )
            previous.insert(0, PreviousRun(run_id=earlier, state=fold, checkpoint=saved))
            if saved is not None:
                break
        return RunContext(
            store=self._store,
            journal=self._journal,
            clock=self._clock,
            limits=self._limits,
            checkpoint=self._journal.checkpoint,
            previous=previous,
            threads=self._threads,
            max_entry=self._settings.max_entry,
            approval_expiry=self._settings.approval_expiry,
            on_expiry=self._settings.approval_expiry_action,
        )

    async def _watch(self, task: asyncio.Task[_Ended], ctx: RunContext) -> Cut:
        """Wait for the first thing that ends the agent's work."""
        journal = self._journal
        left = max(0.0, ctx.limits.wall_seconds - self._state.executing_seconds)
        async with asyncio.TaskGroup() as group:
            waiters = {
                "lost": [group.create_task(_wait(journal.lost)), group.create_task(_wait(self._lost))],
                "stopped": [group.create_task(_wait(journal.immediate))],
                "halted": [group.create_task(self._halted(ctx))],
                "wall": [group.create_task(asyncio.sleep(left))],
                "leaving": [group.create_task(self._left(ctx))],
            }
            everything = [waiter for some in waiters.values() for waiter in some]
            await asyncio.wait([task, *everything], return_when=asyncio.FIRST_COMPLETED)
            true = {name for name, some in waiters.items() if any(waiter.done() for waiter in some)}
            # The events themselves count: their waiters may be a turn of the loop late.
            true |= {"lost"} if journal.lost.is_set() or self._lost.is_set() else set()
            true |= {"stopped"} if journal.immediate.is_set() else set()
            for waiter in everything:
                waiter.cancel()
        if task.done():
            true.add("ended")
        return next(cut for cut in CUTS if cut in true)

    async def _halted(self, ctx: RunContext) -> None:
        """The agent waits to be let go, and no call of it runs any more."""
        await ctx.halted.wait()
        await ctx.quiet.wait()

    async def _left(self, ctx: RunContext) -> None:
        """The worker must go: running calls get the time to end, nothing new begins."""
        await self._leaving.wait()
        ctx.leaving = True
        try:
            async with asyncio.timeout(self._settings.drain):
                await ctx.quiet.wait()
        except TimeoutError:
            self._log.warning("drain_cuts_calls", calls=list(ctx.running))

    async def _cut(self, task: asyncio.Task[_Ended], ctx: RunContext, why: Cut) -> None:
        """Cancel what still runs and wait until it has let go. A tool that never does is the
        supervisor's matter: it kills this process when the grace is over."""
        ctx.over = True
        for call_id in list(ctx.running):
            # Before the cancellation: a tool that waits for its process cannot let go before that does.
            self._threads.processes.end(call_id)
        told = why in {"stopped", "wall"}
        if told:
            self._boss.stopping(self._lease.run_id)
        again = self._settings.stop_grace / 2
        while not task.done():
            task.cancel()
            # Once is right: a second cancellation would cut off the tool's own cleaning up. A tool
            # that swallowed the first one gets another when half of the grace is gone.
            await asyncio.wait([task], timeout=again)
            if not task.done() and not told:
                # Nobody looks at the run's stops while this waits, so it may not wait for ever.
                told = True
                self._boss.stopping(self._lease.run_id)
        if why == "lost":
            return
        await self._ask_elsewhere(ctx)
        for call_id in ctx.invoked:
            await self._threads.processes.gone(call_id)
            if self._state.calls[call_id].state == "started":
                await self._await_threads(ctx, call_id, patient=why == "stopped")
                if self._threads.processes.killed(call_id):
                    # However the tool took it that its process died: that was our doing.
                    ctx.ends[call_id] = CallEnd(outcome="killed", duration_ms=_duration(ctx, call_id))
            self._threads.forget(call_id)
        if told:
            self._boss.held(self._lease)  # its ending may take as long as the store is away (G8)

    async def _await_threads(self, ctx: RunContext, call_id: str, *, patient: bool) -> None:
        """A thread cannot be killed: wait for its end, which then is the call's true end. A stop
        waits until the supervisor ends the process with the thread in it; any other ending waits
        half of the grace and then says `unknown`."""
        if call_id not in ctx.in_threads:
            return
        left: set[asyncio.Future[object]] = set()
        if busy := self._threads.busy(call_id):
            waits = [asyncio.wrap_future(future) for future in busy]
            done, left = await asyncio.wait(waits, timeout=None if patient else self._settings.stop_grace / 2)
            for wait in done:
                _ = wait.cancelled() or wait.exception()  # told below, where it is the call's own
        last = None if left else self._threads.last(call_id)
        ctx.ends[call_id] = await _end_of_thread(ctx, call_id, last)

    async def _ask_elsewhere(self, ctx: RunContext) -> None:
        """Calls that were made elsewhere: what the other side says became of them."""
        open_calls = [call_id for call_id in ctx.invoked if self._state.calls[call_id].state == "started"]
        async with asyncio.TaskGroup() as group:
            for call_id in open_calls:
                for ask in ctx.asks.get(call_id, ()):
                    group.create_task(self._ask_about(ctx, call_id, ask))

    async def _ask_about(self, ctx: RunContext, call_id: str, ask: Ask) -> None:
        try:
            end = await ask(self._settings.kill_seconds)
            if end.result is not msgspec.UNSET:
                end = replace(end, result=await ctx.stored_aside(end.result, f"{call_id}:result"))
        except Exception as error:  # noqa: BLE001
            # Whatever the other side says, or the reading of it raises: a stop must come to its end.
            self._log.warning("call_elsewhere_not_told", call_id=call_id, error=repr(error))
            end = CallEnd(outcome="unknown")
        ctx.ends[call_id] = replace(end, duration_ms=_duration(ctx, call_id))

    # Ending

    async def _after_halt(self, ctx: RunContext, *, model_open: bool) -> bool:
        if self._state.stop is not None:
            await self._finish_stop(ctx, model_open=model_open)
            return False
        if self._leaving.is_set():
            await self._hand_back(self._ends(ctx))
            return False
        raise Fenced(self._lease.run_id)

    async def _conclude(self, ctx: RunContext, ended: _Ended, *, model_open: bool) -> None:
        if ctx.limit is not None:
            await self._fail(ErrorInfo(type=ctx.limit.kind, message=str(ctx.limit)), self._ends(ctx))
            return
        if ended.error is not None:
            if ended.trace is not None:
                self._log.error("agent_failed", exc_info=ended.trace)
            await self._fail(ended.error, self._ends(ctx))
            return
        try:
            output = await ctx.stored_aside(ended.output, "output")
        except LimitReached as limit:
            await self._fail(ErrorInfo(type=limit.kind, message=str(limit)), self._ends(ctx))
            return
        closing = close_calls(self._state, ts=self._now(), ends=self._ends(ctx))
        done = self._workflow("completed", output=output)
        try:
            await self._journal.commit([*closing, done], expect=True, close=True)
        except StopRequested:
            await self._finish_stop(ctx, model_open=model_open)

    async def _fail(self, error: ErrorInfo, ends: Mapping[str, CallEnd]) -> None:
        error = ErrorInfo(type=error.type[:200], message=clean(error.message[:4000]))
        closing = close_calls(self._state, ts=self._now(), ends=ends)
        failed = Workflow(ts=self._now(), state="failed", attempt=self._state.attempt, error=error)
        try:
            await self._journal.commit([*closing, failed], expect=True, close=True)
        except StopRequested:
            await self._finish_stop(None, ends=ends)

    async def _finish_stop(
        self, ctx: RunContext | None, *, model_open: bool = False, ends: Mapping[str, CallEnd] | None = None
    ) -> None:
        """The ending of a stop: true per call, all of it in the closing append (G3, G4)."""
        if ctx is not None:
            ends = self._ends(ctx)
        model: Literal["closed", "none"] = "closed" if model_open else "none"
        # One clock tells when it was asked for and when it was quiet, whatever this host's says.
        now = await self._journal.patiently(self._store.now_ms)
        events = stop_entries(self._state, ts=timestamp(now / 1000), model=model, ends=ends)
        await self._journal.commit(events, expect=True, even_if_stopping=True, close=True)

    def _ends(self, ctx: RunContext) -> dict[str, CallEnd]:
        """What became of the calls that this worker had under its hands."""
        ends = dict(ctx.ends)
        for call in self._state.open_calls:
            if (
                call.state == "started"
                and call.attempt == self._state.attempt
                and call.call_id not in ctx.invoked
            ):
                # Recorded as started, but cut off before it was begun.
                ends.setdefault(call.call_id, CallEnd(outcome="not_started"))
        return ends

    def _seen(self, ends: Mapping[str, CallEnd]) -> list[Event]:
        """The ends of cut-off calls that are certain. A call that was cancelled half way is left open:
        whether it took effect is a question for a person."""
        return [
            _tool(
                self._now(),
                call,
                "failed" if end.error is not None else "finished",
                result=end.result,
                error=end.error,
            )
            for call in self._state.open_calls
            if call.state == "started"
            and (end := ends.get(call.call_id)) is not None
            and end.outcome == "finished_before_stop"
        ]

    async def _park(self, ends: Mapping[str, CallEnd] | None = None) -> bool:
        """Let go of a run that waits for a person; True when something came meanwhile. It is due when
        the first of its questions expires: the answer to one of several must not make it spin."""
        if seen := self._seen(ends or {}):
            await self._journal.commit(seen)
        expiries = [
            round(parse_timestamp(question.expires_at) * 1000)
            for question in self._state.pending
            if question.expires_at is not None
        ]
        if not self._state.pending or self._state.stop is not None:
            return True
        return await self._release(min(expiries) if expiries else NEVER)

    async def _hand_back(self, ends: Mapping[str, CallEnd]) -> None:
        back = [*self._seen(ends), self._workflow("executing", reason=HANDED_BACK)]
        try:
            await self._journal.commit(back, expect=True)
        except StopRequested:
            await self._finish_stop(None, ends=ends)
            return
        if await self._release(NOW):
            await self._finish_stop(None)

    async def _release(self, due: Due) -> bool:
        """Let the run go; True when something came meanwhile that must be looked at first."""
        while True:
            try:
                await self._journal.patiently(lambda: self._let_go(due))
            except Moved:
                await self._journal.patiently(self._journal.refresh)
                if due != NOW or self._state.stop is not None:
                    return True
            else:
                return False

    async def _let_go(self, due: Due) -> None:
        try:
            await self._store.release(self._lease, due, expect=self._state.seq)
        except InDoubt:
            await self._journal.refresh()  # it is healed there, or found lost
            raise

    def _workflow(
        self,
        state: Literal["executing", "awaiting_approval", "completed"],
        *,
        attempt: int | None = None,
        reason: str | None = None,
        supersedes: tuple[str, ...] | None = None,
        output: Json | msgspec.UnsetType = msgspec.UNSET,
    ) -> Workflow:
        return Workflow(
            ts=self._now(),
            state=state,
            attempt=self._state.attempt if attempt is None else attempt,
            reason=reason,
            supersedes=supersedes,
            output=output,
        )


class _Ended:
    """How an agent's task came to its end by itself."""

    def __init__(
        self, output: Json = None, error: ErrorInfo | None = None, trace: BaseException | None = None
    ) -> None:
        self.output = output
        self.error = error
        self.trace = trace


async def _outcome(agent: Agent, ctx: RunContext) -> _Ended:
    try:
        return _Ended(output=to_json(await agent.run(ctx)))
    except AgentError as error:
        return _Ended(error=ErrorInfo(type=error.kind, message=str(error)))
    except (Exception, SystemExit) as error:  # noqa: BLE001
        # An agent is foreign code: whatever it raises ends its run, not the worker.
        return _Ended(
            error=ErrorInfo(type=type(error).__name__, message=str(error) or repr(error)), trace=error
        )


def _ended(task: asyncio.Task[_Ended]) -> _Ended:
    if task.cancelled():  # not by us: it would not have ended by itself
        return _Ended(error=ErrorInfo(type="CancelledError", message="the agent cancelled itself"))
    return task.result()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _end_of_thread(ctx: RunContext, call_id: str, last: Future[object] | None) -> CallEnd:
    """How a call ended whose thread went on after the cancellation."""
    duration = _duration(ctx, call_id)
    if last is None or last.cancelled():
        return CallEnd(outcome="unknown", duration_ms=duration)
    error = last.exception()
    if error is not None:
        info = ErrorInfo(type=type(error).__name__, message=clean(str(error)[:4000]))
        return CallEnd(outcome="finished_before_stop", error=info, duration_ms=duration)
    try:
        result = await ctx.stored_aside(to_json(last.result()), f"{call_id}:result")
    except (TypeError, ValueError, LimitReached):  # it ended; what it gave cannot be told
        return CallEnd(outcome="finished_before_stop", result=None, duration_ms=duration)
    return CallEnd(outcome="finished_before_stop", result=result, duration_ms=duration)


def _duration(ctx: RunContext, call_id: str) -> int | None:
    return ctx.ends[call_id].duration_ms if call_id in ctx.ends else None


def _tool(
    ts: str,
    call: Call,
    state: Literal["denied", "finished", "failed", "unknown"],
    *,
    result: Json | msgspec.UnsetType = msgspec.UNSET,
    error: ErrorInfo | None = None,
) -> Tool:
    return Tool(ts=ts, call_id=call.call_id, name=call.name, state=state, result=result, error=error)


def _outcome_question(ts: str, state: RunState, call: Call, expires_at: str | None) -> Approval:
    last = state.last_question(call.call_id)
    return Approval(
        ts=ts,
        call_id=call.call_id,
        round=1 if last is None else last.round + 1,
        kind="outcome",
        name=call.name,
        state="pending",
        args=call.args,
        choices=OUTCOME_CHOICES,
        reason="the worker died while this call ran; whether it took effect is not known",
        expires_at=expires_at,
    )
