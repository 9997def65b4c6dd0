"""Plain functions as tools: their schema, and their call with arguments from JSON."""

from __future__ import annotations

import asyncio
import inspect
import json
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pydantic_core
from pydantic import ConfigDict, TypeAdapter, validate_call
from pydantic.errors import PydanticUserError

from jackline.tools import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from jackline.events import Effect, Json

_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


def as_json(value: object) -> Json:
    """A value as the log carries it; what JSON has no form for is told by its `str`."""
    data = pydantic_core.to_json(value, serialize_unknown=True, bytes_mode="base64", inf_nan_mode="null")
    return json.loads(data)


def spec_of(
    function: Callable[..., object],
    *,
    name: str | None,
    approval: bool,
    effect: Effect,
    verifies: str | Callable[..., object] | None,
) -> ToolSpec:
    """The function as a tool; `policy.judge` has the last word."""
    return ToolSpec(
        name=name or name_of(function),
        description=inspect.getdoc(function) or "",
        schema=schema_of(function),
        effect=effect,
        approval="ask" if approval else "allow",
        verifies=name_of(verifies) if callable(verifies) else verifies,
    )


def name_of(function: Callable[..., object]) -> str:
    """The function's own name."""
    inner: object = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__))


def schema_of(function: Callable[..., object]) -> Json:
    """JSON schema of its arguments; None where its signature tells none. Edited arguments are checked
    against it before they reach the function."""
    try:
        adapter = TypeAdapter[Any](cast("Any", function), config=_ANY_TYPE)
        schema = cast("dict[str, Json]", adapter.json_schema())
    except (PydanticUserError, NameError, TypeError, ValueError):
        return None
    return schema if schema.get("type") == "object" else None


async def call(function: Callable[..., object], args: Json, threads: Executor) -> object:
    """Call it with arguments that came as JSON, made into what its annotations say. A plain function
    runs in a thread."""
    given = cast("dict[str, Any]", args or {})
    try:
        checked: Callable[..., object] = validate_call(config=_ANY_TYPE)(function)
    except (PydanticUserError, NameError, TypeError, ValueError):
        checked = function  # its annotations say nothing that could be checked
    if inspect.iscoroutinefunction(function):
        return await cast("Any", checked(**given))
    result = await asyncio.get_running_loop().run_in_executor(threads, partial(checked, **given))
    return await cast("Any", result) if inspect.isawaitable(result) else result
