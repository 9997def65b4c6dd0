"""Which MCP servers there are: the usual JSON file, read and checked."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEMO: Final = "demo"
"""Name of the server that comes with Jackline."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}")
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What a server gets of our environment. Keys and tokens it gets only where its `env` names them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """One MCP server: `command` with `args`, or `url`. `prefix` goes before the names of its tools."""

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    transport: Literal["stdio", "http", "sse"] = "stdio"
    prefix: str = ""

    @property
    def origin(self) -> str:
        """What `ToolSpec.origin` says of its tools."""
        return f"mcp:{self.name}"


class _Entry(BaseModel):
    # What other programs keep beside these fields (`disabled`, `autoApprove`, …) is theirs, and ignored.
    model_config = ConfigDict(extra="ignore", strict=True)

    command: str | None = Field(None, min_length=1)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = Field(None, pattern=r"^https?://.+")
    headers: dict[str, str] = Field(default_factory=dict)
    type: Literal["stdio", "http", "streamable-http", "sse"] | None = None
    transport: Literal["stdio", "http", "streamable-http", "sse"] | None = None


def demo_server(environ: Mapping[str, str] | None = None) -> ServerConfig:
    """The server that comes with Jackline. `JACKLINE_DEMO_DIR` in `environ` names its directory."""
    environ = environ or {}
    directory = environ.get("JACKLINE_DEMO_DIR")
    return ServerConfig(
        name=DEMO,
        command=sys.executable,
        args=("-P", "-m", "jackline.demo", *(("--dir", directory) if directory else ())),
        env=_child_environment(environ),
    )


def load_servers(path: Path | None, environ: Mapping[str, str] | None = None) -> list[ServerConfig]:
    """The servers of a file in the usual form, `{"mcpServers": {NAME: {"command", "args", "env", "cwd"}
    | {"url", "headers"}}}`; without a file the demo's alone.

    `${VAR}` and `${VAR:-DEFAULT}` in any of its strings are taken from `environ`. Tool names get the
    server's as prefix (`NAME_`), so that adding a second server renames no tool and no rule of the
    first; only the demo's have none. Raises `ConfigError` that names the file, the server and the field.
    """
    environ = environ or {}
    if path is None:
        return [demo_server(environ)]
    try:
        document: object = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give mcp_config an existing file") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    found = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    servers = found.get("mcpServers")
    if not isinstance(servers, dict):
        raise ConfigError(f'{path}: needs an object "mcpServers" of server names')
    return [
        _server(f"{path}: mcpServers.{name}", str(name), entry, environ)
        for name, entry in cast("dict[object, object]", servers).items()
    ]


def _server(where: str, name: str, entry: object, environ: Mapping[str, str]) -> ServerConfig:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a name is 1 to 32 letters, digits and '-', it goes before tool names")
    try:
        given = _Entry.model_validate(_expand(where, entry, environ))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{where}: {faults}") from None
    if (given.command is None) == (given.url is None):
        raise ConfigError(f'{where}: needs either "command" or "url"')
    kind = given.type or given.transport
    return ServerConfig(
        name=name,
        command=given.command,
        args=tuple(given.args),
        env=_child_environment(environ) | given.env,
        cwd=given.cwd,
        url=given.url,
        headers=given.headers,
        transport="stdio" if given.command is not None else "sse" if kind == "sse" else "http",
        prefix=f"{name}_",
    )


def _child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environ[name] for name in _INHERITED if name in environ}
    # Servers made with FastMCP would otherwise ask the network for news of themselves at every start.
    return kept | {"FASTMCP_CHECK_FOR_UPDATES": "off"}


def _expand(where: str, value: object, environ: Mapping[str, str]) -> object:
    match value:
        case str():

            def put(found: re.Match[str]) -> str:
                name, default = found.group(1), found.group(2)
                if name in environ:
                    return environ[name]
                if default is None:
                    raise ConfigError(f"{where}: no variable {name}; set it, or write ${{{name}:-…}}")
                return default.removeprefix(":-")

            return _VARIABLE.sub(put, value)
        case dict():
            items = cast("dict[str, object]", value).items()
            return {key: _expand(f"{where}.{key}", item, environ) for key, item in items}
        case list():
            items = cast("list[object]", value)
            return [_expand(f"{where}.{n}", item, environ) for n, item in enumerate(items)]
        case _:
            return value
