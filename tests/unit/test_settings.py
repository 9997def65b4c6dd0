"""Settings: documented, checked, and read from three places in rising order."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackline.cli.serve import check
from jackline.errors import ConfigError
from jackline.settings import ApiKey, Limits, Settings, ToolRule, load

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_variable(name: str) -> None:
    assert f"| `{name}` | `JACKLINE_{name.upper()}` |" in DOCS.read_text()


@pytest.mark.parametrize("section", [Limits, ToolRule, ApiKey])
def test_every_nested_setting_is_documented(section: type[Limits | ToolRule | ApiKey]) -> None:
    text = DOCS.read_text()
    assert not [name for name in section.model_fields if f"| `{name}` |" not in text]


def test_no_setting_is_documented_that_does_not_exist() -> None:
    named = [line.split("`")[1] for line in DOCS.read_text().splitlines() if "| `JACKLINE_" in line]
    assert sorted(named) == sorted(Settings.model_fields)


def test_flags_win_over_variables_and_variables_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackline.toml").write_text("heartbeat = 1\nlease = 1\nstop_grace = 1\n[limits]\nsteps = 7\n")
    monkeypatch.setenv("JACKLINE_LEASE", "2.5")
    monkeypatch.setenv("JACKLINE_STOP_GRACE", "2.5")
    settings = load(stop_grace=3)
    assert (settings.heartbeat, settings.lease, settings.stop_grace) == (1, 2.5, 3)
    assert settings.limits.steps == 7


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("heartbeat = -1", "heartbeat"),
        ("colour = 'red'", "colour"),
        ("[limits]\nsteps = 0", "limits.steps"),
        ("[[keys]]\nprincipal = 'ana'\nsha256 = 'x'", "keys.0.principal"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    """G11: a clear error."""
    (tmp_path / "jackline.toml").write_text(text)
    with pytest.raises(ConfigError, match=named):
        load()


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "nothing.toml")


def test_without_keys_the_server_refuses_to_be_open_to_others() -> None:
    """G12: closed by default."""
    with pytest.raises(ConfigError, match="keys"):
        check(load(host="0.0.0.0"))
    check(load(host="127.0.0.1"))
    check(load(host="::1"))
    check(load(host="0.0.0.0", keys=[{"principal": "user:ana", "sha256": "0" * 64}]))
    check(load(host="0.0.0.0", role="worker"))


def test_processes_are_killed_before_their_worker_is() -> None:
    assert load(stop_grace=5.0).kill_seconds == 2.0
    assert load(stop_grace=5.0, kill_grace=0.5).kill_seconds == 0.5
    with pytest.raises(ConfigError, match="kill_grace must be at most half of stop_grace"):
        load(stop_grace=1.0, kill_grace=2.0)


def test_none_turns_keeping_off_and_a_command_line_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETENTION", "COMPACT_AFTER", "STORE_FULL"):
        monkeypatch.setenv(f"JACKLINE_{name}", "none")
    monkeypatch.setenv("JACKLINE_ARCHIVE", '["cp", "/dev/stdin", "{conversation_id}"]')
    settings = load()
    assert (settings.retention, settings.compact_after, settings.store_full) == (None, None, None)
    assert settings.archive == ["cp", "/dev/stdin", "{conversation_id}"]
    monkeypatch.setenv("JACKLINE_ARCHIVE", "folder")
    settings = load()
    assert settings.archive == "folder"
    passed_on = Settings.model_validate_json(settings.model_dump_json())
    assert passed_on.model_dump() == settings.model_dump()


@pytest.mark.parametrize("value", ["", "[]", "[1", '{"a": 1}'])
def test_an_archive_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """G11."""
    monkeypatch.setenv("JACKLINE_ARCHIVE", value)
    if value.startswith("{"):
        assert load().archive == value, "a folder may have any name"
        return
    with pytest.raises(ConfigError, match="archive"):
        load()


def test_a_members_own_variable_wins_over_its_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKLINE_LIMITS", '{"steps": 3, "tokens": 30}')
    monkeypatch.setenv("JACKLINE_LIMITS__STEPS", "5")
    monkeypatch.setenv("jackline_limits__wall_seconds", "9.5")
    limits = load().limits
    assert (limits.steps, limits.tokens, limits.wall_seconds) == (5, 30, 9.5)


def test_a_tools_rule_has_a_variable_as_json_or_member_by_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackline.toml").write_text("[tools.restart]\napproval = 'ask'\nidempotent = true\n")
    monkeypatch.setenv("JACKLINE_TOOLS__RESTART__APPROVAL", "deny")
    monkeypatch.setenv("JACKLINE_TOOLS__READ", '{"read_only": true}')
    monkeypatch.setenv("JACKLINE_KEYS", f'[{{"principal": "user:ana", "sha256": "{"0" * 64}"}}]')
    settings = load()
    assert settings.tools["restart"].model_dump(exclude_none=True) == {"approval": "deny", "idempotent": True}
    assert settings.tools["read"].read_only is True
    assert [key.principal for key in settings.keys] == ["user:ana"]


def test_limits_of_connections_may_be_none_and_networks_must_be_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G11."""
    for name in ("CONNECTIONS", "CONNECTIONS_ADDRESS", "STREAMS", "STREAMS_ADDRESS", "STREAMS_PRINCIPAL"):
        monkeypatch.setenv(f"JACKLINE_MAX_{name}", "none")
    monkeypatch.setenv("JACKLINE_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::/32,192.0.2.1")
    settings = load()
    assert (settings.max_connections, settings.max_connections_address) == (None, None)
    assert (settings.max_streams, settings.max_streams_address, settings.max_streams_principal) == (None,) * 3
    assert settings.trusted_proxies == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]
    monkeypatch.setenv("JACKLINE_TRUSTED_PROXIES", "")
    assert load().trusted_proxies == []
    for wrong in ("proxy.example", "10.0.0.1/8", "10.0.0.0/40"):
        monkeypatch.setenv("JACKLINE_TRUSTED_PROXIES", wrong)
        with pytest.raises(ConfigError, match="trusted_proxies"):
            load()


def test_lists_in_variables_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKLINE_CORS_ORIGINS", "https://a.example, https://b.example")
    assert load().cors_origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize("name", ["KEYS", "LIMITS", "TOOLS", "TOOLS__X"])
def test_a_variable_that_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """G11."""
    monkeypatch.setenv(f"JACKLINE_{name}", "{")
    with pytest.raises(ConfigError, match=f"JACKLINE_{name} is not JSON"):
        load()


def test_other_programs_variables_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKLINE_DEMO_DIR", "/somewhere")
    monkeypatch.setenv("JACKLINE_HEARTBEAT", "7")
    assert load().heartbeat == 7
    assert Settings.model_validate({}).heartbeat == 15, "only load reads the environment"
