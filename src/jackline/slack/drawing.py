"""What a thread shows of a run: messages as Slack takes them, within its limits. Pure."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, assert_never

from jackline.client.shape import members
from jackline.slack.mrkdwn import (
    block,
    code,
    escape,
    fitting,
    link,
    one_line,
    render,
    size,
    unrendered,
    visible,
)
from jackline.slack.pieces import pieces
from jackline.slack.receipt import asked_for_by, in_words
from jackline.slack.story import Call, Calls, Question, Questions, Say, Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.slack.story import Item

Block = dict[str, Any]

SECTION: Final = 3000
"""Characters of a section; Slack refuses more."""
_ARGS: Final = 1800
"""Characters of a question's arguments: four questions and their buttons stay under the 13,000 or so that
Slack takes of all blocks together."""
_NOTIFICATION: Final = 300
"""Characters of what stands in a notification and is read out."""

_MARKS: Final = {
    "requested": "▫️",
    "started": "▶️",
    "finished": "✅",
    "failed": "❌",
    "denied": "🚫",
    "cancelled": "⏹️",
    "unknown": "❓",
}
_HEADS: Final = {
    "queued": "⏳ *Queued*",
    "executing": "▶️ *Working*",
    "awaiting_approval": "✋ *Waiting for you*",
    "stopping": "⏹️ *Stopping*",
    "stopped": "⏹️ *Stopped*",
    "completed": "✅ *Completed*",
    "failed": "❌ *Failed*",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One message. `key` names it within its run. Nothing is to be seen of it once it is `gone`. One that is
    `last` is brought to this when all others stand as they are drawn; where it is not posted yet and others
    follow, `meanwhile` is posted in its place."""

    key: str
    text: str = ""
    blocks: list[Block] = field(default_factory=list[Block])
    gone: bool = False
    last: bool = False
    meanwhile: Drawn | None = None

    @property
    def digest(self) -> str:
        """What tells it from its other states."""
        return hashlib.sha256(json.dumps([self.text, self.blocks, self.gone]).encode()).hexdigest()[:32]


