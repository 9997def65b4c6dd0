"""The JavaScript client as a package: typed, and the same version as the server."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

from tests.support.node import FOLDER, NODE

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src/jackline/web/static"


def test_its_types_hold_as_strictly_as_typescript_can() -> None:
    tsc = FOLDER / "node_modules/typescript/bin/tsc"
    done = subprocess.run([NODE, tsc, "-p", FOLDER], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_it_is_published_as_it_is_served() -> None:
    package = json.loads((STATIC / "package.json").read_text())
    assert package["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert package["files"] == ["jackline.js"]
    assert not {"dependencies", "peerDependencies", "scripts"} & package.keys()
    assert not re.search(r"^\s*import\b|\bimport\(", (STATIC / "jackline.js").read_text(), re.MULTILINE)
