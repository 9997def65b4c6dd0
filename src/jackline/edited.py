"""Edited arguments against a tool's schema, in a process of its own.

A schema comes from a tool, so perhaps from a stranger's server: a pattern in it can backtrack for years, and
references can double at each level. Python cannot be interrupted in either, so here it can be ended: whoever
asks waits for a bounded time, and nobody else waits at all. Nothing is fetched for a schema either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jackline.errors import FieldError, Invalid

if TYPE_CHECKING:
    from msgspec import UnsetType

    from jackline.events import Json

SECONDS: Final = 10.0
"""How long a check may take."""

_AT_ONCE: Final = 2
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


class EditedArguments:
    """Checks arguments, a few at once."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def check(self, schema: Json | UnsetType, args: Json, field: str) -> None:
        """`field`: the name of what holds `args`, with its dot. Raises `Invalid`, also where it cannot be
        checked: nothing unchecked may pass."""
        if not isinstance(args, dict):
            raise Invalid(FieldError(field=f"{field}args", detail="must be an object"))
        if not isinstance(schema, (dict, bool)):
            return
        try:
            question = msgspec.json.encode({"schema": schema, "args": args})
        except RecursionError:
            verdict = _Verdict(unfit="they are nested too deeply")
        else:
            async with self._turns:
                verdict = await self._ask(question)
        if verdict.unfit is not None:
            detail = (
                f"cannot be checked against the tool's schema ({verdict.unfit}); approve or deny it unedited"
            )
            raise Invalid(FieldError(field=f"{field}args", detail=detail))
        if verdict.faults:
            raise Invalid(
                *(
                    FieldError(field=".".join([f"{field}args", *fault.path]), detail=fault.detail)
                    for fault in verdict.faults
                )
            )

    async def _ask(self, question: bytes) -> _Verdict:
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
        return msgspec.json.decode(said, type=_Verdict)


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
    except Exception as error:  # noqa: BLE001 - the schema is the tool's own
        return _Verdict(unfit=str(error)[:_TOLD])
    return _Verdict(faults=faults)


def _main() -> None:
    # Whoever asked may have died meanwhile: then nobody else ends this.
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
    asked = json.load(sys.stdin)
    sys.stdout.buffer.write(msgspec.json.encode(_verdict(asked["schema"], asked["args"])))


if __name__ == "__main__":
    _main()
