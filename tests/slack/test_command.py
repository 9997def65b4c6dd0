"""`jackline slack` as it is typed: its manifest, and what it says when it cannot work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jackline.slack.ledger import Ledger
from jackline.slack.manifest import manifest
from tests.slack.stand_in import StandIn
from tests.support.processes import clean_environment

GOOD = {
    "JACKLINE_SLACK_BOT_TOKEN": "xoxb-stand-in",
    "JACKLINE_SLACK_APP_TOKEN": "xapp-stand-in",
    "JACKLINE_SLACK_USERS": '{"U1": ""}',
}


def run(path: Path, *args: str, code: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    program = ["-m", "jackline"] if not code else ["-c", code]
    return subprocess.run(
        [sys.executable, *program, "slack", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=path,
        env=clean_environment(**env),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"JACKLINE_SLACK_BOT_TOKEN": ""}, "JACKLINE_SLACK_BOT_TOKEN"),
        ({"JACKLINE_SLACK_APP_TOKEN": "xoxb-wrong"}, "JACKLINE_SLACK_APP_TOKEN"),
        ({"JACKLINE_SLACK_USERS": "{}"}, "slack_users"),
        ({"JACKLINE_SLACK_USERS": "{"}, "not JSON"),
        ({"JACKLINE_SLACK_RATE": "0"}, "slack_rate"),
        ({"JACKLINE_URL": "nowhere"}, "--url"),
        ({"JACKLINE_SLACK_USERS": '{"U1": "schlüssel"}'}, "slack_users: the key of U1"),
        ({"JACKLINE_SLACK_DB": "/dev/null/deep/slack.db"}, "slack_db: /dev/null/deep/slack.db cannot be"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, change: dict[str, str], said: str) -> None:
    """G11."""
    done = run(tmp_path, **(GOOD | change))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kept", [0, 100, 4096, 5000])
def test_a_damaged_file_is_named(tmp_path: Path, kept: int) -> None:
    """G11: before anything is said in Slack. `kept`: bytes of it that are good."""
    path = tmp_path / "slack.db"
    Ledger(path).close()
    path.write_bytes(path.read_bytes()[:kept] + b"x" * 20_000)
    done = run(tmp_path, **GOOD, JACKLINE_SLACK_DB=str(path))
    assert done.returncode == 2
    assert f"slack_db: {path} cannot be read" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("which", ["bot", "app"])
def test_a_token_that_slack_refuses_is_named(slack: StandIn, tmp_path: Path, which: str) -> None:
    """G11."""
    setattr(slack, f"{which}_token", "another")
    done = run(tmp_path, **GOOD, JACKLINE_SLACK_URL=slack.url)
    assert done.returncode == 2
    assert f"invalid_auth: see that slack_{which}_token" in done.stderr
    assert "xoxb-stand-in" not in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['slack_bolt'] = None; from jackline.cli import main; main()"
    done = run(tmp_path, code=code, **GOOD)
    assert done.returncode == 2
    assert "pip install 'jackline[slack]'" in done.stderr


def test_the_manifest_asks_for_what_is_used_and_no_more(tmp_path: Path) -> None:
    done = run(tmp_path, "manifest", "--name", "Ops", "--command", "/ops")
    made = json.loads(done.stdout)
    assert made == manifest("Ops", "/ops")
    assert made["features"]["slash_commands"][0]["command"] == "/ops"
    assert made["settings"]["socket_mode_enabled"] is True
    assert sorted(made["oauth_config"]["scopes"]["bot"]) == [
        "app_mentions:read",
        "channels:history",
        "chat:write",
        "commands",
        "groups:history",
        "im:history",
    ]


def test_the_manifest_needs_neither_tokens_nor_the_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['slack_bolt'] = None; from jackline.cli import main; main()"
    assert run(tmp_path, "manifest", code=code).returncode == 0
