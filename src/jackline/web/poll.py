"""An answer that is waited for; who hangs up is not waited with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from jackline.web.site import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from msgspec import Struct
    from starlette.types import Receive, Scope, Send


class Poll:
    """An ASGI callable: the answer is what `work` comes to."""

    def __init__(self, work: Callable[[], Awaitable[Struct]]) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        page: Struct | None = None
        fault: Exception | None = None

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(until_gone)
            try:
                page = await self._work()
            except Exception as caught:  # noqa: BLE001 (raised again, outside the group that would wrap it)
                fault = caught
            group.cancel_scope.cancel()
        if fault is not None:
            raise fault
        if page is not None:
            await json_response(page)(scope, receive, send)
