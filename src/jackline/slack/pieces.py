"""A long text as several messages. Pure.

Where a text is cut depends only on what stands before the cut and one message's length behind it: as a text
grows, the messages before the last one stay as they are.
"""

from __future__ import annotations

import re
from typing import Final

from jackline.slack.mrkdwn import fitting

LIMIT: Final = 2600
"""Characters of one message, as mrkdwn; a section of Slack's takes 3,000, and a fence may come on top."""
_MARK: Final = 20
"""Signs of a fence that are repeated in the next piece: a longer one would leave no room for the text."""
_FENCE: Final = re.compile(r"^ {0,3}(```+|~~~+)(.*)$", re.MULTILINE)


def pieces(text: str) -> list[str]:
    """The text in pieces, each short enough; a block of code that is cut is closed and opened again."""
    found: list[str] = []
    while (end := fitting(text, LIMIT)) < len(text):
        cut = _cut(text, end)
        head, text = text[:cut], text[cut:].lstrip("\n")
        fence = _open_fence(head)
        if fence is not None:
            head, text = f"{head.rstrip()}\n{fence}", f"{fence[:_MARK]}\n{text}"
        if head.strip():
            found.append(head)
    return [*found, text] if text.strip() else found


def _cut(text: str, end: int) -> int:
    """Where to cut: behind a paragraph, else a line, else a word, but not in the first half."""
    half = end // 2
    at = text.rfind("\n\n", half, end)
    while at > 0 and _open_fence(text[:at]) is not None:
        at = text.rfind("\n\n", half, at)
    if at > 0:
        return at + 2
    for mark in ("\n", " "):
        at = text.rfind(mark, half, end)
        if at > 0:
            return at + 1
    return end


def _open_fence(text: str) -> str | None:
    """The fence that is open at the text's end, without what stands behind it: Slack shows no language."""
    inside: str | None = None
    for mark, info in _FENCE.findall(text):
        if inside is None:
            inside = str(mark)
        elif mark[0] == inside[0] and len(mark) >= len(inside) and not info.strip():
            inside = None
    return inside