class Drawing:
    """Draws a run again and again, and only what has changed anew. `page` gives the address of its page."""

    def __init__(self, story: Story, page: Callable[[str], str], thread: str) -> None:
        self.story = story
        self._thread = thread
        self.away: str | None = None
        """Why the server is not heard; None while it is."""
        self.waits: str | None = None
        """What holds the run up, None where nothing does."""
        self.gone = False
        """The server does not know the run any more."""
        self._page = page(story.run_id)
        self._drawn: dict[str, tuple[int, list[Drawn]]] = {}

    def messages(self) -> list[Drawn]:
        """All messages of the run, in order; the first says how it stands."""
        found = [self.status()]
        if self.gone:
            return found
        for item in self.story.items:
            version, drawn = self._drawn.get(item.key, (-1, []))
            if version != item.version:
                drawn = self._item(item)
                self._drawn[item.key] = (item.version, drawn)
            found += drawn
        if self.story.ended:
            found += self._ending()
        return found

    # -- how it stands -----------------------------------------------------------------------

    def status(self) -> Drawn:
        """How it stands."""
        state = self.story.state
        if self.gone:
            return self._status("🗑️ *Not there any more*", state)
        if self.away is not None:
            return self._status("🔌 *No connection to Jackline*", "no connection to Jackline:")
        drawn = self._status(_HEADS.get(state, escape(state)), state)
        if not self.story.ended:
            return drawn
        # Who reads that it is completed must find all of it below.
        return replace(drawn, last=True, meanwhile=self._status("📝 *Ended*, and being told", "ended"))

    def _status(self, head: str, state: str) -> Drawn:
        story = self.story
        parts = [head]
        if story.by:
            parts.append(f"for {escape(story.by)}")
        if story.agent:
            parts.append(f"agent {code(one_line(story.agent, 80))}")
        if story.attempt > 1:
            parts.append(f"attempt {story.attempt}, taken over")
        if story.state == "stopping" and story.stopped_by:
            parts.append(asked_for_by(story.stopped_by, story.stopped_why))
        if story.tokens and story.ended:
            parts.append(f"{story.tokens:,} tokens")
        parts.append(link(self._page, f"run {story.run_id}"))
        lines = [" · ".join(parts), *self._remarks()]
        blocks = [section("\n".join(lines))]
        if not story.ended and not self.gone:
            blocks.append(buttons(button("stop", "Stop", story.run_id, style="danger")))
        return Drawn(key="status", text=_notification(f"{state} run {story.run_id}"), blocks=blocks)

    def _remarks(self) -> list[str]:
        story = self.story
        lines: list[str] = []
        if story.thread != self._thread and story.asked:
            # It was not asked here, so it is to be read here.
            lines.append(f">{escape(one_line(story.asked, 500))}")
        if self.away is not None:
            why = escape(one_line(self.away, 200))
            goes_on = "The run goes on; this thread goes on" if story.seq else "How the run stands is told"
            lines.append(f"{goes_on} when Jackline answers again ({why}).")
        elif self.waits is not None:
            lines.append(f"It waits: {escape(one_line(self.waits, 300))}")
        if self.gone:
            lines.append("Jackline does not know this run any more. What was told of it stays here.")
        if story.missing:
            lines.append("Some of this run could not be read; its page says what there is.")
        return lines

    def _ending(self) -> list[Drawn]:
        story = self.story
        lines: list[str] = []
        if story.state == "stopped":
            parts = in_words(story.receipt or {}, self._page, story.stopped_why)
            blocks = [section("\n".join(lines)) for lines in parts]
            return [Drawn(key="end", text=_notification("the run is stopped"), blocks=blocks)]
        if story.state == "failed":
            message = str((story.error or {}).get("message", "")) or "no reason was given"
            lines = [f"*Failed*: {escape(one_line(message, 1500))}"]
        elif story.output is not None and story.output != story.said:
            if isinstance(story.output, str) and story.output.strip() != story.said.strip():
                return _says("end", story.output)
            if not isinstance(story.output, str):
                lines = [f"*Output* {_shortened(story.output, _ARGS, self._page)}"]
        text = "\n".join(lines)
        return [Drawn(key="end", text=_notification(lines[0]), blocks=[section(text)])] if lines else []

    # -- what is told ------------------------------------------------------------------------

    def _item(self, item: Item) -> list[Drawn]:
        match item:
            case Say():
                drawn = _says(item.key, item.text)
                return [Drawn(key=each.key, gone=True) for each in drawn] if item.gone else drawn
            case Calls():
                return [self._calls(item)]
            case Questions():
                return [self._questions(item)]
            case _:
                assert_never(item)

    def _calls(self, item: Calls) -> Drawn:
        text = ", ".join(f"{call.name} {call.state}" for call in item.calls)
        return Drawn(
            key=item.key, text=_notification(text), blocks=[section(self._call(call)) for call in item.calls]
        )

    def _call(self, call: Call) -> str:
        """One call: a line, and where there is something to say of it, another."""
        line = f"{_MARKS.get(call.state, '▫️')} *{escape(one_line(call.name, 80))}*"
        args = _plain(call.args)
        if args not in ("", "{}", "null"):
            line += f" {code(one_line(args, 160))}"
        line += f" · {escape(call.state)}"
        if call.duration_ms is not None:
            line += f" · {duration(call.duration_ms)}"
        if call.state == "finished":
            said, full = _preview(call.result)
        elif call.state == "started":
            said, full = _preview(call.progress)
        else:
            said, full = _preview((members(call.error) or {}).get("message"))
        if said:
            short = one_line(said, 240)
            cut = not full or short != one_line(said, sys.maxsize)
            line += f"\n{code(short)}" + (f" {link(self._page, 'all of it')}" if cut else "")
        return line

    def _questions(self, item: Questions) -> Drawn:
        blocks: list[Block] = []
        for question in item.questions:
            blocks += self._question(question)
        pending = [question for question in item.questions if question.pending]
        plain = [question for question in pending if question.kind == "call"]
        if len(plain) > 1:
            value = json.dumps([[question.call_id, question.round] for question in plain])
            blocks.append(buttons(button("approve_all", f"Approve all {len(plain)}", value, style="primary")))
        text = ", ".join(
            f"{question.name}: {'waits for an answer' if question.pending else question.state}"
            for question in item.questions
        )
        return Drawn(key=item.key, text=_notification(text), blocks=blocks)

    def _question(self, question: Question) -> list[Block]:
        name = escape(one_line(question.name, 80))
        args = _shortened(question.args, _ARGS, self._page)
        if question.kind == "outcome":
            asked = f"❓ *{name}*: what became of it is not known; its worker died.\n{args}"
        else:
            asked = f"✋ *{name}* wants to run:\n{args}"
        if question.why:
            asked += f"\nWhy: {escape(one_line(question.why, 300))}"
        if not question.pending:
            return [section(f"{asked}\n{self._answer(question)}")]
        if question.expires_at:
            asked += f"\nExpires {escape(question.expires_at)}"
        value = json.dumps([question.call_id, question.round])
        if question.kind == "outcome":
            elements = [
                button("retry", "Run it again", value),
                button("done", "It is done", value),
                button("abort", "Abort the run", value, style="danger"),
            ]
        else:
            elements = [
                button("approve", "Approve", value, style="primary"),
                button("deny", "Deny", value, style="danger"),
                button("edit", "Edit arguments", value),
            ]
        return [section(asked), buttons(*elements)]

    def _answer(self, question: Question) -> str:
        by = f" by {escape(question.by)}" if question.by else ""
        match question.state:
            case "granted":
                said = f"✅ *Approved*{by}"
                if question.granted is not None and question.granted != question.args:
                    said += f", with other arguments:\n{_shortened(question.granted, 700, self._page)}"
            case "denied":
                said = f"🚫 *Denied*{by}"
            case "answered":
                said = f"*Answered*{by}: {escape(question.outcome or '')}"
            case "expired":
                said = "⌛ *Expired*: nobody answered in time"
            case "withdrawn":
                said = "⏹️ *Withdrawn*: the run was stopped"
            case _:
                said = escape(question.state)
        return said + (f"\n_{escape(one_line(question.reason, 300))}_" if question.reason else "")


