"""The Lua files: all of them are loaded, and each says on top what it takes and holds."""

from __future__ import annotations

from dataclasses import fields
from importlib import resources

from jackline.log.redis_scripts import Scripts, load


def test_every_script_is_loaded() -> None:
    folder = resources.files("jackline.log")
    files = {path.name for path in folder.iterdir() if path.name.endswith(".lua")}
    assert files == {f"{field.name}.lua" for field in fields(Scripts)} | {"doubt.lua"}
    scripts = [getattr(load(), field.name) for field in fields(Scripts)]
    assert sum(b"local function doubted(" in script.body for script in scripts) == 3, (
        "it stands in three of them"
    )


def test_every_script_states_its_keys_its_answers_and_its_guarantee() -> None:
    scripts = load()
    for field in fields(Scripts):
        body = getattr(scripts, field.name).body.decode()
        # The first line makes the server refuse it whole when memory is short or it is a replica.
        assert body.startswith("#!lua"), field.name
        for word in ("-- KEYS", "-- ARGV", "-- Answers", "-- Guarantee"):
            assert word in body, f"{field.name}: {word}"
