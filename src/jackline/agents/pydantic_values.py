"""Values of Pydantic AI as JSON, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import pydantic_core
from pydantic import TypeAdapter, ValidationError
from pydantic_ai.messages import ToolReturn, ToolReturnContent

if TYPE_CHECKING:
    from pydantic_ai.messages import ToolCallPart

    from jackline.events import Json

_CONTENT: Final[TypeAdapter[object]] = TypeAdapter(ToolReturnContent)
_RETURN: Final[TypeAdapter[ToolReturn[Any]]] = TypeAdapter(ToolReturn)
_RETURN_KIND: Final = "tool-return"

CHANGED: Final = "changed the arguments before approving"
"""What a model is told, beside a result, of arguments that are no longer its own."""

APPROVED: Final = "approved this call"
"""What a model is told, beside a result, before the reason that a person gave."""


def to_log(value: object) -> Json:
    """What the log keeps of a tool's result or an agent's output.

    Never raises: a tool that has done its work must not be called failed because of its result's type.
    """
    if isinstance(value, ToolReturn):
        returned = cast("ToolReturn[Any]", value)
        if returned.content is None and returned.tools is None:
            return to_log(returned.return_value)
        # `metadata` is for the tool's own program, and may be anything.
        value = ToolReturn(return_value=returned.return_value, content=returned.content, tools=returned.tools)
    # By way of text, so that what JSON has no word for (NaN, infinity) becomes null.
    data = pydantic_core.to_json(value, serialize_unknown=True, bytes_mode="base64", inf_nan_mode="null")
    return json.loads(data)


def from_log(value: Json) -> object:
    """The result that `to_log` wrote, as a model's message can carry it: files are files again."""
    try:
        if isinstance(value, dict) and value.get("kind") == _RETURN_KIND:
            return _RETURN.validate_python(value)
        return _CONTENT.validate_python(value)
    except ValidationError:
        return value


def args_of(call: ToolCallPart) -> Json:
    """The arguments as the model gave them: an object, or its own words where they are no JSON."""
    if not isinstance(call.args, str):
        return cast("Json", call.args or {})
    try:
        return json.loads(call.args or "{}")
    except ValueError:
        return call.args
