"""Edited arguments against a tool's schema, in a process of its own.

A schema comes from a tool, so perhaps from a stranger's server: a pattern in it can backtrack for years,
references can double at each level, faults can fill the memory. Python cannot be interrupted in these, so it
is done where it can be ended. The time and the memory of a check are bounded, and how many there are at once,
in all and for one principal, and how long one waits for its turn. Nothing is fetched for a schema either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import msgspec

from jackline.errors import FieldError, Invalid, Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from msgspec import UnsetType

    from jackline.events import Json

SECONDS: Final = 10.0
"""How long a check may take."""
PATIENCE_SECONDS: Final = 15.0
"""How long one waits for its turn: longer than a check, so that who is next has it."""
MAX_BYTES: Final = 512 << 20
"""Memory of a process that checks. It begins with some 25 MiB, and a whole request of 1 MiB takes a few times
that much."""

_AT_ONCE: Final = 3
_OF_ONE: Final = 2
"""Checks of one principal at once: some turns are always for the others."""
_MOST_ERRORS: Final = 20
_TOLD: Final = 500
"""Characters of a fault that are passed on: it quotes what was sent."""


class _Fault(msgspec.Struct, frozen=True, kw_only=True):
    path: list[str]
    detail: str


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`unfit`: why the schema cannot be followed."""

    faults: list[_Fault] = []
    unfit: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Arguments as somebody edited them. `field`: the name of what holds them, with its dot."""

    schema: Json | UnsetType
    args: Json
    field: str


class EditedArguments:
    """Checks arguments, a few at once."""

    def __init__(self, seconds: float = SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self._seconds = seconds
        self._patience = patience
        self._turns = asyncio.Semaphore(_AT_ONCE)
        # A principal's own, for as long as one of its checks waits or goes on.
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def check(self, edits: Sequence[Edit], *, by: str) -> None:
        """Check what `by` sends in one request, within one turn. Raises `Invalid`, also where it cannot be
        checked: nothing unchecked may pass; `Overloaded` where its turn does not come in time."""
        for edit in edits:
            if not isinstance(edit.args, dict):
                raise Invalid(FieldError(field=f"{edit.field}args", detail="must be an object"))
        edits = [edit for edit in edits if isinstance(edit.schema, (dict, bool))]
        if not edits:
            return
        async with self._turn(by):
            verdicts = await self._verdicts(edits)
        faults = [
            fault for edit, verdict in zip(edits, verdicts, strict=True) for fault in _faults(edit, verdict)
        ]
        if faults:
            raise Invalid(*faults[:_MOST_ERRORS])

    @asynccontextmanager
    async def _turn(self, by: str) -> AsyncGenerator[None]:
        own = self._own.setdefault(by, asyncio.Semaphore(_OF_ONE))
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._patience):
                    # One's own first: who waits for that takes no place in the queue of all.
                    await held.enter_async_context(own)
                    await held.enter_async_context(self._turns)
            except TimeoutError:
                raise Overloaded(
                    "too many edited arguments are being checked; try again, or approve or deny it unedited"
                ) from None
            yield

    async def _verdicts(self, edits: Sequence[Edit]) -> list[_Verdict]:
        """One for each, or one for all where they cannot be checked."""
        try:
            question = msgspec.json.encode([{"schema": edit.schema, "args": edit.args} for edit in edits])
        except RecursionError:
            answer = _Verdict(unfit="they are nested too deeply")
        else:
            answer = await self._ask(question)
        return answer if isinstance(answer, list) else [answer] * len(edits)

    async def _ask(self, question: bytes) -> list[_Verdict] | _Verdict:
        process = await asyncio.create_subprocess_exec(
            # -P: what lies in the server's folder is no part of it.
            *(sys.executable, "-P", "-m", __name__, str(self._seconds)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._seconds):
                said, complaint = await process.communicate(question)
        except TimeoutError:
            return _Verdict(unfit=f"it takes longer than {self._seconds:g} s")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())
        if process.returncode != 0:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            return _Verdict(unfit=" ".join([f"exit code {process.returncode}", *last])[:_TOLD])
        return msgspec.json.decode(said, type=list[_Verdict] | _Verdict)


def _faults(edit: Edit, verdict: _Verdict) -> list[FieldError]:
    if verdict.unfit is not None:
        detail = f"cannot be checked against the tool's schema ({verdict.unfit}); approve or deny it unedited"
        return [FieldError(field=f"{edit.field}args", detail=detail)]
    return [
        FieldError(field=".".join([f"{edit.field}args", *fault.path]), detail=fault.detail)
        for fault in verdict.faults
    ]


def _path(path: list[str], message: str) -> list[str]:
    """Where the fault is: the member itself, also where it is missing."""
    missing = re.fullmatch(r"'(.+)' is a required property", message)
    return [*path, missing[1]] if missing is not None else path


def _verdict(schema: Any, args: Any) -> _Verdict:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY

    faults: list[_Fault] = []
    try:
        # A registry that is named fetches nothing. The default one opens any address in a schema.
        kind = validator_for(schema, default=Draft202012Validator)
        for error in kind(schema, registry=REGISTRY).iter_errors(args):
            path = _path([str(step) for step in error.absolute_path], error.message)
            faults.append(_Fault(path=path, detail=error.message[:_TOLD]))
            if len(faults) == _MOST_ERRORS:
                break
    except MemoryError:
        raise  # what fills it is still held here
    except Exception as error:  # noqa: BLE001 - the schema is the tool's own
        return _Verdict(unfit=str(error)[:_TOLD])
    return _Verdict(faults=faults)


def _main() -> None:
    # Whoever asked may have died meanwhile: then nobody else ends this.
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
    _limit_memory()
    try:
        answer: object = [_verdict(each["schema"], each["args"]) for each in json.load(sys.stdin)]
    except MemoryError:
        answer = _Verdict(unfit=f"it takes more than {MAX_BYTES >> 20} MiB of memory")
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MAX_BYTES if hard == resource.RLIM_INFINITY else min(MAX_BYTES, hard)
    # macOS knows the limit and does not take it: there the time is the only one.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    _main()
