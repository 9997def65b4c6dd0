"""Texts with places to fill in.

`@name@` stands for a value. A line that begins with `[tls]` is only there when the proxy ends TLS, one that
begins with `[plain]` only when it does not. Neither occurs in the syntax of any configuration.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jackline.proxies.wish import address, bracketed

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_PLACE: Final = re.compile(r"@([a-z_]+)@")
_LINE: Final = re.compile(r"^\[(tls|plain)\] ?(.*\n)", re.MULTILINE)


def fill(template: str, wish: Wish, **more: str) -> str:
    """The text for this wish; `more` are values of the text's own."""
    values = {**_values(wish), **more}
    wanted = "tls" if wish.tls else "plain"
    text = _LINE.sub(lambda line: line[2] if line[1] == wanted else "", template)
    return _PLACE.sub(lambda place: values[place[1]], text)


def _values(wish: Wish) -> dict[str, str]:
    certificate, key = wish.tls or ("", "")
    return {
        "upstream": address(wish.upstream),
        "upstream_host": wish.upstream[0],
        "upstream_in_brackets": bracketed(wish.upstream[0]),
        "upstream_port": str(wish.upstream[1]),
        "listen": address(wish.listen),
        "listen_host": wish.listen[0],
        "listen_in_brackets": bracketed(wish.listen[0]),
        "listen_port": str(wish.listen[1]),
        "heartbeat": f"{wish.heartbeat:g}",
        "idle": str(wish.idle),
        "least": str(wish.least),
        "certificate": certificate,
        "key": key,
        "scheme": "https" if wish.tls else "http",
    }
