"""What an MCP server still says of a call that was cancelled: a sight of the session's messages.

The client library sends `notifications/cancelled` when a call is cancelled, and drops what the server
says of the call after that. Here both are seen, so that a stop's receipt can tell what became of it.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

import anyio
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from fastmcp.client.transports.base import TransportOptions, VersionAwareClientSession
from mcp_types import CONNECTION_CLOSED, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from jackline.endings import CallEnd
from jackline.events import ErrorInfo
from jackline.values import clean

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

    from mcp.shared._stream_protocols import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

    from jackline.events import Json

    Posts = MutableMapping[str, "Post"]

_LONGEST: Final = 4000
"""Characters of an answer that go into the receipt: it is for a person's eyes, and an entry has a size."""

_REQUEST_CANCELLED: Final = -32800
"""The code that servers take for it (from the Language Server Protocol; MCP names none)."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Post:
    """One `tools/call`: whether it left, whether the server was told of its cancellation, and what the
    server has answered, however late."""

    request_id: str | None = None
    told: bool = False
    answer: JSONRPCResponse | JSONRPCError | None = None
    come: anyio.Event = field(default_factory=anyio.Event)

    def end(self, *, alive: bool) -> CallEnd:
        """What became of the call. `alive`: the server has answered something that it was asked after
        it was told, so it has read that it was."""
        match self.answer:
            case JSONRPCResponse(result=result):
                return _finished(result)
            case JSONRPCError(error=error) if error.code == CONNECTION_CLOSED:
                pass  # not the server's word: the library's, once nobody is there
            case JSONRPCError(error=error):
                told: Json = {"error": {"code": error.code, "message": clean(error.message[:_LONGEST])}}
                if error.code == _REQUEST_CANCELLED or "cancel" in error.message.lower():
                    return CallEnd(outcome="cancelled", answer=told)
                info = ErrorInfo(type="tool_failed", message=clean(error.message[:_LONGEST]))
                return CallEnd(outcome="finished_before_stop", error=info, answer=told)
            case None:
                pass
        if self.request_id is None or (alive and self.told):
            return CallEnd(outcome="cancelled")
        return CallEnd(outcome="unknown")


posted: ContextVar[Post] = ContextVar("posted")
"""The post of the call that the present task makes."""


def _finished(result: dict[str, Any]) -> CallEnd:
    content = cast("list[dict[str, Any]]", result.get("content") or [])
    text = clean("\n".join(str(part["text"]) for part in content if "text" in part))
    value: Json = result.get("structuredContent")
    if result.get("isError"):
        info = ErrorInfo(type="tool_failed", message=text[:_LONGEST] or "it failed")
        said: Json = {"error": {"message": info.message}}
        return CallEnd(outcome="finished_before_stop", error=info, answer=said)
    return CallEnd(
        outcome="finished_before_stop",
        result=text if value is None else value,
        answer={"text": text[:_LONGEST]},
    )


class _Sent:
    """The messages to the server."""

    def __init__(self, inner: WriteStream[SessionMessage], posts: Posts) -> None:
        self._inner = inner
        self._posts = posts

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        post = posted.get(None)
        if isinstance(message, JSONRPCRequest) and message.method == "tools/call" and post is not None:
            # Before it leaves: a send that is cancelled may have arrived all the same.
            post.request_id = str(message.id)
            self._posts[post.request_id] = post
        await self._inner.send(item)
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            cancelled = self._posts.get(str((message.params or {}).get("requestId")))
            if cancelled is not None:
                cancelled.told = True

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, value, trace)


class _Heard:
    """The messages from the server."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception], posts: Posts) -> None:
        self._inner = inner
        self._posts = posts

    @property
    def last_context(self) -> object:
        """What the session wants to know of some streams."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return self._seen(await self._inner.receive())

    def _seen(self, item: SessionMessage | Exception) -> SessionMessage | Exception:
        message = None if isinstance(item, Exception) else item.message
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            post = self._posts.get(str(message.id))
            if post is not None:
                post.answer = message
                post.come.set()
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return self._seen(await self._inner.__anext__())

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, value, trace)


class _Session(VersionAwareClientSession):
    def __init__(
        self,
        read_stream: ReadStream[SessionMessage | Exception],
        write_stream: WriteStream[SessionMessage],
        **options: Any,
    ) -> None:
        posts: Posts = weakref.WeakValueDictionary()
        super().__init__(_Heard(read_stream, posts), _Sent(write_stream, posts), **options)


class _Seen:
    """A transport whose sessions are seen."""

    def connect_session(self, *, transport_options: TransportOptions | None = None, **options: Any) -> Any:
        """See `ClientTransport`."""
        seen = replace(transport_options or TransportOptions(), session_class=_Session)
        beneath = cast("Any", super())
        return beneath.connect_session(transport_options=seen, **options)


class Stdio(_Seen, StdioTransport):
    """A program of our own."""


class Http(_Seen, StreamableHttpTransport):
    """A server over streamable HTTP."""


class Sse(_Seen, SSETransport):
    """A server over the older HTTP with SSE."""
