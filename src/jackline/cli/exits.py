"""Exit codes, and errors in one line that says what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from jackline.cli.hints import command
from jackline.cli.plain import one_line
from jackline.client.errors import ClientError, ProtocolViolation, Refused, Unreachable

COMPLETED: Final = 0
FAILED: Final = 1
USAGE: Final = 2
STOPPED: Final = 3
UNREACHABLE: Final = 4
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells count: the command was left, the run goes on."""
TERMINATED: Final = 143
"""128 + SIGTERM: the same, at somebody else's wish."""
NO_READER: Final = 141
"""128 + SIGPIPE: whoever read our output has gone."""


def of_state(state: str | None) -> int:
    """The exit code for how a run stands when its stream has ended. A run that waits for an answer,
    where that was asked for, is as good as completed."""
    match state:
        case "failed":
            return FAILED
        case "stopped" | "stopping":
            return STOPPED
        case _:
            return COMPLETED


def of_signal(number: int) -> int:
    """The exit code of a command that a signal has ended."""
    return 128 + number


def explain(error: ClientError) -> tuple[str, int]:
    """A line for people and the exit code."""
    match error:
        case Unreachable():
            text = f"{error}. Is it running (jackline serve), and is --url right?"
            return one_line(text), UNREACHABLE
        case ProtocolViolation():
            return one_line(f"{error}. Is --url the address of a Jackline?"), UNREACHABLE
        case Refused():
            usage = error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
            return one_line(_refused(error)), USAGE if usage else FAILED
        case _:
            return one_line(str(error)), FAILED


def _refused(error: Refused) -> str:
    detail = error.detail
    match error.status:
        case HTTPStatus.UNAUTHORIZED:
            return f"the server wants to know who you are: give --token, or set JACKLINE_TOKEN ({detail})"
        case HTTPStatus.FORBIDDEN:
            return f"you may not do that: {detail}"
        case HTTPStatus.NOT_FOUND:
            return f"not found: {detail}. See: {command('runs')}"
        case HTTPStatus.CONFLICT:
            return _conflict(error)
        case _:
            fields = "; ".join(f"{field}: {wanted}" for field, wanted in error.fields)
            return f"refused ({error.status}): {fields or detail}"


def _conflict(error: Refused) -> str:
    problem = error.problem
    if by := problem.get("by"):
        return f"already {problem.get('state', 'decided')} by {by} at {problem.get('at', 'an earlier time')}"
    if run := problem.get("run_id"):
        return f"run {run} is still active: {command('tail', str(run))}, or send with --on-busy queue or stop"
    return error.detail or "not possible as things stand"
