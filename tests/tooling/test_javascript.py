"""The JavaScript client as a package: typed, licensed, and the same version as the server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.node import FOLDER, NODE

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src/jackline/web/static"
TSC = FOLDER / "node_modules/typescript/bin/tsc"
NPM = NODE.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
PUBLISHED = {"LICENSE", "README.md", "jackline.d.ts", "jackline.js", "package.json"}

PROGRAM = """
import {Jackline, PACE, Refused, type Decision, type Entry, type FeedFrame, type Frame} from 'jackline'

const jackline = new Jackline('http://127.0.0.1:8787', {pace: {...PACE, requestMs: 1000}})

export async function watch(runId: string): Promise<string | null> {
  const run = jackline.follow(runId, {until: 'pause', onState: (phase) => phase === 'live'})
  for await (const frame of run) {
    const known: Frame = frame
    if (known.kind !== 'entry') continue
    const entry: Entry = known
    const answer: Decision = {approve: true, args: {path: '/tmp'}}
    if (entry.type === 'approval') await jackline.decide(String(entry.data['call_id']), answer)
  }
  jackline.follow(runId, {after: run.cursor}).close()
  const bytes: Blob = await jackline.artifact(runId, 'a1')
  return bytes.type || run.state
}

export async function all(): Promise<number | null> {
  const feed = jackline.feed({after: 'now'})
  const next: IteratorResult<FeedFrame, void> = await feed.next()
  return next.done ? null : feed.heartbeatMs
}

export const status = (error: unknown) => (error instanceof Refused ? error.status : null)

// @ts-expect-error: what is no option is found
jackline.follow('r.1', {afer: 3})
// @ts-expect-error: so is what cannot be read yet
jackline.follow('r.1').heardAt.toFixed()
"""


def tsc(*arguments: str | Path) -> str:
    """What it complains of."""
    done = subprocess.run([NODE, TSC, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or done.stdout
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in whose `node_modules` is what npm would publish; made without a network."""
    folder = tmp_path_factory.mktemp("packed")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [NODE, NPM, "pack", "--offline", "--silent", "--pack-destination", folder]
    subprocess.run(command, cwd=STATIC, env=environment, check=True, capture_output=True)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "node_modules", filter="data")
    (folder / "node_modules/package").rename(folder / "node_modules/jackline")
    return folder


def test_its_types_hold_as_strictly_as_typescript_can() -> None:
    assert tsc("-p", FOLDER) == ""


def test_its_types_for_typescript_are_those_of_its_jsdoc(tmp_path: Path) -> None:
    """Whoever changes jackline.js without `scripts/types` is told."""
    assert tsc("-p", FOLDER / "types.json", "--outDir", tmp_path) == ""
    assert (tmp_path / "jackline.d.ts").read_text() == (STATIC / "jackline.d.ts").read_text()


@pytest.mark.parametrize("module", ["nodenext", "bundler"])
def test_a_strict_typescript_program_compiles_against_the_package(packed: Path, module: str) -> None:
    options = {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noPropertyAccessFromIndexSignature": True,
        "noUncheckedIndexedAccess": True,
        "noEmit": True,
        "target": "es2023",
        "module": "nodenext" if module == "nodenext" else "esnext",
        "moduleResolution": module,
        "lib": ["es2023", "dom", "dom.iterable"],
        "types": [],
    }
    (packed / "package.json").write_text('{"type": "module"}')
    (packed / "program.ts").write_text(PROGRAM)
    configuration = packed / f"{module}.json"
    configuration.write_text(json.dumps({"compilerOptions": options, "files": ["program.ts"]}))
    assert tsc("-p", configuration) == ""


def test_it_is_published_as_it_is_served(packed: Path) -> None:
    package = json.loads((STATIC / "package.json").read_text())
    assert package["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    published = packed / "node_modules/jackline"
    assert {path.name: path.read_bytes() for path in published.iterdir()} == {
        name: (STATIC / name).read_bytes() for name in PUBLISHED
    }
    assert not {"dependencies", "peerDependencies", "scripts"} & package.keys()
    assert not re.search(r"^\s*import\b|\bimport\(", (STATIC / "jackline.js").read_text(), re.MULTILINE)


def test_its_licence_is_the_projects() -> None:
    """npm takes only what is in the folder, and a link is not packed."""
    assert (STATIC / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_has_the_whole_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    folder = "jackline/web/static/"
    names = {name.removeprefix(folder) for name in zipfile.ZipFile(wheel).namelist() if folder in name}
    assert names == PUBLISHED
