"""A server must not outlive the worker that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jackline.leash import leashed
from tests.support.processes import eventually
from tests.toolsets.calls import gone

SERVER = Path(__file__).with_name("server.py")


def run_leashed(*command: str) -> subprocess.Popen[bytes]:
    program, args = leashed(command[0], command[1:])
    return subprocess.Popen(
        [program, *args], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_killing_the_worker_kills_a_blocked_server_and_its_children(tmp_path: Path) -> None:
    """G7: what a dead worker had begun does not go on behind its successor's back. The server blocks
    its loop in a tool, so it cannot see that its stdin ended; its child holds the pipes too."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        textwrap.dedent(
            f"""
            import sys, anyio
            from jackline.mcp import ServerConfig, toolset
            from tests.toolsets.calls import call

            async def main():
                server = ServerConfig(name="probe", command=sys.executable,
                                      args=({str(SERVER)!r}, {str(tmp_path)!r}))
                async with toolset(server) as tools:
                    await call(tools, "block", key="k")

            anyio.run(main)
            """
        )
    )
    trace = tmp_path / "blocked-k"
    with subprocess.Popen(
        [sys.executable, str(worker)], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ) as process:
        eventually(trace.exists)
        server, child = map(int, trace.read_text().split())
        process.kill()
    eventually(lambda: gone(server), what="the server's end")
    eventually(lambda: gone(child), what="the end of the server's child")


def test_the_commands_exit_status_and_streams_are_its_own() -> None:
    with run_leashed("sh", "-c", "read line; echo got $line; exit 7") as process:
        out, _ = process.communicate(b"hello\n", timeout=60)
    assert out == b"got hello\n"
    assert process.returncode == 7


def test_a_command_that_a_signal_killed_is_told_as_shells_do() -> None:
    with run_leashed("sh", "-c", "kill -TERM $$") as process:
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_missing_command_is_told() -> None:
    program, args = leashed("no-such-program", [])
    done = subprocess.run(
        [program, *args], capture_output=True, timeout=60, start_new_session=True, check=False
    )
    assert done.returncode == 127
    assert b"no-such-program" in done.stderr


def test_the_end_of_the_command_is_seen_on_its_streams() -> None:
    with run_leashed("sh", "-c", "exec >&-; read line") as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""  # though the command, and its leash, still run
        assert process.poll() is None
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 0


def test_a_leash_whose_holder_is_dead_already_runs_nothing(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.fail("told by the kernel on Linux only")
    dead = subprocess.Popen(["true"])
    dead.wait()
    program, args = leashed("touch", [str(tmp_path / "ran")])
    args[args.index(str(os.getpid()))] = str(dead.pid)
    done = subprocess.run([program, *args], timeout=60, start_new_session=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "ran").exists()


def test_a_terminated_group_ends_with_the_command(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = (
        "import pathlib, signal, sys\n"
        "def bye(*_): print('bye', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "signal.pause()"
    )
    with run_leashed(sys.executable, "-c", script, str(ready)) as process:
        eventually(ready.exists)
        os.killpg(process.pid, signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert out == b"bye\n"
    assert process.returncode == 0
