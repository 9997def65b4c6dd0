"""The demo over stdio, as a worker uses it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic_ai.exceptions import ToolFailed

from jackline.demo.scratch import Scratch
from jackline.mcp import demo_server, toolset
from jackline.policy import judge
from tests.toolsets.calls import call

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_ai import RunContext

    from jackline.events import Json
    from jackline.mcp import ServerConfig

pytestmark = pytest.mark.anyio

READING = {
    "host_overview",
    "watch_load",
    "disk_usage",
    "top_processes",
    "largest_files",
    "tail_log",
    "service_status",
}
WRITING = {
    "start_scratch_service",
    "restart_scratch_service",
    "stop_scratch_service",
    "make_scratch_files",
    "clean_scratch_files",
}


@pytest.fixture
def demo(scratch: Scratch) -> ServerConfig:
    return demo_server({"PATH": os.environ["PATH"], "JACKLINE_DEMO_DIR": str(scratch.path)})


async def test_reading_runs_unasked_and_writing_asks(demo: ServerConfig) -> None:
    async with toolset(demo) as tools:
        judged = {spec.name: judge(spec, {}) for spec in await tools.specs()}
    assert {name for name, spec in judged.items() if spec.approval == "allow"} == READING
    assert {name for name, spec in judged.items() if spec.approval == "ask"} == WRITING
    assert judged["service_status"].verifies == "restart_scratch_service"
    assert all(spec.description and isinstance(spec.annotations, dict) for spec in judged.values())


async def test_a_service_outlives_the_server_that_started_it(demo: ServerConfig) -> None:
    """G5: an approved restart is verified by another worker's server, hours later."""
    async with toolset(demo) as tools:
        done = await call(tools, "restart_scratch_service", name="demo")
    async with toolset(demo) as tools:
        status = await call(tools, "service_status", name="demo")
        assert (status["state"], status["pid"]) == ("running", done["new_pid"])
        log = await call(tools, "tail_log", path=status["log"], lines=5)
        assert f"demo[{done['new_pid']}]" in log["lines"][0]
        stopped = await call(tools, "stop_scratch_service", name="demo")
        assert stopped["was_running"] is True


async def test_files_are_made_with_progress_and_cleaned(demo: ServerConfig, scratch: Scratch) -> None:
    reports: list[Json] = []

    async def note(_: RunContext[Any], report: Json) -> None:
        reports.append(report)

    async with toolset(demo, on_progress=note) as tools:
        made = await call(tools, "make_scratch_files", count=2, megabytes=1)
        assert len(list(scratch.files.iterdir())) == 2
        assert (await call(tools, "clean_scratch_files"))["deleted"] == made["files"]
    assert reports[-1] == {"progress": 2, "total": 2, "message": "2 of 2 files"}
    assert list(scratch.files.iterdir()) == []


async def test_a_watch_reports_each_look(demo: ServerConfig) -> None:
    reports: list[Json] = []

    async def note(_: RunContext[Any], report: Json) -> None:
        reports.append(report)

    async with toolset(demo, on_progress=note) as tools:
        watch = await call(tools, "watch_load", seconds=2)
    assert [look["at_seconds"] for look in watch["looks"]] == [0, 1]
    assert watch["cpus"] == os.cpu_count()
    told = [report for report in reports if isinstance(report, dict)]
    assert [(report["progress"], report["total"]) for report in told] == [(1, 2), (2, 2)]
    assert str(told[0]["message"]).startswith("load ")


async def test_a_service_lives_as_long_as_was_approved(demo: ServerConfig) -> None:
    async with toolset(demo) as tools:
        await call(tools, "restart_scratch_service", name="demo", minutes=5)
        assert 240 < (await call(tools, "service_status", name="demo"))["ends_in_seconds"] <= 300
        with pytest.raises(ToolFailed, match="60"):
            await call(tools, "restart_scratch_service", name="demo", minutes=61)
        await call(tools, "stop_scratch_service", name="demo")


async def test_calls_at_once_are_answered_and_errors_are_told(demo: ServerConfig, tmp_path: Path) -> None:
    async with toolset(demo) as tools:
        found: dict[str, Any] = {}

        async def look(name: str, **args: object) -> None:
            found[name] = await call(tools, name, **args)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "host_overview")
            tasks.start_soon(look, "disk_usage")
            tasks.start_soon(lambda: look("top_processes", by="memory", limit=2))
            tasks.start_soon(lambda: look("largest_files", directory=str(tmp_path), limit=1))
        assert found["host_overview"]["hostname"] == os.uname().nodename
        assert len(found["top_processes"]["processes"]) == 2
        for name, args, told in (
            ("tail_log", {"path": "/etc/passwd"}, "is no log"),
            ("largest_files", {"directory": str(tmp_path / "none")}, "No such file"),
            ("service_status", {"name": "../x"}, "no service name"),
            ("top_processes", {"by": "beauty"}, "beauty"),
            ("top_processes", {"limit": 51}, "50"),
        ):
            with pytest.raises(ToolFailed, match=told):
                await call(tools, name, **args)


async def test_an_unsafe_directory_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    server = demo_server({"PATH": os.environ["PATH"], "JACKLINE_DEMO_DIR": str(tmp_path / "open")})
    log = tmp_path / "log"
    async with toolset(server, log_file=log) as tools:
        with pytest.raises(Exception, match="MCP server demo"):
            await tools.specs()
    assert "0700" in log.read_text()
