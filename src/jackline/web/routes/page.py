"""`/`: a small page that lists the caller's runs and says what to type. It loads nothing."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from jackline.web.lists import visible_page
from jackline.web.routes.runs import run_item
from jackline.web.waiting import Reasons

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.log.base import Head
    from jackline.web.routes.runs import RunItem
    from jackline.web.site import Site

_SHOWN: Final = 50

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}
code,pre{background:#f3f3f3;padding:.1rem .3rem;border-radius:3px}pre{padding:.6rem;overflow-x:auto}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code,pre{background:#282828}
th,td{border-color:#444}a{color:#8bf}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


async def page(site: Site, request: Request) -> ASGIApp:
    """The page. With keys, a browser that sends none gets it without runs."""
    authorization = request.headers.get("authorization")
    if site.authority.keyless or authorization is not None:
        principal = site.authority.identify(authorization)

        async def fetch(cursor: str, limit: int) -> tuple[list[Head], str]:
            return await site.store.runs(cursor=cursor, limit=limit)

        heads, _ = await visible_page(
            fetch, lambda head: site.authority.may_see(principal, head), cursor="", limit=_SHOWN
        )
        reasons = Reasons(site.store)
        listing = _table([run_item(head, await reasons.of(head)) for head in heads])
    else:
        listing = "<p>Runs are shown to who sends a key: <code>Authorization: Bearer KEY</code>.</p>"
    return Response(_html(str(request.base_url).rstrip("/"), listing), headers=_HEADERS)


def _html(url: str, listing: str) -> str:
    url = escape(url)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Jackline</title><style>{_STYLE}</style></head><body>
<h1>Jackline</h1>
<h2>Runs</h2>
{listing}
<h2>What to type</h2>
<pre>jackline chat "how full are the disks?" --url {url}
jackline runs --url {url}
jackline tail RUN --url {url}
jackline stop RUN --url {url}</pre>
<pre>curl -N {url}/api/v1/agent/chat -H 'Content-Type: application/json' \\
  -d '{{"messages":[{{"role":"user","content":"how full are the disks?"}}]}}'</pre>
<p>The API: <a href="/openapi.json">openapi.json</a></p>
</body></html>
"""


def _why(run: RunItem) -> str:
    return "" if run.waiting is None else f"<br><small>waits: {escape(run.waiting.detail)}</small>"


def _table(runs: list[RunItem]) -> str:
    if not runs:
        return "<p>None yet.</p>"
    rows = "".join(
        f"<tr><td><a href='/api/v1/agent/runs/{escape(run.run_id)}'>{escape(run.run_id)}</a></td>"
        f"<td>{escape(run.state)}{_why(run)}</td><td>{escape(run.title)}</td><td>{escape(run.updated_at)}</td></tr>"
        for run in runs
    )
    return f"<table><tr><th>run</th><th>state</th><th>about</th><th>last change</th></tr>{rows}</table>"
