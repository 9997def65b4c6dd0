"""The client: a method for every endpoint."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from random import random
from typing import TYPE_CHECKING, Any, Literal, Self

from jackline.client.errors import ProtocolViolation
from jackline.client.export import export, is_run
from jackline.client.feed import Feed
from jackline.client.follow import Follow, Source, body
from jackline.client.frames import Entry, entry
from jackline.client.http import Call, Server, read_json, segment
from jackline.client.shape import members

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType

    from jackline.client.connected import FollowState
    from jackline.client.pace import Pace

_API = "/api/v1/agent"

OnBusy = Literal["reject", "queue", "stop"]
StopMode = Literal["immediate", "after_step"]
Until = Literal["pause"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A run that was accepted."""

    run_id: str
    conversation_id: str
    state: str
    data: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """An answer to one approval: `approve`, with edited `args` if given; or, where the outcome of a call
    is unknown, `outcome`, with the `result` that a call marked done had. `round`: of the question that is
    answered; a later one about the same call is then never taken for it."""

    call_id: str
    approve: bool | None = None
    args: Mapping[str, Any] | None = None
    outcome: Literal["retry", "done", "abort"] | None = None
    result: object = None
    reason: str | None = None
    round: int | None = None

    def members(self) -> dict[str, Any]:
        """The body of the request, without the call's id."""
        if (self.approve is None) == (self.outcome is None):
            raise ValueError("a decision is either approve or outcome")
        return _given(
            round=self.round,
            approve=self.approve,
            args=self.args,
            outcome=self.outcome,
            result=self.result,
            reason=self.reason,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A decision that stands: `state` of the approval, and who made it."""

    run_id: str
    call_id: str
    state: str
    by: str | None
    data: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """A stop that was accepted. `quiet`: the run has ended, in `state`, which need not be `stopped`;
    `receipt` says what became of its calls, where the stop ended it."""

    run_id: str
    state: str
    quiet: bool
    receipt: dict[str, Any] | None
    data: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Entries in order; `next` is the cursor to go on from, None when the run has ended and all is read.
    `raw` of these entries is not the wire's, but encoded anew."""

    entries: tuple[Entry, ...]
    next: int | str | None
    data: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A result too large for an entry."""

    media_type: str
    data: bytes = field(repr=False)


class Client:
    """A Jackline server, over HTTP.

    Every request raises `Refused` with the problem document when the server says no, and
    `Unreachable` when it did not answer within the pace's budget. POSTs carry an Idempotency-Key,
    made once, and are tried again with that key only, so that none takes effect twice. `trust_env`
    lets the environment's proxy settings apply. `token` is an API key.

    Use it as a context manager, or call `aclose`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8787",
        token: str | None = None,
        *,
        pace: Pace | None = None,
        trust_env: bool = False,
        verify: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random,
    ) -> None:
        """Raises `ValueError` for an address that is none."""
        self._server = Server(
            url, token, pace=pace, trust_env=trust_env, verify=verify, clock=clock, chance=chance
        )

    @property
    def url(self) -> str:
        """The server's address."""
        return self._server.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, followed streams too."""
        await self._server.aclose()

    # -- starting and following ----------------------------------------------------------------

    def chat(
        self,
        messages: str | Sequence[Mapping[str, str]],
        *,
        conversation_id: str | None = None,
        agent: str | None = None,
        on_busy: OnBusy | None = None,
        metadata: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        key: str | None = None,
        until: Until | None = None,
        compact: bool | None = None,
        on_state: Callable[[FollowState, str], None] | None = None,
    ) -> Follow:
        """Start a run and follow it from its first entry. Nothing is sent before the first iteration.

        `messages` are the new ones only; a `str` is one of the user's. `on_state` is told whenever
        the connection's state changes, with the reason.
        """
        request = _chat(messages, conversation_id, agent, on_busy, metadata, limits)
        post = Call(method="POST", path=f"{_API}/chat", body=body(request), key=key or _new_key())
        source = Source(after="0", post=post, params=_stream(until, compact))
        return Follow(self._server, source, on_state)

    async def start(
        self,
        messages: str | Sequence[Mapping[str, str]],
        *,
        conversation_id: str | None = None,
        agent: str | None = None,
        on_busy: OnBusy | None = None,
        metadata: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Started:
        """Start a run without watching it."""
        request = _chat(messages, conversation_id, agent, on_busy, metadata, limits)
        data = await self._post("/chat", request, key)
        return Started(
            run_id=str(data["run_id"]),
            conversation_id=str(data["conversation_id"]),
            state=str(data["state"]),
            data=data,
        )

    def follow(
        self,
        run_id: str,
        *,
        after: int | str = 0,
        until: Until | None = None,
        compact: bool | None = None,
        on_state: Callable[[FollowState, str], None] | None = None,
    ) -> Follow:
        """Follow a run from the cursor `after` on: a `seq`, or an entry's `id`."""
        segment(run_id)
        source = Source(run_id=run_id, after=str(after), params=_stream(until, compact))
        return Follow(self._server, source, on_state)

    def feed(
        self, after: str | None = None, *, on_state: Callable[[FollowState, str], None] | None = None
    ) -> Feed:
        """What happens in all runs from the cursor `after` on (`now`: from now on); without one from the
        oldest entry held. Nothing is sent before the first iteration."""
        return Feed(self._server, after, on_state)

    # -- approvals -----------------------------------------------------------------------------

    async def approvals(
        self, *, state: str | None = "pending", limit: int | None = None, cursor: str | None = None
    ) -> dict[str, Any]:
        """`{"approvals": […], "next": …}`."""
        return await self._get("/approvals", state=state, limit=limit, cursor=cursor)

    async def approval(self, call_id: str) -> dict[str, Any]:
        """One call's approval."""
        return await self._get(f"/approvals/{segment(call_id)}")

    async def decide(self, decision: Decision, *, key: str | None = None) -> Decided:
        """Decide. The first decision wins (G5): the same one again answers the same, for another one
        `Refused` (409) tells who decided."""
        data = await self._post(f"/approvals/{segment(decision.call_id)}", decision.members(), key)
        by = data.get("by")
        return Decided(
            run_id=str(data["run_id"]),
            call_id=str(data.get("call_id", decision.call_id)),
            state=str(data["state"]),
            by=None if by is None else str(by),
            data=data,
        )

    async def decide_all(self, decisions: Sequence[Decision], *, key: str | None = None) -> dict[str, Any]:
        """Several decisions of one run, all or none."""
        request = {"decisions": [{"call_id": each.call_id, **each.members()} for each in decisions]}
        return await self._post("/approvals", request, key)

    def decide_and_follow(
        self,
        *decisions: Decision,
        key: str | None = None,
        until: Until | None = None,
        compact: bool | None = None,
        on_state: Callable[[FollowState, str], None] | None = None,
    ) -> Follow:
        """Decide, and follow the run from the decision's entry on. Nothing is sent before the first
        iteration."""
        if len(decisions) == 1:
            path, request = f"{_API}/approvals/{segment(decisions[0].call_id)}", decisions[0].members()
        else:
            members = [{"call_id": each.call_id, **each.members()} for each in decisions]
            path, request = f"{_API}/approvals", {"decisions": members}
        post = Call(method="POST", path=path, body=body(request), key=key or _new_key())
        return Follow(self._server, Source(post=post, params=_stream(until, compact)), on_state)

    # -- stopping ------------------------------------------------------------------------------

    async def stop(
        self,
        run_id: str | None = None,
        *,
        conversation_id: str | None = None,
        reason: str | None = None,
        mode: StopMode | None = None,
        wait_s: float | None = None,
        key: str | None = None,
    ) -> Stopped:
        """Stop a run, or a conversation's active one. Accepted at once (G4); with `wait_s` the answer
        comes when the run is quiet, at the latest after that many seconds."""
        if (run_id is None) == (conversation_id is None):
            raise ValueError("name a run or a conversation")
        request = _given(reason=reason, mode=mode, conversation_id=conversation_id)
        path = f"{_API}/stop" if run_id is None else f"{_API}/runs/{segment(run_id)}/stop"
        params: dict[str, str | int] = {} if wait_s is None else {"wait": f"{wait_s:g}"}
        call = Call(method="POST", path=path, params=params, body=body(request), key=key or _new_key())
        response = await self._server.request(call, wait_s=wait_s or 0, first_s=self._server.pace.stop_s)
        data = read_json(response)
        return Stopped(
            run_id=str(data["run_id"]),
            state=str(data["state"]),
            quiet=response.status_code == HTTPStatus.OK,
            receipt=members(data.get("receipt")),
            data=data,
        )

    # -- reading -------------------------------------------------------------------------------

    async def snapshot(self, run_id: str) -> dict[str, Any]:
        """How a run stands: its state, transcript, tools, approvals, usage, output, error, receipt."""
        return await self._get(f"/runs/{segment(run_id)}")

    async def page(self, run_id: str, *, after: int | str = 0, limit: int | None = None) -> Page:
        """Entries after a cursor."""
        data = await self._get(f"/runs/{segment(run_id)}/events", after=after, limit=limit)
        entries = tuple(
            entry(str(each["type"]), str(each["id"]), each["data"], body(each["data"]).decode())
            for each in data["entries"]
        )
        following: object = data.get("next")
        return Page(entries=entries, next=following if isinstance(following, int | str) else None, data=data)

    async def runs(
        self,
        *,
        state: str | None = None,
        conversation_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """`{"runs": […], "next": …}`, newest first."""
        return await self._get(
            "/runs", state=state, conversation_id=conversation_id, limit=limit, cursor=cursor
        )

    async def conversations(self, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """A page of conversations."""
        return await self._get("/conversations", limit=limit, cursor=cursor)

    async def conversation(self, conversation_id: str) -> dict[str, Any]:
        """A conversation and its history."""
        return await self._get(f"/conversations/{segment(conversation_id)}")

    async def agents(self) -> dict[str, Any]:
        """The agents that the live workers serve."""
        return await self._get("/agents")

    async def tools(self) -> dict[str, Any]:
        """Their tools, with schemas, annotations and what the policy says of each."""
        return await self._get("/tools")

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact:
        """A result that was stored aside."""
        call = Call(method="GET", path=f"{_API}/runs/{segment(run_id)}/artifacts/{segment(artifact_id)}")
        response = await self._server.request(call, accept="*/*")
        return Artifact(media_type=response.headers.get("content-type", ""), data=response.content)

    def export(self, name: str) -> AsyncIterator[bytes]:
        """A run, or a conversation with all of its runs, as JSON lines: see `jackline.export`. Of a run
        that is open all up to its newest entry."""
        return export(self, name)

    # -- deleting ------------------------------------------------------------------------------

    async def delete(self, name: str) -> None:
        """Remove a finished run, or a conversation whose runs have finished."""
        await (self.delete_run(name) if is_run(name) else self.delete_conversation(name))

    async def delete_run(self, run_id: str) -> None:
        """Remove a finished run everywhere."""
        await self._delete(f"{_API}/runs/{segment(run_id)}")

    async def delete_conversation(self, conversation_id: str) -> None:
        """Remove a conversation everywhere, all of its runs with it."""
        await self._delete(f"{_API}/conversations/{segment(conversation_id)}")

    async def _delete(self, path: str) -> None:
        answer = await self._server.request(Call(method="DELETE", path=path))
        if answer.status_code != HTTPStatus.NO_CONTENT:
            # Something else answers whatever it is asked for; nothing was deleted.
            raise ProtocolViolation(f"{self.url} answers {answer.status_code} to a deletion, not 204")

    async def _get(self, path: str, **params: str | int | None) -> dict[str, Any]:
        call = Call(method="GET", path=_API + path, params=_given(**params))
        return read_json(await self._server.request(call))

    async def _post(self, path: str, request: dict[str, Any], key: str | None) -> dict[str, Any]:
        call = Call(method="POST", path=_API + path, body=body(request), key=key or _new_key())
        return read_json(await self._server.request(call))


def _chat(
    messages: str | Sequence[Mapping[str, str]],
    conversation_id: str | None,
    agent: str | None,
    on_busy: OnBusy | None,
    metadata: Mapping[str, Any] | None,
    limits: Mapping[str, Any] | None,
) -> dict[str, Any]:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return _given(
        messages=[dict(message) for message in messages],
        conversation_id=conversation_id,
        agent=agent,
        # To refuse is the server's default, and no value of the wire.
        on_busy=None if on_busy == "reject" else on_busy,
        metadata=metadata,
        limits=limits,
    )


def _stream(until: Until | None, compact: bool | None) -> dict[str, str | int]:
    return _given(until=until, compact=None if compact is None else int(compact))


def _given(**members: object) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _new_key() -> str:
    return secrets.token_hex(16)