def section(text: str) -> Block:
    """`verbatim`: Slack must find no mention, channel or link in it that was not made here."""
    if size(text) > SECTION:
        text = text[: fitting(text, SECTION - 1, escaped=True)] + "…"
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def buttons(*elements: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(elements)}


def button(action: str, label: str, value: str, *, style: str | None = None) -> Block:
    """One button; `value` comes back with the press."""
    text = {"type": "plain_text", "text": label}
    made: Block = {"type": "button", "action_id": action, "text": text, "value": value}
    return made if style is None else made | {"style": style}


def duration(ms: float) -> str:
    """`12 ms`, `1.5 s`, `2 min 5 s`."""
    if ms < 1000:  # noqa: PLR2004 - a second
        return f"{ms:.0f} ms"
    minutes, seconds = divmod(ms / 1000, 60)
    return f"{int(minutes)} min {int(seconds)} s" if minutes else f"{seconds:.1f} s"


def _says(key: str, text: str) -> list[Drawn]:
    found: list[Drawn] = []
    for number, piece in enumerate(pieces(text)):
        shown = render(piece)
        if size(shown) > SECTION:
            # A table of wide columns, say: cut, some of it would be lost.
            shown = unrendered(piece)
        if shown.strip():
            found.append(Drawn(key=f"{key}.{number}", text=_notification(piece), blocks=[section(shown)]))
    return found


def _notification(text: str) -> str:
    return escape(one_line(text, _NOTIFICATION))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _preview(value: object) -> tuple[str, bool]:
    """A value in short, and whether that is all of it."""
    if value is None:
        return "", True
    aside = members(value) or {}
    if "artifact" in aside:
        return f"{aside.get('preview', '')} … ({aside.get('bytes', '?')} bytes)", False
    return _plain(value), True


def _shortened(value: object, limit: int, page: str) -> str:
    """A value for a person to decide on, nothing hidden in it; cut where it is too long, and said so."""
    said, full = _preview(value)
    if not isinstance(value, str) and full:
        said = json.dumps(value, ensure_ascii=False, indent=2)
    said = visible(said)
    kept = said
    while size(block(kept)) > limit:
        kept = kept[: len(kept) * 3 // 4]
    if full and kept == said:
        return block(said)
    return f"{block(kept + ' …')}\n*This is not all of it*: {link(page, 'see the page')}"
