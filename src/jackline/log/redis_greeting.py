"""The first words on a connection: who we are, and whether this server can be our store."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import hiredis

from jackline.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from jackline.log.redis_address import Address
    from jackline.log.redis_wire import Argument, Command, Link, Reply

_OLDEST: Final = (7, 0)
"""Sharded pub/sub and scripts with flags came with Redis 7."""
_WAITAOF_SINCE: Final = (7, 2)
_LIFE: Final = 16
"""Digits of the server's ids that tell one life of it from another."""

_NOTE_LIFE: Final = """#!lua flags=allow-oom
local life, known = ARGV[1], redis.call('GET', KEYS[1])
if known and string.sub(known, 1, #life + 1) == life .. '-' then return known end
if known ~= life then redis.call('SET', KEYS[1], life) end
return life"""
"""A promoted server forgets whose replica it was after an hour without replicas of its own. It has lost
nothing then, and must go on under the name that it had: this connection's writes are not a new life's."""

_UNAVAILABLE: Final = {
    "OOM": "Redis has no memory left (maxmemory)",
    "READONLY": "this Redis is a read-only replica",
    "LOADING": "Redis is still loading its data",
    "MASTERDOWN": "this Redis is a replica that has lost its primary",
    "MISCONF": "Redis cannot save to its disk and refuses writes",
    "NOREPLICAS": "Redis has fewer replicas than it wants and refuses writes",
    "BUSY": "Redis is busy with a script",
    "NOAUTH": "Redis wants a password",
    "WRONGPASS": "Redis refuses the user name or the password",
    "NOPERM": "the Redis user may not do this",
}
_SETTINGS: Final = ("NOAUTH", "WRONGPASS", "NOPERM")


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """What the server said of itself. `aof`: its appendfsync, "on" when it does not tell, None
    when it has none. `waitaof`: a write can be awaited until it is on disk. `life`: a name that it
    has since its start, or since it was promoted from a replica; "" when it does not tell.
    `promoted`: it was a replica, so even what its primary had on disk may be missing."""

    version: str
    aof: str | None
    waitaof: bool
    life: str = ""
    promoted: bool = False
    policy: str = "noeviction"

    @property
    def trust(self) -> Literal["all", "awaited", "nothing"]:
        """What of a log is surely there after the server came back: all that anybody saw, all that
        was awaited on disk, or nothing."""
        if self.promoted or not self.waitaof:
            return "nothing"
        return "all" if self.aof == "always" else "awaited"

    @property
    def warning(self) -> str | None:
        """What the operator should change, though it works for now."""
        if self.policy == "noeviction":
            return None
        return (
            f"maxmemory-policy is {self.policy}: once maxmemory is reached, this server throws keys away "
            "instead of refusing new ones, runs perhaps included; set maxmemory-policy noeviction"
        )

    @property
    def durability(self) -> str:
        """For people: what a crash of the server can cost."""
        if self.aof == "no":
            return "AOF without fsync: a power cut loses what the system had not written"
        if self.aof is None:
            return "no AOF: a crash of Redis loses what it had not saved"
        if self.waitaof or self.aof == "always":
            return f"AOF {self.aof}"
        return (
            f"AOF {self.aof}; Redis before 7.2 cannot say when a write is on disk: a crash can lose a second"
        )


def code_of(error: hiredis.ReplyError) -> str:
    """The first word of an error: NOSCRIPT, OOM, …"""
    return str(error).partition(" ")[0]


def in_words(error: hiredis.ReplyError) -> str:
    """An error of the server's for a person."""
    words = _UNAVAILABLE.get(code_of(error))
    return f"{words} ({error})" if words else f"Redis refused a command ({error})"


def unavailable(error: hiredis.ReplyError) -> StoreUnavailable:
    """The error of the store for one of the server's."""
    return StoreUnavailable(in_words(error))


async def greet(link: Link, address: Address) -> Server:
    """Log in, choose the database, look the server over.

    Raises `ConfigError` for a server that can never be the store, `StoreUnavailable` for one that
    cannot be it now (loading, a replica).
    """
    credentials: tuple[Argument, ...] = ()
    if address.password or address.user:
        credentials = ("AUTH", address.user or "default", address.password)
    commands: list[Command] = [("HELLO", 3, *credentials, "SETNAME", "jackline")]
    if address.database:
        commands.append(("SELECT", address.database))
    commands += [("INFO",), ("CONFIG", "GET", "appendfsync")]
    replies = await link.send(commands)
    *greeting, info, config = replies
    if isinstance(greeting[0], hiredis.ReplyError) and code_of(greeting[0]) in ("ERR", "NOPROTO"):
        raise ConfigError(
            f"the Redis at {address} refuses protocol 3; Jackline needs Redis 7 or Valkey ({greeting[0]})"
        )
    for reply in (*greeting, info):
        if isinstance(reply, hiredis.ReplyError):
            raise (ConfigError if code_of(reply) in _SETTINGS else StoreUnavailable)(in_words(reply))
    server = _look_over(_fields(info), config, address)
    if not address.life_key or not server.life:
        return server
    (noted,) = await link.send([("EVAL", _NOTE_LIFE, 1, address.life_key, server.life)])
    if not isinstance(noted, bytes):
        return server  # it refuses writes; what it says of itself is nearly always its name
    life = noted.decode()
    return replace(server, life=life, promoted="-" in life)


def _fields(info: Reply) -> dict[str, str]:
    if not isinstance(info, bytes):
        raise StoreUnavailable("Redis does not answer INFO as expected")
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _look_over(info: dict[str, str], config: Reply, address: Address) -> Server:
    version = info.get("redis_version", "0")
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < _OLDEST:
        raise ConfigError(
            f"the Redis at {address} is version {version}; Jackline needs Redis 7 or later, or Valkey"
        )
    if info.get("cluster_enabled") == "1":
        raise ConfigError(
            f"the Redis at {address} is a node of a Cluster, which Jackline cannot use yet; "
            "give it a single server or a primary with replicas"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
        raise ConfigError(
            f"the Redis at {address} throws keys away when its memory is full (maxmemory-policy {policy}), "
            "runs included; set maxmemory-policy noeviction"
        )
    if info.get("loading") == "1":
        raise StoreUnavailable(_UNAVAILABLE["LOADING"])
    if info.get("role") == "slave":
        raise StoreUnavailable(_UNAVAILABLE["READONLY"])
    aof = _fsync(config) if info.get("aof_enabled") == "1" else None
    # With `appendfsync no` nobody knows when the system writes: there is nothing to wait for.
    former = info.get("master_replid2", "").strip("0")
    return Server(
        version=version,
        aof=aof,
        waitaof=aof not in (None, "no") and found >= _WAITAOF_SINCE,
        life="-".join(filter(None, (info.get("run_id", "")[:_LIFE], former[:_LIFE]))),
        promoted=bool(former),
        policy=policy,
    )


def _fsync(config: Reply) -> str:
    # Managed servers forbid CONFIG; that AOF is on is known all the same.
    value = config.get(b"appendfsync") if isinstance(config, dict) else None
    return value.decode() if isinstance(value, bytes) else "on"
