"""The Lua files beside this module. Run by digest; sent whole to a server that has not seen them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.log.redis_wire import Argument, Command

_INCLUDE: Final = b"-- include: doubt\n"
"""The line of a script in whose place `doubt.lua` stands: the server has no include of its own."""


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua file."""

    body: bytes
    digest: str
    when_full: Script | None = None
    """The same for a server without free memory, where that must do some of it all the same."""

    def by_digest(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """The short command; the server answers NOSCRIPT when it does not know it."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)

    def whole(self, command: Command) -> Command:
        """The same as `command` with the script in it; the server then knows it."""
        return ("EVAL", self.body, *command[2:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Scripts:
    """Every script, by the name of its file. Each tells its keys and its guarantee on top."""

    announce: Script
    append: Script
    beat: Script
    begin: Script
    claim: Script
    compact: Script
    cut: Script
    delete: Script
    due: Script
    feed_read: Script
    heal: Script
    hold: Script
    place: Script
    put_artifact: Script
    release: Script
    renew: Script
    reserve: Script
    unreserve: Script

    def named_by(self, digest: Argument) -> Script:
        """The script of an EVALSHA command."""
        scripts: tuple[Script, ...] = tuple(getattr(self, name) for name in self.__slots__)
        return next(script for script in scripts if script.digest == digest)


def load() -> Scripts:
    """Read them from the package."""
    folder = resources.files("jackline.log")
    doubt = folder.joinpath("doubt.lua").read_bytes()

    def script(name: str) -> Script:
        return _script(folder.joinpath(f"{name}.lua").read_bytes().replace(_INCLUDE, doubt))

    return Scripts(
        announce=script("announce"),
        append=_with_variant(script("append")),
        beat=script("beat"),
        begin=script("begin"),
        claim=script("claim"),
        compact=script("compact"),
        cut=script("cut"),
        delete=script("delete"),
        due=script("due"),
        feed_read=script("feed_read"),
        heal=script("heal"),
        hold=script("hold"),
        place=script("place"),
        put_artifact=script("put_artifact"),
        release=script("release"),
        renew=script("renew"),
        reserve=script("reserve"),
        unreserve=script("unreserve"),
    )


def _script(body: bytes, when_full: Script | None = None) -> Script:
    return Script(body, hashlib.sha1(body, usedforsecurity=False).hexdigest(), when_full)


def _with_variant(script: Script) -> Script:
    variant = script.body.replace(b"#!lua\n", b"#!lua flags=allow-oom\n", 1)
    variant = variant.replace(b"local full = false\n", b"local full = true\n", 1)
    return _script(script.body, _script(variant))
