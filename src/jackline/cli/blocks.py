"""How calls, questions and endings look in the live view. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.box import ASCII, ROUNDED
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from jackline.cli.plain import compact, duration, one_line, plain, pretty, visible
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from rich.console import RenderableType

_INLINE_CHARS: Final = 60
_ARGS_LINES: Final = 8
_RESULT_LINES: Final = 8
_RESULT_CHARS: Final = 800
_PROGRESS_LINES: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """The few signs that are no letters; an old terminal gets others."""

    runs: str = "◦"
    done: str = "✓"
    bad: str = "✗"
    odd: str = "!"
    ask: str = "?"
    live: str = "●"
    away: str = "○"
    more: str = "⋮"
    unicode: bool = True


ASCII_SIGNS: Final = Signs(runs="*", done="+", bad="x", live="*", away="o", more=":", unicode=False)


@dataclass(kw_only=True, slots=True)
class Call:
    """A tool call as it is seen: what it was asked for, and how far it is."""

    call_id: str
    name: str
    args: object = None
    state: str = "requested"
    began: float | None = None
    """By the clock of the view, when it was seen to start."""
    checks: str = ""
    effect: str = ""
    progress: list[str] = field(default_factory=list[str])

    def learn(self, data: dict[str, Any], now: float) -> None:
        """Take an entry of its own."""
        self.state = str(data.get("state", ""))
        self.args = data.get("args", self.args)
        self.effect = str(data.get("effect") or self.effect)
        if self.state == "started":
            self.began = now
        elif self.state == "progress":
            lines = compact(data.get("progress")).splitlines()
            self.progress = [*self.progress, *lines][-_PROGRESS_LINES:]


def head(call: Call, sign: str, style: str, took: str) -> Text:
    """The call's name, its arguments, and a word on how it stands."""
    text = Text.assemble((sign, style), " ", (call.name, "bold"))
    short = inline(call.args)
    if short:
        text.append(f"  {short}")
    if call.checks:
        text.append(f"  checks {call.checks}", "dim")
    if took:
        text.append(f"  {took}", style if style != "green" else "dim")
    return text


def running(call: Call, signs: Signs, now: float) -> RenderableType:
    """A call that has not ended yet."""
    match call.state:
        case "requested":
            word = "waits"
        case _ if call.began is not None:
            word = seconds(now - call.began)
        case _:
            word = "runs"
    parts: list[RenderableType] = [head(call, signs.runs, "blue", word), *_long_args(call.args)]
    parts += [Padding(Text(line, style="dim", no_wrap=True), (0, 0, 0, 2)) for line in call.progress]
    return Group(*parts)


def ended(call: Call, data: dict[str, Any], signs: Signs, *, see: str | None) -> RenderableType:
    """A call with its terminal state. `see`: the command that shows all, None to show all here."""
    took = duration(data["duration_ms"]) if isinstance(data.get("duration_ms"), int) else ""
    body: list[RenderableType] = []
    match data.get("state"):
        case "finished":
            first = head(call, signs.done, "green", took)
            body = _result(data.get("result"), see)
        case "failed":
            error = members(data.get("error")) or {}
            first = head(call, signs.bad, "red", f"failed {took}".rstrip())
            body = [Text(plain(str(error.get("message", ""))), style="red")]
        case "unknown":
            first = head(call, signs.odd, "bold red", "outcome unknown")
            body = [Text("whether it had its effect is not known: its worker was lost while it ran")]
        case state:
            words = f"{one_line(str(state))} {took}".rstrip()
            first = head(call, signs.bad, "yellow", words)
    rest = [Padding(part, (0, 0, 0, 2)) for part in body]
    return Group(first, *_long_args(call.args), *rest)


