"""Short-lived signed tokens that open the probes, and nothing else (G12).

A token is `jlp1.EXPIRY.ID.SIGNATURE`: POSIX seconds, 16 hex digits, and the hex HMAC-SHA-256 of all before it
under the setting `probe_secret`. Every replica with the same setting takes it; nothing is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SECONDS: Final = 3600.0
"""What a token is good for, at most. One that says more was not made here."""

HEADER: Final = "x-probe-token"
"""Where a token stands besides `Authorization`, which some proxies keep for themselves."""

_TOKEN: Final = re.compile(r"(jlp1\.([0-9]{1,12})\.([0-9a-f]{16}))\.([0-9a-f]{64})", re.ASCII)
_PURPOSE: Final = b"jackline probe token\n"


class Grants:
    """Makes and checks tokens. Without a secret every check fails. `now`: POSIX seconds."""

    def __init__(self, secret: str | None, now: Callable[[], float] = time.time) -> None:
        self._secret = None if secret is None else secret.encode()
        self._now = now

    def make(self, seconds: float) -> str:
        """A token that is good for so long. Raises `ValueError` above an hour, and without a secret."""
        if not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"a token is good for 1 to {MAX_SECONDS:g} seconds")
        body = f"jlp1.{int(self._now() + seconds)}.{secrets.token_hex(8)}"
        return f"{body}.{self._signature(body)}"

    def holder(self, token: str | None) -> str | None:
        """Whose probes a token opens; None when it opens nothing."""
        match = _TOKEN.fullmatch(token or "")
        if match is None or self._secret is None:
            return None
        if not hmac.compare_digest(self._signature(match[1]), match[4]):
            return None
        left = int(match[2]) - self._now()
        return f"probe:{match[3]}" if 0 < left <= MAX_SECONDS else None

    def _signature(self, body: str) -> str:
        if self._secret is None:
            raise ValueError("there is no secret to sign with")
        return hmac.new(self._secret, _PURPOSE + body.encode(), hashlib.sha256).hexdigest()
