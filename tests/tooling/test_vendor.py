"""The page's libraries: the files that npm has, in the versions that are pinned, with their licences."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

VENDOR = Path(__file__).parents[2] / "src/jackline/web/ui/vendor"
MANIFEST: dict[str, dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text())


@pytest.mark.parametrize("name", MANIFEST)
def test_a_library_is_what_the_manifest_says(name: str) -> None:
    """Whoever changes one by hand, or its version without `scripts/vendor`, is told."""
    library = MANIFEST[name]
    folder = VENDOR / library["folder"]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert digests == library["sha256"]
    assert set(digests) == set(library["files"].values())


@pytest.mark.parametrize("name", MANIFEST)
def test_a_library_may_be_given_on_and_has_its_licence_beside_it(name: str) -> None:
    library = MANIFEST[name]
    assert library["licence"] in ("MIT", "Apache-2.0")
    assert "copyright" in (VENDOR / library["folder"] / "LICENSE").read_text().lower()


@pytest.mark.parametrize("path", sorted(VENDOR.rglob("*.js")), ids=lambda path: path.stem)
def test_a_library_needs_neither_eval_nor_node_nor_another_server(path: Path) -> None:
    """The page's policy forbids the one, and browsers have not the other."""
    text = path.read_text()
    for forbidden in ("eval(", "new Function", "process.env", "sourceMappingURL", "importScripts"):
        assert forbidden not in text


def test_nothing_lies_there_that_the_manifest_does_not_name() -> None:
    folders = {library["folder"] for library in MANIFEST.values()}
    assert {path.name for path in VENDOR.iterdir()} == {*folders, "manifest.json"}
