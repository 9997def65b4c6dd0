"""What a function agent may say and do, and how it walks again through what it said and did before."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackline.agents.faults import failed
from jackline.agents.function_says import Says
from jackline.agents.function_tools import as_json, call, spec_of
from jackline.context import CallRequest
from jackline.policy import judge
from jackline.processes import running_call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from jackline.context import PreviousRun, RunContext
    from jackline.errors import AgentError
    from jackline.events import Effect, Json, Message
    from jackline.settings import ToolRule
    from jackline.tools import ToolSpec

_LONGEST_ARGS: Final = 200
"""Characters of a call's arguments that an error shows."""

_TURNS: Final = 20
"""Turns of the event loop without a new call after which all branches of a function are taken to wait.
A branch that was just given a logged result needs a few to make its next call."""


class FunctionContext:
    """See the module. Made for each attempt at a run."""

    def __init__(self, run: RunContext, *, rules: Mapping[str, ToolRule]) -> None:
        self.run = run
        """The run's context underneath."""
        self._rules = rules
        self._says = Says(run)
        self._logged = list(run.state.calls)
        self._asking: list[CallRequest] = []
        self._refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parking = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._changes = 0

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.run_id

    @property
    def input(self) -> tuple[Message, ...]:
        """The new messages of this run."""
        return self.run.input

    @property
    def text(self) -> str:
        """The new messages' text."""
        return "\n".join(message.content for message in self.run.input)

    @property
    def metadata(self) -> Json:
        """What the chat sent along."""
        return self.run.metadata

    @property
    def previous(self) -> tuple[PreviousRun, ...]:
        """The conversation's earlier runs, oldest first."""
        return self.run.previous

    async def say(self, text: str, *, kind: str = "text") -> None:
        """Stream a piece of text (`kind="reasoning"`: of thought). Pieces make one message until the next
        tool call."""
        await self._unless_parking()
        await self._says.say(text, kind)

    async def tool(
        self,
        function: Callable[..., object],
        args: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        approval: bool = False,
        effect: Effect = "writes",
        verifies: str | Callable[..., object] | None = None,
    ) -> Json:
        """Call `function(**args)` as a tool, once, and return its result as JSON (G6).

        `function` is plain (it runs in a thread) or async. With `approval` a person is asked first; the
        arguments may come back changed. `effect`: `read_only` and `idempotent` calls may run again after
        a crash; of any other one a person is asked what became of it. `verifies`: the tool (its name or
        function) whose effect this one checks. Calls made at once (`asyncio.gather`) run at once.
        Raises `ToolFailed` when it failed or was denied (`kind` tells), `AgentError` when the function
        does something else than it did before a pause.
        """
        declared = spec_of(function, name=name, approval=approval, effect=effect, verifies=verifies)
        spec = judge(declared, self._rules)
        await self._unless_parking()
        await self._says.end_message()
        with self._going_on():
            request = await self._requested(spec, as_json(dict(args or {})))
            if self._must_ask(request):
                await self._ask(request)
            return await self.run.run_tool(
                request.call_id, lambda given: self._invoke(function, given), args=self._args(request)
            )

    async def progress(self, report: Json) -> None:
        """From inside a tool: tell how far it is."""
        call_id = running_call.get("")
        if not call_id:
            raise failed("agent_misused", "ctx.progress tells of a tool call; call it from inside a tool")
        await self.run.progress(call_id, as_json(report))

    async def finish(self) -> None:
        """The function has returned."""
        await self._says.end_message()
        if self._left_open():
            raise self._differs(None, None)

    # Calls of before

    async def _requested(self, spec: ToolSpec, args: Json) -> CallRequest:
        """The call as it stands in the log, which it is put into if it does not stand there yet."""
        found = await self._match(spec.name, args)
        while found is None and self._logged:
            # Another branch of the function may be about to make the calls that are left over.
            if await self._settled():
                raise self._differs(spec.name, args)
            found = await self._match(spec.name, args)
        if found is not None:
            return CallRequest(call_id=found, args=args, spec=spec)
        request = CallRequest(call_id=self.run.new_calls(1)[0], args=args, spec=spec)
        await self.run.request([request])
        return request

    async def _match(self, name: str, args: Json) -> str | None:
        """The first call left over from before with this name and these arguments."""
        for call_id in list(self._logged):
            logged = self.run.state.calls[call_id]
            if logged.name != name:
                continue
            same = logged.requested_args == await self.run.stored_aside(args, f"{call_id}:args")
            if same and call_id in self._logged:
                self._logged.remove(call_id)
                return call_id
        return None

    def _args(self, request: CallRequest) -> Json:
        """The arguments to execute: the person's, where they were edited."""
        answer = self.run.answer(request.call_id)
        if answer is not None and answer.approved and isinstance(answer.args, dict):
            return answer.args
        return request.args

    async def _invoke(self, function: Callable[..., object], args: Json) -> Json:
        return as_json(await call(function, args, self.run.threads))

    # Asking

    def _must_ask(self, request: CallRequest) -> bool:
        logged = self.run.state.calls[request.call_id]
        waits = request.spec.approval == "ask" and logged.state == "requested"
        return waits and self.run.answer(request.call_id) is None

    async def _ask(self, request: CallRequest) -> None:
        """Wait until nothing else can go on, then ask for all that wait, in one append. Never returns."""
        self._asking.append(request)
        if len(self._asking) > 1:
            with self._waiting():
                await asyncio.shield(self._refused)  # the first one asks for all
        while not await self._settled():
            pass
        if self._left_open():
            error = self._differs(request.spec.name, request.args)
            self._refused.set_exception(error)
            self._refused.exception()  # there may be no other that waits for it
            raise error
        # From here on nothing else may be written: the run no longer counts as executing.
        self._parking = True
        await self.run.ask(self._asking)

    async def _unless_parking(self) -> None:
        if self._parking:
            await self.run.halt()

    async def _settled(self) -> bool:
        """Wait until no call is under way; whether then none was begun for a while, so that every branch
        of the function waits, or does something that is no tool call."""
        with self._waiting():
            await self._idle.wait()
            before = self._changes
            for _ in range(_TURNS):
                await asyncio.sleep(0)
                if self._changes != before:
                    return False
        return True

    @contextmanager
    def _going_on(self) -> Generator[None]:
        """A call is under way."""
        self._count(1)
        self._changes += 1
        try:
            yield
        finally:
            self._count(-1)
            self._changes += 1

    @contextmanager
    def _waiting(self) -> Generator[None]:
        """A call under way waits for the others."""
        self._count(-1)
        try:
            yield
        finally:
            self._count(1)

    def _count(self, more: int) -> None:
        self._under_way += more
        if self._under_way:
            self._idle.clear()
        else:
            self._idle.set()

    # Functions that do not repeat themselves

    def _left_open(self) -> bool:
        return any(not self.run.state.calls[call_id].ended for call_id in self._logged)

    def _differs(self, name: str | None, args: Json) -> AgentError:
        before = self.run.state.calls[self._logged[0]]
        now = "nothing" if name is None else f"{name}({_shown(args)})"
        return failed(
            "not_repeatable",
            "after a pause or a takeover the function runs again from the top, and must make the same tool "
            f"calls: where it called {before.name}({_shown(before.requested_args)}) before, it now called "
            f"{now}. Take what changes (the time, chance, files) from the result of a ctx.tool call",
        )


def _shown(args: Json) -> str:
    text = str(args)
    return text if len(text) <= _LONGEST_ARGS else f"{text[:_LONGEST_ARGS]}…"
