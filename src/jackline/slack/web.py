"""Slack's Web API: the calls that the bridge makes, and what can become of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from jackline.client.shape import items, members
from jackline.errors import JacklineError

if TYPE_CHECKING:
    from jackline.slack.drawing import Block

_TIMEOUT_S: Final = 15
_METADATA: Final = "jackline_message"
_PASSING: Final = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited"}
)
_TOO_MANY: Final = 429
_FAULT: Final = 500


class _Answers(Protocol):
    data: object


class _Calls(Protocol):
    """What the SDK's client has no complete types for."""

    async def api_call(
        self,
        api_method: str,
        *,
        http_verb: str = "POST",
        params: dict[str, Any] | None = None,
        json: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> _Answers: ...


class SlackError(JacklineError):
    """Root of what these calls raise."""


class RateLimited(SlackError):  # noqa: N818
    """Slack did nothing, and says how long to wait."""

    def __init__(self, method: str, seconds: float) -> None:
        super().__init__(f"Slack asks to wait {seconds:g} s with {method}")
        self.seconds = seconds


class Unsure(SlackError):  # noqa: N818
    """No answer, or none that tells whether it was done."""


class SlackRefused(SlackError):  # noqa: N818
    """Slack says no; `error` is its word for why."""

    def __init__(self, method: str, error: str) -> None:
        super().__init__(f"Slack refuses {method}: {error}")
        self.error = error


class SlackWeb:
    """The bot's calls. Each is made once: nothing is tried again here, since a post may have been taken.

    `parse` and `link_names` are said each time: without them Slack looks for mentions in an edited text.
    """

    def __init__(self, token: str, url: str, session: aiohttp.ClientSession) -> None:
        self.client = AsyncWebClient(
            token=token,
            base_url=url.rstrip("/") + "/",
            session=session,
            timeout=_TIMEOUT_S,
            retry_handlers=[],
        )
        self._session = session

    async def who(self) -> dict[str, Any]:
        """`team_id`, `user_id` and `bot_id` of the bot."""
        return await self._call("auth.test", {})

    async def check_app_token(self, token: str) -> None:
        """Raises `SlackRefused` for one that opens no connection."""
        await self._call("apps.connections.open", {}, token=token)

    async def post(self, channel: str, thread: str | None, key: str, text: str, blocks: list[Block]) -> str:
        """Post a message that can be found again by `key`; its `ts`."""
        said: dict[str, Any] = _said(channel, key, text, blocks) | {
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if thread is not None:
            said["thread_ts"] = thread
        return str((await self._call("chat.postMessage", said))["ts"])

    async def edit(self, channel: str, ts: str, key: str, text: str, blocks: list[Block]) -> None:
        """Replace a message."""
        await self._call("chat.update", _said(channel, key, text, blocks) | {"ts": ts})

    async def delete(self, channel: str, ts: str) -> None:
        """Take a message away."""
        await self._call("chat.delete", {"channel": channel, "ts": ts})

    async def find(self, channel: str, thread: str | None, key: str, since: float) -> str | None:
        """The `ts` of the message with this key; None when there is none. `since`: POSIX seconds."""
        method = "conversations.history" if thread is None else "conversations.replies"
        asked: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{since:.6f}",
            "include_all_metadata": 1,
            "limit": 200,
        }
        if thread is not None:
            asked["ts"] = thread
        while True:
            page = await self._call(method, asked, read=True)
            for each in map(members, items(page.get("messages"))):
                metadata = members((each or {}).get("metadata")) or {}
                if (members(metadata.get("event_payload")) or {}).get("key") == key:
                    return str((each or {})["ts"])
            cursor = (members(page.get("response_metadata")) or {}).get("next_cursor")
            if not cursor:
                return None
            asked["cursor"] = cursor

    async def whisper(
        self, channel: str, user: str, text: str, *, thread: str | None, blocks: list[Block] | None = None
    ) -> None:
        """Say something that only `user` sees."""
        said: dict[str, Any] = {"channel": channel, "user": user, "text": text, "parse": "none"}
        if thread is not None:
            said["thread_ts"] = thread
        if blocks:
            said["blocks"] = blocks
        await self._call("chat.postEphemeral", said)

    async def respond(self, url: str, text: str, blocks: list[Block] | None = None) -> None:
        """Answer a command, where the bot may not be a member. Good for half an hour and five answers."""
        said: dict[str, Any] = {"response_type": "ephemeral", "text": text}
        if blocks:
            said["blocks"] = blocks
        try:
            async with self._session.post(url, json=said) as answer:
                await answer.read()
                if answer.status == _TOO_MANY:
                    raise RateLimited("an answer", _seconds(dict(answer.headers)))
                if answer.status >= _FAULT:
                    raise Unsure(f"Slack answers {answer.status} to an answer")
                if not answer.ok:
                    raise SlackRefused("an answer", str(answer.status))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unsure(f"no answer from Slack: {error or type(error).__name__}") from error

    async def open_view(self, trigger: str, view: dict[str, Any]) -> None:
        """Open a form. The trigger is good for three seconds."""
        await self._call("views.open", {"trigger_id": trigger, "view": view})

    async def _call(
        self, method: str, body: dict[str, Any], *, token: str | None = None, read: bool = False
    ) -> dict[str, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            # What reads takes no JSON.
            call = cast("_Calls", self.client).api_call
            answer = await (
                call(method, http_verb="GET", params=body)
                if read
                else call(method, json=body, headers=headers)
            )
        except SlackApiError as error:
            raise _refusal(method, error) from error
        except (TimeoutError, SlackClientError, aiohttp.ClientError, json.JSONDecodeError) as error:
            raise Unsure(f"no answer from Slack: {error or type(error).__name__}") from error
        return members(answer.data) or {}


def _refusal(method: str, error: SlackApiError) -> SlackError:
    answer = cast("Any", error.response)
    data = members(answer.data) or {}
    word = str(data.get("error") or answer.status_code)
    if answer.status_code == _TOO_MANY or word == "ratelimited":
        return RateLimited(method, _seconds(answer.headers))
    if answer.status_code >= _FAULT or word in _PASSING or not data:
        return Unsure(f"Slack answers {word} to {method}")
    return SlackRefused(method, word)


def _seconds(headers: dict[str, str]) -> float:
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return float(value)
    return 30.0  # what Slack's own client waits when it is not told


def _said(channel: str, key: str, text: str, blocks: list[Block]) -> dict[str, Any]:
    return {
        "channel": channel,
        "text": text,
        "blocks": blocks,
        "parse": "none",
        "link_names": False,
        "metadata": {"event_type": _METADATA, "event_payload": {"key": key}},
    }
