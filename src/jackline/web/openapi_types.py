"""Shapes that only the OpenAPI document needs."""

from __future__ import annotations

from msgspec import Struct


class ProblemField(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field at fault: dotted, and as a JSON pointer where it is one of the body."""

    field: str
    detail: str
    pointer: str | None = None


class ProblemDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457. `run_id`: the run in the way (409); `by`, `at`, `state`: who decided otherwise."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] = []
    run_id: str | None = None
    by: str | None = None
    at: str | None = None
    state: str | None = None
