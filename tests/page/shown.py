"""A run as the page shows it, and as its log tells it, in the same words: so that the two can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from playwright.async_api import Locator, Page, ViewportSize

from tests.blackbox.api import Api, Data
from tests.page.conftest import DESKTOP, PHONE, shot
from tests.support.node import FOLDER

T = TypeVar("T")
Line = tuple[str, str]
"""Who or what, and what of it: `("text", "tick tick")`, `("call", "C.1.1 note finished")`."""

AXE: Final = (FOLDER / "node_modules/axe-core/axe.min.js").read_text()
SIZES: Final[dict[str, ViewportSize]] = {"desktop": DESKTOP, "phone": PHONE}

_READ: Final = """
async () => {
    const feed = document.querySelector('[role=feed]');
    const frames = async () => { for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame) };
    const line = row => {
        const said = row.querySelector(':scope > .said');
        const call = row.querySelector('.jl-tool');
        const ending = row.querySelector('.ending');
        const words = element => [...element.childNodes].filter(each => !/^H[0-9]$/.test(each.nodeName))
            .map(each => each.textContent).join('');
        if (said !== null) return [said.dataset.who === 'user' ? 'user' : 'text', words(said)];
        if (call !== null)
            return ['call', [call.dataset.call, call.querySelector('.jl-tool-name').textContent,
                call.dataset.state].join(' ')];
        if (ending !== null) return ['ending', ending.dataset.state];
        return ['note', row.textContent];
    };
    const found = new Map();
    let total = 0;
    const look = () => {
        for (const row of feed.querySelectorAll('[aria-posinset]')) {
            found.set(Number(row.ariaPosInSet), line(row));
            total = Number(row.ariaSetSize);
        }
    };
    for (let pass = 0; pass < 3 && (pass === 0 || found.size < total); pass++) {
        feed.scrollTop = 0;
        await frames();
        for (;;) {
            look();
            if (feed.scrollTop + feed.clientHeight >= feed.scrollHeight - 2) break;
            feed.scrollTop += feed.clientHeight * 0.8;
            await frames();
        }
    }
    return [total, [...found].sort(([one], [other]) => one - other)];
}
"""


def plain(text: str) -> str:
    """A text without what Markdown makes of it: its letters and digits alone."""
    return re.sub(r"[\W_]+", "", text)


def _line(kind: str, text: str) -> Line:
    return kind, plain(text) if kind in {"user", "text", "reasoning"} else text


async def shown(page: Page) -> list[Line]:
    """All rows of the run in front, from its first to its last: scrolled through as a person would."""
    total, rows = await page.evaluate(_READ)
    assert [at for at, _ in rows] == list(range(1, total + 1)), "each row once, none missing"
    return [_line(kind, text) for _, (kind, text) in rows if kind != "note"]


def told(entries: Iterable[tuple[str, Data]]) -> list[Line]:
    """The same from the log's entries, each with its type."""
    lines: dict[str, list[str]] = {}
    states: dict[str, str] = {}
    for kind, data in entries:
        if kind == "token":
            lines.setdefault(f"m:{data['message_id']}", ["text", ""])[1] += data["text"]
        elif kind in {"tool", "approval"}:
            call_id = data["call_id"]
            if kind == "tool" and data["state"] != "progress":
                states[call_id] = data["state"]
            waits = kind == "approval" and data["state"] == "pending"
            state = "waits" if waits else states[call_id]
            lines[f"c:{call_id}"] = ["call", f"{call_id} {data['name']} {state}"]
        elif kind == "workflow":
            for number, message in enumerate(data.get("input", ())):
                lines[f"u:{number}"] = ["user", message["content"]]
            for message_id in data.get("supersedes", ()):
                lines.pop(f"m:{message_id}", None)
            if data["state"] in {"completed", "failed", "stopped"}:
                lines["end"] = ["ending", data["state"]]
    return [_line(kind, text) for kind, text in lines.values()]


def logged(api: Api, run_id: str) -> list[Line]:
    """What the log of a run tells."""
    entries: list[tuple[str, Data]] = []
    after: int | None = 0
    while after is not None:
        page = api.page(run_id, after)
        entries += [(each["type"], each["data"]) for each in page["entries"]]
        after = page["next"] if page["entries"] else None
    return told(entries)


def printed(output: str) -> list[Line]:
    """What a command with `--json` has told of a run."""
    frames: list[Data] = [json.loads(line) for line in output.splitlines()]
    return told((frame["event"], frame["data"]) for frame in frames if "seq" in frame["data"])


def card(page: Page, name: str) -> Locator:
    """The cards of the calls of a tool."""
    return page.locator(".jl-tool").filter(has=page.locator(".jl-tool-name", has_text=name))


async def unfold(page: Page, name: str) -> Locator:
    """Open the only card of a tool's calls."""
    await card(page, name).locator(".jl-tool-toggle").click()
    return card(page, name)


def narration(lines: list[Line]) -> str:
    """What the agent said."""
    return "".join(text for kind, text in lines if kind == "text")


async def violations(page: Page) -> list[str]:
    """What axe has against what is shown."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE)
    found: list[dict[str, Any]] = await page.evaluate("async () => (await axe.run()).violations")
    return [f"{each['id']} ({len(each['nodes'])}): {each['nodes'][0]['html'][:300]}" for each in found]


async def sideways(page: Page) -> int:
    """How many pixels the page is wider than its window, or a part of it than its place."""
    return await page.evaluate(
        "Math.max(document.documentElement.scrollWidth - window.innerWidth,"
        " ...[...document.querySelectorAll('.pending, .feed')].map(e => e.scrollWidth - e.clientWidth))"
    )


async def inspect(page: Page, name: str) -> None:
    """Keep pictures of a state, light and dark, in each size; nothing is wrong with any of them."""
    wrong: list[str] = []
    for size in SIZES:
        await page.set_viewport_size(SIZES[size])
        for colours in ("light", "dark"):
            await page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            where = f"{name}-{size}-{colours}"
            await shot(page, where)
            wrong += [f"{where}: {each}" for each in await violations(page)]
            if (pixels := await sideways(page)) > 0:
                wrong.append(f"{where}: {pixels} pixels too wide")
    await page.set_viewport_size(DESKTOP)
    assert not wrong, "\n".join(wrong)
