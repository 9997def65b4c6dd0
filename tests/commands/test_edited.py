"""A schema may be a stranger's: it is followed where it can do no harm."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackline.edited import Edit, EditedArguments
from jackline.errors import Invalid, Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

LEVELS = 64
DOUBLING: dict[str, Any] = {
    "$ref": "#/$defs/d0",
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(LEVELS)}
    | {f"d{LEVELS}": True},
}


async def faults(
    schema: Any, args: Any, *, checks: EditedArguments | None = None, by: str = "user:ana"
) -> list[tuple[str, str]]:
    """What is wrong with them, and where."""
    try:
        await (checks or EditedArguments()).check([Edit(schema=schema, args=args, field="")], by=by)
    except Invalid as error:
        return [(each.field, each.detail) for each in error.errors]
    return []


@asynccontextmanager
async def listener() -> AsyncGenerator[tuple[str, list[bytes]]]:
    """The address of a server, and what it was asked."""
    asked: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/schema", asked


async def test_faults_are_told_with_their_place() -> None:
    """G11."""
    schema = {
        "type": "object",
        "required": ["host"],
        "properties": {"ports": {"type": "array", "items": {"type": "integer"}}},
    }
    assert await faults(schema, {"host": "web", "ports": [1]}) == []
    assert await faults(schema, {"ports": [1, "x"]}) == [
        ("args.host", "'host' is a required property"),
        ("args.ports.1", "'x' is not of type 'integer'"),
    ]
    assert await faults(schema, ["no", "object"]) == [("args", "must be an object")]
    assert await faults(False, {}) == [("args", "False schema does not allow {}")]
    assert await faults(None, {"any": 1}) == []


@pytest.mark.parametrize(
    ("schema", "args"),
    [
        ({"properties": {"host": {"pattern": "^(a+)+$"}}}, {"host": "a" * 100 + "!"}),
        (DOUBLING, {}),
    ],
    ids=["backtracks", "doubles"],
)
async def test_a_schema_that_takes_for_ever_is_given_up_and_stops_nobody(schema: Any, args: Any) -> None:
    """G4: the process that takes stops must go on; G11: what cannot be checked is refused."""
    checks = EditedArguments(seconds=2)
    turns = 0
    checking = asyncio.ensure_future(faults(schema, args, checks=checks))
    while not checking.done():
        turns += 1
        await asyncio.wait([checking], timeout=0.05)
    [(field, detail)] = checking.result()
    assert field == "args"
    assert "takes longer than 2 s" in detail
    assert "approve or deny it unedited" in detail
    assert turns > 2


async def test_a_check_that_nobody_waits_for_is_ended() -> None:
    checks = EditedArguments()
    checking = asyncio.ensure_future(faults({"pattern": "x", **DOUBLING}, {}, checks=checks))
    while not (begun := children()):
        await asyncio.wait([checking], timeout=0.05)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert not children() & begun


@asynccontextmanager
async def hanging(checks: EditedArguments, *principals: str, seen: int) -> AsyncGenerator[None]:
    """Checks that do not end, one of each principal; `seen` of them have their turn."""
    before = children()
    tasks = [asyncio.ensure_future(faults(DOUBLING, {}, checks=checks, by=by)) for by in principals]
    try:
        while len(children() - before) < seen:
            await asyncio.wait(tasks, timeout=0.05)
        yield
        assert len(children() - before) == seen
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, Overloaded):
                await task


async def test_who_waits_for_too_many_checks_is_told_to_try_again() -> None:
    """G11: a clear error, in bounded time, whoever else asks for what. And then there is room again."""
    checks = EditedArguments(seconds=60, patience=0.3)
    async with hanging(checks, "user:eve", "user:eve", "user:mal", seen=3):
        with pytest.raises(Overloaded, match=r"try again, or approve or deny it unedited"):
            await faults({"type": "object"}, {}, checks=checks, by="user:ana")
    assert await faults({"type": "object"}, {}, checks=checks, by="user:ana") == []


async def test_one_principal_does_not_take_all_turns() -> None:
    """G10: its own wait for each other, and others find a turn at once."""
    checks = EditedArguments(seconds=60, patience=30)
    async with hanging(checks, *["user:eve"] * 6, seen=2):
        assert await faults({"required": ["n"]}, {}, checks=checks, by="user:bo") == [
            ("args.n", "'n' is a required property")
        ]


async def test_a_schema_that_would_fill_the_memory_is_refused_in_words() -> None:
    """G11: here each of many alternatives quotes all of what was sent."""
    schema = {"anyOf": [{"type": "string"}] * 20_000}
    checks = EditedArguments(seconds=60)
    [(field, detail)] = await faults(schema, {"a": "x" * 200_000}, checks=checks)
    assert field == "args"
    assert "(it takes more than 512 MiB of memory); approve or deny it unedited" in detail


async def test_all_of_a_request_are_checked_in_one_turn() -> None:
    """G11: each fault with its place; one that cannot be checked leaves none of them unchecked."""
    schema = {"properties": {"n": {"type": "integer"}}}
    edits = [Edit(schema=schema, args={"n": n}, field=f"decisions.{n}.") for n in (1, 2)]
    bad = Edit(schema=schema, args={"n": "x"}, field="decisions.3.")
    endless = Edit(schema=DOUBLING, args={}, field="decisions.4.")
    checks = EditedArguments(seconds=3)
    await checks.check(edits, by="user:ana")
    with pytest.raises(Invalid) as refused:
        await checks.check([*edits, bad], by="user:ana")
    assert [each.field for each in refused.value.errors] == ["decisions.3.args.n"]
    with pytest.raises(Invalid) as refused:
        await checks.check([*edits, endless], by="user:ana")
    assert {each.field for each in refused.value.errors} == {f"decisions.{n}.args" for n in (1, 2, 4)}


def children() -> set[int]:
    """The processes that check for this one."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            command = (process / "cmdline").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid() and "jackline.edited" in command:
            found.add(int(process.name))
    return found


async def test_nothing_is_fetched_for_a_schema() -> None:
    """G12: a tool's server must not make this one call whom it likes."""
    async with listener() as (address, asked):
        [(field, detail)] = await faults({"$ref": address}, {"n": 1})
        assert field == "args"
        assert "cannot be checked" in detail
        [(_, detail)] = await faults({"$ref": "file:///etc/hostname"}, {"n": 1})
        assert "cannot be checked" in detail
        assert asked == []


async def test_what_lies_in_the_servers_folder_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G12: nothing there is run, and arguments can be edited all the same."""
    (tmp_path / "attrs.py").write_text("raise SystemExit('run from the working directory')")
    monkeypatch.chdir(tmp_path)
    assert await faults({"type": "object"}, {"n": 1}) == []


async def test_the_standards_own_schemas_are_known() -> None:
    known = {"properties": {"schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}}
    assert await faults(known, {"schema": {"type": "string"}}) == []
    assert [field for field, _ in await faults(known, {"schema": {"type": "nonsense"}})] == [
        "args.schema.type"
    ]


@pytest.mark.parametrize("depth", [500, 100_000])
async def test_arguments_too_deep_to_check_are_refused(depth: int) -> None:
    """G11."""
    deep: dict[str, Any] = {}
    for _ in range(depth):
        deep = {"a": deep}
    [(field, detail)] = await faults(
        {"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"a": {"$ref": "#/$defs/x"}}}}}, deep
    )
    assert field == "args"
    assert "cannot be checked" in detail