def question(data: dict[str, Any], signs: Signs, effect: str) -> RenderableType:
    """What a person says yes to. Never shortened."""
    name = one_line(str(data.get("name", "the call")))
    outcome = data.get("kind") == "outcome"
    title = f"what became of {name}?" if outcome else f"{name} needs your approval"
    # Not in the frame, which would cut it off: it says what is asked.
    parts: list[RenderableType] = [Text(f"{signs.ask} {title}", style="bold yellow")]
    if outcome:
        parts.append(
            Text(
                "Its worker was lost while it ran: it may have had its effect or not. Look, then say: "
                "retry runs it again, done takes it for done, abort ends the run."
            )
        )
    elif effect in {"read_only", "idempotent"}:
        parts.append(Text(f"declared {effect.replace('_', ' ')}", style="dim"))
    if data.get("reason"):
        parts.append(Text(f"why: {visible(str(data['reason']))}"))
    parts.append(Text(pretty(data.get("args", {}))))
    if data.get("expires_at"):
        then = "then it is approved" if data.get("on_expiry") == "approve" else "then the answer is no"
        parts.append(Text(f"expires at {one_line(str(data['expires_at']))}, {then}", style="yellow"))
    parts.append(Text(one_line(str(data.get("call_id", ""))), style="dim"))
    return Panel(
        Group(*parts),
        border_style="yellow",
        expand=False,
        box=ROUNDED if signs.unicode else ASCII,
    )


def inline(args: object) -> str:
    """Arguments on the call's own line, "" where they do not fit or there are none."""
    given = members(args)
    if given is None or any(members(value) or items(value) for value in given.values()):
        return ""
    text = "  ".join(f"{compact(name)}={_value(value)}" for name, value in given.items())
    return text if len(text) <= _INLINE_CHARS and "\n" not in text else ""


def _value(value: object) -> str:
    text = compact(value)
    plain_word = (
        isinstance(value, str) and value and not any(char.isspace() or char in "\"'=" for char in value)
    )
    return (
        text if plain_word or not isinstance(value, str) else visible(json.dumps(value, ensure_ascii=False))
    )


def _long_args(args: object) -> list[RenderableType]:
    given = members(args)
    if not given or inline(args):
        return []
    lines: list[str] = []
    for name, value in given.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        first, *more = visible(text).splitlines() or [""]
        lines += [f"{compact(name)}: {first}", *(f"  {line}" for line in more)]
    return [Padding(Text(_cut("\n".join(lines), _ARGS_LINES, ""), style="dim"), (0, 0, 0, 2))]


def _result(value: object, see: str | None) -> list[RenderableType]:
    aside = members(value) or {}
    first: list[RenderableType] = []
    if "artifact" in aside and "preview" in aside:
        words = f"{aside.get('bytes')} bytes, stored aside as {one_line(str(aside['artifact']))}"
        first, value = [Text(words, style="dim")], aside["preview"]
    if value is None:
        return first
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str) and len(text) > _INLINE_CHARS:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    text = visible(text.replace("\r\n", "\n")).strip("\n")
    return [*first, Text(text if see is None else _cut(text, _RESULT_LINES, see))]


def _cut(text: str, limit: int, see: str) -> str:
    """At most `limit` lines, and how to see the others."""
    lines = text.split("\n")
    kept = "\n".join(lines[:limit])
    left, what = len(lines) - limit, "lines"
    if len(kept) > _RESULT_CHARS:
        kept, left, what = kept[:_RESULT_CHARS], len(text) - _RESULT_CHARS, "characters"
    if left <= 0:
        return text
    return f"{kept}\n… {left} more {what}{f'; all of it: {see}' if see else ''}"


def seconds(span: float) -> str:
    """A time that ticks: whole seconds."""
    return duration(max(int(span), 0) * 1000).replace(".0 s", " s").replace("0 ms", "0 s")


def wanted(data: dict[str, Any]) -> list[tuple[str, str]]:
    """What the run was asked for: who, and what."""
    found: list[tuple[str, str]] = []
    for each in items(data.get("input")):
        message = members(each) or {}
        by = one_line(str(data.get("by") or message.get("role") or "somebody"))
        found.append((by, plain(str(message.get("content", "")))))
    return found


Tone = Literal["bold", "dim", "yellow", "bold yellow", "bold red", "bold green", "red"]
