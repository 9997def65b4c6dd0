"""What the client raises.

ClientError
├── Unreachable        nothing answered, or only gateways did, until the patience was over
├── Refused            the server said no; carries its problem document
└── ProtocolViolation  what answers is no Jackline, or its log has a hole that stays
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackline.client.shape import items, members
from jackline.errors import JacklineError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClientError(JacklineError):
    """Root of what the client raises."""


class Unreachable(ClientError):  # noqa: N818
    """Nobody answered for `tried_s` seconds. Whether the server got the last request is not known;
    it was sent with an Idempotency-Key, so that sending it again is safe with the same key."""

    def __init__(self, url: str, reason: str, tried_s: float) -> None:
        super().__init__(f"{url} is not reachable: {reason}")
        self.url = url
        self.reason = reason
        self.tried_s = tried_s


class Refused(ClientError):  # noqa: N818
    """An answer of 3xx, 4xx or 5xx. `problem` is the problem document (RFC 9457), empty where the answer
    had none; `retry_after_s` what `Retry-After` asked for."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.problem = dict(problem)
        self.retry_after_s = retry_after_s
        super().__init__(f"{status} {self.detail}".rstrip())

    @property
    def detail(self) -> str:
        """The server's sentence for people, its title, or ""."""
        return str(self.problem.get("detail") or self.problem.get("title") or "")

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The fields at fault as (`field`, what to send instead)."""
        errors = [members(error) or {} for error in items(self.problem.get("errors"))]
        return tuple((str(error.get("field", "")), str(error.get("detail", ""))) for error in errors)


class ProtocolViolation(ClientError):  # noqa: N818
    """The answer is not what the protocol allows; asking again gave the same."""
