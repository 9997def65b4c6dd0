"""Principals, and the one place that decides who may do what (G12).

A route asks `Authority` for the run or the conversation it is about to touch and names what it
wants to do by the function it calls. What the caller may not have is answered like what does not
exist: `NotFound`. A check that cannot be made (the store is away) raises and so fails closed.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.errors import NotFound, UnknownRun
from jackline.ids import is_call_id, is_conversation_id, is_run_id, run_of
from jackline.web.probe.grants import HEADER
from jackline.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import Headers
    from starlette.requests import Request

    from jackline.log.base import Conversation, Head, Store
    from jackline.settings import ApiKey
    from jackline.web.probe.grants import Grants

PRINCIPAL: Final = "jackline.principal"
"""The scope's key under which the caller's principal stands."""

PROBES: Final = "/api/v1/probe/"
"""The paths that a grant opens."""

PROBES_OFF: Final = (
    "the probes are off; set `probes = true`, or send a token of `jackline doctor --grant` in X-Probe-Token"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who calls: `user:ana`, or `local` where there are no keys. `prober`: they hold a grant, which opens
    the probes and nothing else."""

    name: str
    prober: bool = False


LOCAL: Final = Principal(name="local")


def principal_of(request: Request) -> Principal:
    """The caller. A route outside the authenticated part of the app has none: that is a 401."""
    principal = request.scope.get(PRINCIPAL)
    if not isinstance(principal, Principal):
        raise _unauthorised("send a key: Authorization: Bearer KEY")
    return principal


class Authority:
    """Who calls, and what they may do. `keys` empty: everybody who can connect is `local`. `probes`: whether
    every principal may use the probes; holders of `grants` may in any case."""

    def __init__(self, store: Store, keys: Sequence[ApiKey], grants: Grants, *, probes: bool = False) -> None:
        self._store = store
        self._grants = grants
        self._probes = probes
        self._keys = [(bytes.fromhex(key.sha256), Principal(name=key.principal)) for key in keys]

    @property
    def keyless(self) -> bool:
        """Whether no keys exist."""
        return not self._keys

    def identify(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises a 401 problem."""
        if self.keyless:
            return LOCAL
        if authorization is None:
            raise _unauthorised("send a key: Authorization: Bearer KEY")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorised("only Authorization: Bearer KEY is understood")
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found: Principal | None = None
        for known, principal in self._keys:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            raise _unauthorised("this key is not known", error="invalid_token")
        return found

    def prober(self, headers: Headers) -> Principal | None:
        """Who holds the grant that a request to a probe carries."""
        tokens = (headers.get(HEADER), headers.get("authorization", "").partition(" ")[2].strip())
        for token in tokens:
            holder = self._grants.holder(token)
            if holder is not None:
                return Principal(name=holder, prober=True)
        return None

    # -- what may be done: one function per kind of action -----------------------------------

    def may_probe(self, principal: Principal) -> None:
        """Use the probes. Raises a 404 problem that says how to switch them on."""
        if not self._probes and not principal.prober:
            raise Problem(404, PROBES_OFF)

    def may_start(self, principal: Principal) -> None:
        """Start a run in a new conversation: every principal may."""
        del principal

    async def may_continue(self, principal: Principal, conversation_id: str) -> Conversation:
        """Start a run in this conversation. Raises `NotFound`."""
        return await self._conversation(principal, conversation_id)

    async def may_read_run(self, principal: Principal, run_id: str) -> Head:
        """See a run: its entries, snapshot, artifacts and questions. Raises `NotFound`."""
        return await self._run(principal, run_id)

    async def may_read_conversation(self, principal: Principal, conversation_id: str) -> Conversation:
        """See a conversation. Raises `NotFound`."""
        return await self._conversation(principal, conversation_id)

    async def may_decide(self, principal: Principal, call_id: str) -> Head:
        """Answer the question about a call. Raises `NotFound`."""
        if not is_call_id(call_id):
            raise NotFound(call_id)
        return await self._run(principal, run_of(call_id))

    async def may_stop_run(self, principal: Principal, run_id: str) -> Head:
        """Stop a run. Raises `NotFound`."""
        return await self._run(principal, run_id)

    async def may_stop_conversation(self, principal: Principal, conversation_id: str) -> Conversation:
        """Stop a conversation's active run. Raises `NotFound`."""
        return await self._conversation(principal, conversation_id)

    async def may_delete_run(self, principal: Principal, run_id: str) -> Head:
        """Remove a run everywhere. Raises `NotFound`."""
        return await self._run(principal, run_id)

    async def may_delete_conversation(self, principal: Principal, conversation_id: str) -> Conversation:
        """Remove a conversation everywhere. Raises `NotFound`."""
        return await self._conversation(principal, conversation_id)

    def may_see(self, principal: Principal, item: Head | Conversation) -> bool:
        """Find a run or a conversation in a list."""
        return self.may_see_owner(principal, item.owner)

    def may_see_owner(self, principal: Principal, owner: str) -> bool:
        """Find the runs of this owner in a list, and what happens in them in the feed."""
        return owner == principal.name

    def may_see_catalogue(self, principal: Principal) -> None:
        """See which agents and tools there are: every principal may."""
        del principal

    # -- how it is decided today: the owner, and nobody else ---------------------------------

    async def _run(self, principal: Principal, run_id: str) -> Head:
        if not is_run_id(run_id):
            raise NotFound(run_id)
        try:
            head = await self._store.head(run_id)
        except UnknownRun:
            raise NotFound(run_id) from None
        if not self.may_see(principal, head):
            raise NotFound(run_id)
        return head

    async def _conversation(self, principal: Principal, conversation_id: str) -> Conversation:
        if not is_conversation_id(conversation_id):
            raise NotFound(conversation_id)
        try:
            conversation = await self._store.conversation(conversation_id)
        except UnknownRun:
            raise NotFound(conversation_id) from None
        if not self.may_see(principal, conversation):
            raise NotFound(conversation_id)
        return conversation


def _unauthorised(detail: str, *, error: str | None = None) -> Problem:
    challenge = 'Bearer realm="jackline"' + (f', error="{error}"' if error else "")
    return Problem(401, detail, headers={"WWW-Authenticate": challenge})
