from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from jackline.errors import ConfigError
from jackline.mcp_config import load_servers

if TYPE_CHECKING:
    from pathlib import Path


def write(tmp_path: Path, servers: object) -> Path:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def test_without_a_file_there_is_the_demo_alone_unprefixed() -> None:
    (demo,) = load_servers(None, {"PATH": "/bin", "OPENAI_API_KEY": "secret"})
    assert (demo.name, demo.prefix, demo.command) == ("demo", "", sys.executable)
    assert demo.env["PATH"] == "/bin"
    assert "OPENAI_API_KEY" not in demo.env
    assert "--dir" not in demo.args


def test_the_demos_directory_is_passed_on() -> None:
    (demo,) = load_servers(None, {"JACKLINE_DEMO_DIR": "/tmp/here"})
    assert demo.args[-2:] == ("--dir", "/tmp/here")


def test_the_usual_form_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "fs": {"command": "fs-server", "args": ["-v", "/data"], "env": {"A": "1"}, "cwd": "/data"},
            "web": {"url": "https://x.example/mcp", "headers": {"X-Key": "k"}},
            "old": {"type": "sse", "url": "http://x.example/sse"},
        },
    )
    fs, web, old = load_servers(path, {"PATH": "/bin", "LANG": "C.UTF-8", "SECRET": "s"})
    assert (fs.command, fs.args, fs.cwd, fs.transport) == ("fs-server", ("-v", "/data"), "/data", "stdio")
    assert fs.env == {"PATH": "/bin", "LANG": "C.UTF-8", "A": "1", "FASTMCP_CHECK_FOR_UPDATES": "off"}
    assert (fs.prefix, fs.origin) == ("fs_", "mcp:fs")
    assert (web.url, web.headers, web.transport) == ("https://x.example/mcp", {"X-Key": "k"}, "http")
    assert old.transport == "sse"


def test_fields_of_other_programs_are_ignored(tmp_path: Path) -> None:
    (server,) = load_servers(write(tmp_path, {"a": {"command": "x", "disabled": False, "autoApprove": []}}))
    assert server.command == "x"


def test_variables_are_taken_from_the_environment_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "not this one")
    path = write(
        tmp_path,
        {
            "a": {
                "command": "${HOME}/bin/x",
                "args": ["--t=${TOKEN}-${TOKEN}", "$TOKEN", "${NONE:-default}", "${NONE:-}"],
                "env": {"T": "${TOKEN}"},
            }
        },
    )
    (server,) = load_servers(path, {"HOME": "/home/ana", "TOKEN": "t"})
    assert server.command == "/home/ana/bin/x"
    assert server.args == ("--t=t-t", "$TOKEN", "default", "")
    assert server.env["T"] == "t"


@pytest.mark.parametrize(
    ("servers", "named"),
    [
        ({"a": {}}, 'mcpServers.a: needs either "command" or "url"'),
        ({"a": {"command": "x", "url": "http://x"}}, 'mcpServers.a: needs either "command" or "url"'),
        ({"a": {"command": 1}}, "mcpServers.a: command"),
        ({"a": {"command": ""}}, "mcpServers.a: command"),
        ({"a": {"command": "x", "args": "y"}}, "mcpServers.a: args"),
        ({"a": {"command": "x", "args": [1]}}, "args.0"),
        ({"a": {"command": "x", "env": {"A": 1}}}, "env.A"),
        ({"a": {"url": "ftp://x"}}, "mcpServers.a: url"),
        ({"a": {"url": "http://x", "type": "telepathy"}}, "mcpServers.a: type"),
        ({"a": "x"}, "mcpServers.a"),
        ({"a b": {"command": "x"}}, "mcpServers.a b: a name"),
        ({"a_b": {"command": "x"}}, "mcpServers.a_b: a name"),
        ({"a": {"command": "x", "args": ["ok", "${MISSING}"]}}, r"mcpServers.a.args.1: no variable MISSING"),
        ([], "mcpServers"),
        (None, "mcpServers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, servers: object, named: str) -> None:
    path = write(tmp_path, servers)
    with pytest.raises(ConfigError) as raised:
        load_servers(path, {})
    assert str(path) in str(raised.value)
    assert named in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mcp\.json"):
        load_servers(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json"):
        load_servers(tmp_path / "absent.json", {})
