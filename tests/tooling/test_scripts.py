"""The commands of `scripts/` and `.ci/`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("scripts/up", "scripts/test", "scripts/lock", "scripts/soak", "scripts/bench", ".ci/run")
BASH = shutil.which("bash") or "bash"


def bash(script: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BASH, "-c", script], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def project(folder: Path) -> Path:
    """A project with scripts, and nothing that could be installed."""
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/_setup.sh", folder / "scripts")
    (folder / "pyproject.toml").write_text("")
    (folder / "a.lock").write_text("one")
    return folder


def programs(folder: Path, **scripts: str) -> str:
    """A PATH with coreutils and these programs, and no other."""
    folder.mkdir()
    for name in ("bash", "cat", "cut", "dirname", "id", "mktemp", "rm", "sed", "sha256sum"):
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    for name, text in scripts.items():
        program = folder / name.replace("_", "-")
        program.unlink(missing_ok=True)
        program.write_text(f"#!{BASH}\n{text}\n")
        program.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_run(command: str) -> None:
    assert os.access(ROOT / command, os.X_OK)
    assert bash(f"bash -n {command}", ROOT, PATH=os.environ["PATH"]).stderr == ""


def test_without_python_the_setup_says_what_to_type(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin")
    result = bash("source scripts/_setup.sh; find_python", project(tmp_path / "p"), PATH=path)
    assert result.returncode == 1
    assert "apt-get install python3 python3-venv" in result.stderr


def test_an_old_python_is_passed_over(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", python3="exit 0", **{"python3.11": "exit 1", "python3.13": "exit 1"})
    result = bash("source scripts/_setup.sh; find_python", project(tmp_path / "p"), PATH=path)
    assert result.stdout.strip() == f"{path}/python3"


def test_who_may_not_install_learns_what_to_type(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", id="echo 1000", apt_get="exit 0")
    result = bash("source scripts/_setup.sh; apt_install chromium", project(tmp_path / "p"), PATH=path)
    assert result.returncode == 1
    assert "apt-get install -y --no-install-recommends chromium" in result.stderr


def test_root_installs_what_is_missing(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", id="echo 0", apt_get=f'echo "$@" >>"{tmp_path}/calls"')
    result = bash("source scripts/_setup.sh; apt_install chromium curl", project(tmp_path / "p"), PATH=path)
    assert result.returncode == 0, result.stderr
    update, install = (tmp_path / "calls").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("--no-install-recommends chromium curl")


def test_nothing_is_installed_again_until_a_lock_file_changes(tmp_path: Path) -> None:
    folder = project(tmp_path / "a project")
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/jackline").symlink_to("/bin/true")
    script = (
        "source scripts/_setup.sh; venv_works() { true; }; install_locked() { echo installed; };"
        "environment a.lock; environment a.lock; echo two >a.lock; environment a.lock"
    )
    result = bash(script, folder, PATH=os.environ["PATH"])
    assert result.stdout == "installed\ninstalled\n"
