"""The options that commands share, in one place."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, cast

import typer

DEFAULT_URL: Final = "http://127.0.0.1:8787"

Url = Annotated[str, typer.Option("--url", envvar="JACKLINE_URL", help="The server's address.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="JACKLINE_TOKEN", help="The API key, where the server wants one."),
]


def utf8(text: str | None) -> str | None:
    """A text that can be sent. Exits with 2 for bytes of the command line that are no UTF-8."""
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter("not UTF-8") from error
    return text


Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, as it is on the wire.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Name = Annotated[str, typer.Argument(metavar="RUN|CONVERSATION", help="The id of a run or a conversation.")]
Call = Annotated[str, typer.Argument(metavar="CALL", help="The tool call's id.", callback=utf8)]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; it stands in the run's log.", callback=utf8)
]
Full = Annotated[bool, typer.Option("--full", help="Show results and reasoning in full.")]
FollowOn = Annotated[bool, typer.Option("--follow", help="Go on watching the run.")]


def parse_json(option: str, text: str | None) -> object:
    """The value of an option that holds JSON, None where it was not given. Exits with 2 for what is none."""
    if text is None:
        return None
    try:
        value: object = json.loads(text)
        # Halves of characters, which \u can spell, cannot be sent.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter("not UTF-8", param_hint=option) from error
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from error
    return value


def parse_address(option: str, text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`. Exits with 2 for what is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
        raise typer.BadParameter("not HOST:PORT", param_hint=option)
    return host.strip("[]"), int(port)


def parse_object(option: str, text: str | None) -> dict[str, Any] | None:
    """The same where the value must be an object."""
    value = parse_json(option, text)
    if value is None and text is None:
        return None
    if not isinstance(value, dict):
        raise typer.BadParameter('not a JSON object, such as {"path": "/tmp"}', param_hint=option)
    return cast("dict[str, Any]", value)
