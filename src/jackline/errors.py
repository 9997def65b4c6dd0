"""Every error Jackline raises on purpose.

JacklineError
├── LogError                 the store refused an append or a claim
│   ├── UnknownRun           no such run
│   ├── RunClosed            the run has its ending; nothing can follow it
│   ├── Fenced               another worker holds the run, or nobody may and somebody does
│   ├── Moved                the log went past what the writer had read
│   ├── Busy                 the conversation has an active run
│   └── EntryTooLarge        an entry is above the limit
├── StoreUnavailable         the store does not answer; nothing is known to have been written
│   └── InDoubt              it came back, and the run's holder has not yet said what is missing
├── IllegalTransition        an entry that may not follow the entries before it
├── CommandError             a command that cannot be carried out
│   ├── NotFound             unknown, or not the caller's
│   ├── Conflict             decided otherwise, expired, withdrawn, busy
│   ├── StoreFull            no run can start until the store has room again
│   ├── Overloaded           others, or too many of one's own, are before it; try again
│   └── Invalid              a field at fault
├── ArchiveFailed            a conversation could not be archived; it is not deleted
├── AgentError               what the agent did wrong; ends its run `failed`
│   ├── LimitReached         a limit of the run was reached
│   └── ToolFailed           a tool call failed; the agent is told, the run goes on
├── Parked                   not a fault: the run waits for a person and lets its worker go
├── StopRequested            not a fault: the run is being stopped
└── ConfigError              settings that cannot work; says what to change
"""

from __future__ import annotations

from dataclasses import dataclass


class JacklineError(Exception):
    """Root of the tree."""


class LogError(JacklineError):
    """The store refused; nothing was written."""


class UnknownRun(LogError):  # noqa: N818
    """No run has this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"no run {run_id}")
        self.run_id = run_id


class RunClosed(LogError):  # noqa: N818
    """The run's log is closed (G3)."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has ended")
        self.run_id = run_id


class Fenced(LogError):  # noqa: N818
    """The writer's lease is not the run's present one (G7)."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is held by another writer")
        self.run_id = run_id


class Moved(LogError):  # noqa: N818
    """The log has entries the writer has not read. `last` is the seq of the newest one."""

    def __init__(self, run_id: str, last: int) -> None:
        super().__init__(f"run {run_id} moved on to entry {last}")
        self.run_id = run_id
        self.last = last


class Busy(LogError):  # noqa: N818
    """The conversation already has an active run, `run_id`."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is still active")
        self.run_id = run_id


class EntryTooLarge(LogError):  # noqa: N818
    """An entry of `size` bytes is above the limit of `limit` bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"an entry of {size} bytes is above the limit of {limit}")
        self.size = size
        self.limit = limit


class StoreUnavailable(JacklineError):  # noqa: N818
    """The store does not answer. Whether the last write arrived is not known (G8)."""


class InDoubt(StoreUnavailable):
    """The store came back, perhaps without its newest entries, and who holds the run has not yet
    put them back or vouched for it. Nothing was written (G8)."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"the store came back; run {run_id} waits for its worker to say what is missing")
        self.run_id = run_id


class IllegalTransition(JacklineError):  # noqa: N818
    """An entry that may not follow what stands before it (G3)."""


class CommandError(JacklineError):
    """A command that cannot be carried out; nothing was changed (G11)."""


class NotFound(CommandError):  # noqa: N818
    """Unknown, or not the caller's: the two look alike from outside (G12)."""


class Conflict(CommandError):  # noqa: N818
    """The thing is not in a state that allows the command.

    `members` are the extra members of the problem document: `run_id`, or `by`, `at`, `state`.
    """

    def __init__(self, detail: str, **members: str | None) -> None:
        super().__init__(detail)
        self.members = {name: value for name, value in members.items() if value is not None}


class StoreFull(CommandError):  # noqa: N818
    """The store has no room for new runs; those there are go on (G8). The message says what to do."""


class Overloaded(CommandError):  # noqa: N818
    """Its turn did not come in time. The message says of what there is too much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """One field at fault. `field` is dotted (`messages.0.role`); `detail` says what to send instead."""

    field: str
    detail: str


class Invalid(CommandError):  # noqa: N818
    """Fields at fault, all of them named."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.detail}" for error in errors))
        self.errors = errors


class ArchiveFailed(JacklineError):  # noqa: N818
    """The archive did not take a conversation. The message says why."""


class AgentError(JacklineError):
    """The agent did something that ends its run `failed`. `kind` becomes `error.type`."""

    kind = "agent_error"


class LimitReached(AgentError):  # noqa: N818
    """A limit of the run was reached: which, and its value."""

    kind = "limit_reached"

    def __init__(self, limit: str, value: float) -> None:
        super().__init__(f"the run reached its limit: {limit} = {value:.15g}")
        self.limit = limit
        self.value = value


class ToolFailed(AgentError):  # noqa: N818
    """A tool call failed. `kind` and the message stand in the log; the agent decides what follows."""

    kind = "tool_failed"

    def __init__(self, message: str, kind: str = "tool_failed") -> None:
        super().__init__(message)
        self.kind = kind


class Parked(JacklineError):  # noqa: N818
    """Raised through the agent when the run waits for a person. Agents let it pass."""


class StopRequested(JacklineError):  # noqa: N818
    """Raised through the agent when the run is being stopped. Agents let it pass."""


class ConfigError(JacklineError):
    """Settings that cannot work. The message says what to change."""
