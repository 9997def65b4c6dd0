"""Who asked for something, and where; and the key that their request has with the server. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Who asked, and where. `thread` is where the answer belongs; `within`: it was asked in that thread, and
    not by the message that begins it. `answer` is Slack's own address for an answer, where it gave one."""

    user: str
    name: str
    channel: str
    thread: str | None = None
    answer: str | None = None
    within: bool = False


def key_of(*parts: str) -> str:
    """The key of idempotency of what Slack sent: the same however often it sends it."""
    return "slack-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]
