"""What every module of the project is held to, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "jackline").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts)
POLL_HELPERS = {"eventually", "eventually_async", "until"}


def names_used(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a module reaches: `os.environ`, also when imported by name."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
                yield node.lineno, f"{owner}.{attribute}"
            case ast.Import(names=aliases):
                for alias in aliases:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=str(module), names=aliases):
                for alias in aliases:
                    yield node.lineno, f"{module}.{alias.name}"
            case _:
                pass


def uses(paths: list[Path], *forbidden: str) -> list[str]:
    """Where one of the names, or something in it, is used."""
    return [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in paths
        for line, name in names_used(path)
        if any(name == word or name.startswith(f"{word}.") for word in forbidden)
    ]


def test_the_sources_are_found() -> None:
    assert SOURCES
    assert Path(__file__) in TESTS


def test_only_the_settings_read_the_environment() -> None:
    others = [path for path in SOURCES if path.name != "settings.py"]
    assert uses(others, "os.environ", "os.environb", "os.getenv", "os.putenv") == []


def test_only_the_redis_log_imports_a_redis_client() -> None:
    others = [path for path in SOURCES if not (path.parent.name == "log" and path.stem.startswith("redis"))]
    assert uses(others, "redis", "hiredis") == []


NEVER = 600
"""Seconds that no test lasts."""


def sleeps(path: Path) -> Iterator[str]:
    """Where a module sleeps, but in a helper that polls a condition. `sleep(0)` waits for nothing,
    and one of `NEVER` seconds is there to be cut off."""
    tree = ast.parse(path.read_text(), str(path))
    helpers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in POLL_HELPERS
    ]
    polling = {inner for helper in helpers for inner in ast.walk(helper)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(args=[ast.Constant(value=int(seconds))]) if seconds == 0 or seconds >= NEVER:
                pass
            case ast.Call(func=ast.Attribute(attr="sleep") | ast.Name(id="sleep")) if node not in polling:
                yield f"{path.relative_to(ROOT)}:{node.lineno}"
            case _:
                pass


def test_tests_wait_for_conditions_and_never_for_time() -> None:
    # Agents that the tests have driven are slow on purpose.
    modules = [path for path in TESTS if path.name not in {"agents.py", "small_worker.py"}]
    assert [place for path in modules for place in sleeps(path)] == []


def test_nothing_is_skipped() -> None:
    assert uses(TESTS, "pytest.skip", "pytest.importorskip", "pytest.xfail", "mark.skip", "mark.skipif") == []
