"""Typed settings: `jackline.toml`, then `JACKLINE_…` variables, then flags, the later one wins.

The only module that reads the environment. Times are seconds, decimals allowed; sizes are bytes.
"""

from __future__ import annotations

import ipaddress
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX: Final = "JACKLINE_"

_JSON: Final = {"keys": 1, "limits": 1, "slack_users": 1, "tools": 2}
"""Settings whose variables hold JSON, and down to how many names that holds: `JACKLINE_TOOLS` is an object
of rules, `JACKLINE_TOOLS__NAME` one of them, `JACKLINE_TOOLS__NAME__APPROVAL` a plain value."""

Verdict = Literal["allow", "ask", "deny"]
Role = Literal["web", "worker", "all"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApiKey(_Section):
    """An API key. Only its SHA-256 is kept."""

    principal: str = Field(
        pattern=r"^[a-z]+:[A-Za-z0-9._@-]{1,100}$", description="Who it stands for, `user:ana`."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hex SHA-256 of the key.")


class Limits(_Section):
    """Upper bounds of one run. A chat may ask for less, never for more."""

    wall_seconds: float = Field(86400.0, gt=0, description="Time executing, pauses for people not counted.")
    steps: int = Field(200, gt=0, description="Model requests.")
    tokens: int = Field(5_000_000, gt=0, description="Input and output tokens, as the provider counts them.")
    tool_seconds: float = Field(600.0, gt=0, description="Time of one tool call.")
    bytes: int = Field(
        64 * 1024 * 1024, gt=0, description="Bytes of all entries, and of what is stored aside."
    )


class ToolRule(_Section):
    """What the operator says about a tool, by its name; it overrides what the tool says of itself."""

    approval: Verdict | None = Field(
        None, description="`allow`: run it. `ask`: a person decides. `deny`: never."
    )
    read_only: bool | None = Field(None, description="It changes nothing: no approval, safe to run again.")
    idempotent: bool | None = Field(None, description="Running it twice does the same as once.")
    verifies: str | None = Field(None, description="The tool whose effect this one checks.")


class Settings(BaseModel):
    """All of Jackline's settings. Made as it is, it reads nothing: see `load`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int | None = Field(None, ge=0, le=65535, description="Port to listen on; 8787 for a web process.")
    role: Role = Field("all", description="`web`, `worker`, or `all`: web with a worker child.")
    data_dir: Path = Field(Path("jackline-data"), description="Where the embedded store lives.")
    redis: str | None = Field(None, description="URL of a Redis or Valkey; without it the store is SQLite.")
    redis_prefix: str = Field(
        "jackline", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Begins every key in the Redis."
    )
    redis_replicas: int = Field(
        0, ge=0, description="Replicas that must have a command on disk too before it is acknowledged."
    )
    open_page: bool = Field(
        False, description="Open the page in a browser at the start, where there is a terminal and a display."
    )
    agent: str | None = Field(None, description="`FILE.py:NAME` of your own agent.")
    agent_revision: str | None = Field(
        None, description="Revision of your agent; a digest of its file if unset."
    )
    model: str = Field("demo", description="`demo`, `local`, or any model that Pydantic AI names.")
    model_base_url: str | None = Field(None, description="URL of an OpenAI-compatible server for the model.")
    instructions: str | None = Field(None, description="Instructions for the built-in agent.")
    mcp_config: Path | None = Field(None, description="JSON file with `mcpServers` for the built-in agent.")
    tools: dict[str, ToolRule] = Field(default_factory=dict, description="Rules per tool name.")
    heartbeat: float = Field(15.0, gt=0, description="Time between heartbeats on a stream.")
    lease: float = Field(15.0, gt=0, description="A worker that is silent for so long loses its runs.")
    stop_grace: float = Field(5.0, gt=0, description="A stopped run is quiet within this time.")
    kill_grace: float | None = Field(
        None,
        ge=0,
        description="Time that a stopped call's processes have between SIGTERM and SIGKILL, and its MCP "
        "server to say what came of it; at most half of `stop_grace`, 40 % of it if unset.",
    )
    loop_stall: float = Field(
        60.0, gt=0, description="A worker whose loop stands still for so long is killed."
    )
    drain: float = Field(10.0, ge=0, description="Time that SIGTERM gives to running tools and open streams.")
    max_runs: int = Field(500, gt=0, description="Runs that one worker drives at once.")
    max_attempts: int = Field(5, gt=0, description="Attempts after which a run that kills its workers fails.")
    approval_expiry: float | None = Field(None, gt=0, description="Time after which a question expires.")
    approval_expiry_action: Literal["deny", "approve"] = Field(
        "deny", description="What a question that expired means. An unknown outcome's always means `abort`."
    )
    limits: Limits = Field(
        default_factory=lambda: Limits.model_validate({}), description="Limits of each run."
    )
    max_body: int = Field(1 << 20, gt=0, description="Largest request body.")
    max_head: int = Field(
        32 * 1024, ge=1024, description="Largest head of a request: its target and its header fields."
    )
    head_timeout: float = Field(20.0, gt=0, description="Time in which a request's head must arrive.")
    body_timeout: float = Field(60.0, gt=0, description="Time in which a request's body must arrive.")
    write_timeout: float = Field(
        60.0, gt=0, description="Who takes nothing of what waits for it for so long is cut; a viewer resumes."
    )
    keep_alive: float = Field(
        75.0,
        gt=0,
        description="Time that a connection waits for its next request. Proxies must keep theirs for less.",
    )
    max_connections: int | None = Field(
        20_000, gt=0, description="Connections of one web process; or `none`. The system may allow fewer."
    )
    max_connections_address: int | None = Field(
        5000, gt=0, description="Of them, from one address; or `none`."
    )
    max_streams: int | None = Field(20_000, gt=0, description="Open streams of one web process; or `none`.")
    max_streams_address: int | None = Field(5000, gt=0, description="Of them, to one address; or `none`.")
    max_streams_principal: int | None = Field(
        5000, gt=0, description="Of them, to one principal; or `none`. Without keys there are no principals."
    )
    trusted_proxies: list[str] = Field(
        default_factory=lambda: ["127.0.0.1", "::1"],
        description="Addresses and networks of proxies whose `X-Forwarded-For` is believed.",
    )
    metrics: Literal["keys", "all"] = Field(
        "keys", description="Who may read `/metrics`: who has a key, or `all` who can connect."
    )
    max_entry: int = Field(
        64 * 1024, ge=1024, description="Largest entry; a larger tool result is stored aside."
    )
    keys: list[ApiKey] = Field(default_factory=list[ApiKey], description="API keys.")
    cors_origins: list[str] = Field(
        default_factory=list,
        description="Origins of pages that may call the API; `*` for all. Closed if empty.",
    )
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Public host names to accept when there are no keys."
    )
    probes: bool = Field(
        False, description="Answer the probes of `jackline doctor` to everybody who may use the API."
    )
    probe_secret: str | None = Field(
        None,
        min_length=32,
        description="Signs the tokens of `jackline doctor --grant`, which open the probes for a while.",
    )
    encoding_identity: bool = Field(False, description="Send `Content-Encoding: identity` on streams.")
    retention: float | None = Field(
        7 * 86400.0,
        gt=0,
        description="Time after its last ending that a conversation is deleted; `none` keeps for ever.",
    )
    compact_after: float | None = Field(
        3600.0, gt=0, description="Time after its ending that a run is stored more tightly; `none` for never."
    )
    archive: str | list[str] | None = Field(
        None, description="Folder, or command line, that gets a conversation before retention deletes it."
    )
    store_full: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of the store's room in use from which on no run starts; or `none`.",
    )
    disk_reserve: int = Field(
        64 * 1024 * 1024, ge=0, description="SQLite counts as full when its disk has less free than this."
    )
    sqlite_synchronous: Literal["FULL", "NORMAL"] = Field("FULL", description="How SQLite commits.")
    public_url: str | None = Field(
        None, pattern=r"^https?://", description="Where people open the page; Slack's messages link to it."
    )
    slack_bot_token: SecretStr | None = Field(None, description="Bot token of the Slack app, `xoxb-…`.")
    slack_app_token: SecretStr | None = Field(None, description="App-level token of the Slack app, `xapp-…`.")
    slack_users: dict[str, SecretStr] = Field(
        default_factory=dict, description="API key of each Slack user who may use the bridge, by user id."
    )
    slack_teams: list[str] = Field(
        default_factory=list,
        description="Ids of the workspaces that the bridge listens to; the bot's own if empty.",
    )
    slack_channels: list[str] = Field(
        default_factory=list, description="Ids of the channels that the bridge listens in; all if empty."
    )
    slack_db: Path | None = Field(
        None, description="Where the bridge keeps what it must not forget; `slack.db` in `data_dir` if unset."
    )
    slack_url: str = Field(
        "https://slack.com/api/", pattern=r"^https?://", description="Address of Slack's Web API."
    )
    slack_rate: float = Field(
        1.0, gt=0, description="Share of Slack's documented rate limits that the bridge uses."
    )

    @field_validator(
        "cors_origins", "allowed_hosts", "trusted_proxies", "slack_teams", "slack_channels", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        """A variable holds a comma-separated list."""
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("slack_users")
    @classmethod
    def _ids(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        """In a variable's name an id comes in small letters; Slack's are in capital ones."""
        return {user.upper(): key for user, key in value.items()}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """The worker is killed when 70 % of the grace is gone: a later SIGKILL would never be sent."""
        if self.kill_grace is not None and self.kill_grace > self.stop_grace / 2:
            raise ValueError(f"kill_grace must be at most half of stop_grace ({self.stop_grace:g})")
        return self

    @property
    def kill_seconds(self) -> float:
        """`kill_grace`, or what it is when nothing is set."""
        return 0.4 * self.stop_grace if self.kill_grace is None else self.kill_grace

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator(
        "retention",
        "compact_after",
        "store_full",
        "max_connections",
        "max_connections_address",
        "max_streams",
        "max_streams_address",
        "max_streams_principal",
        mode="before",
    )
    @classmethod
    def _none(cls, value: object) -> object:
        """Neither a variable nor TOML has a null."""
        return None if value == "none" else value

    @field_validator("archive", mode="before")
    @classmethod
    def _command_line(cls, value: object) -> object:
        """A variable holds a command line as JSON."""
        if isinstance(value, str) and value.startswith("["):
            value = json.loads(value)
        if value in ("", []):
            raise ValueError('a folder, or a command line such as ["cp", "/dev/stdin", "FILE"]')
        return value

    @property
    def loopback(self) -> bool:
        """Whether the server can be reached from this host only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def load(config: Path | None = None, **flags: object) -> Settings:
    """Settings from `config` (default `jackline.toml`, which may be missing), the environment, and
    the flags that are not None. Raises `ConfigError` that names each setting at fault."""
    if config is not None and not config.is_file():
        raise ConfigError(f"{config}: no such file; give an existing one to --config")

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        found = _merged(_of_file(config or Path("jackline.toml")), _of_variables(os.environ))
        settings = Settings.model_validate(_merged(found, given))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"settings: {faults}") from None
    except ValueError as error:
        raise ConfigError(f"settings: {error}") from None
    return settings


def _of_file(path: Path) -> dict[str, object]:
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def _of_variables(environ: Mapping[str, str]) -> dict[str, object]:
    """`JACKLINE_NAME`, and `JACKLINE_NAME__MEMBER` for what is in a section; in any case, as variables are
    on some systems. What holds more than one value is JSON. Raises `ValueError`."""
    found: dict[str, object] = {}
    upper = {name.upper(): value for name, value in environ.items()}
    # Shorter names first, so that a member's own variable wins over its section's.
    for variable in sorted(upper):
        name, *members = variable.removeprefix(_PREFIX).lower().split("__")
        if variable.startswith(_PREFIX) and name in Settings.model_fields:
            value = _of_variable(variable, upper[variable], as_json=len(members) < _JSON.get(name, 0))
            for member in reversed(members):
                value = {member: value}
            found = _merged(found, {name: value})
    return found


def _of_variable(variable: str, text: str, *, as_json: bool) -> object:
    try:
        return json.loads(text) if as_json else text
    except ValueError as error:
        raise ValueError(f"{variable} is not JSON ({error})") from None


def _merged(under: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """`over` laid over `under`, section by section."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[name] = (
            _merged(cast("dict[str, object]", below), cast("dict[str, object]", value)) if both else value
        )
    return merged


def environment() -> dict[str, str]:
    """The process's environment, for the programs that it starts."""
    return dict(os.environ)
