"""The scratch directory: the one place that the demo writes to, and the files that it made there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MEBIBYTE: Final = 1024 * 1024
MAX_FILES: Final = 50
MAX_TOTAL: Final = 256 * MEBIBYTE
"""Bytes of all scratch files together: enough to be seen in a listing, too few to fill a disk."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_FREE: Final = 512 * MEBIBYTE
"""Bytes that must stay free on the disk."""


class Refused(Exception):  # noqa: N818
    """What was asked for is not done; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A file that the demo made: its inode tells it from one that took its name since."""

    inode: int
    size: int
    made_at: float


def default_directory() -> Path:
    """One per user, so that users of a host do not meet in it."""
    return Path(tempfile.gettempdir()) / f"jackline-demo-{os.getuid()}"


class Scratch:
    """A directory of our own, mode 0700. Raises `Refused` for one that is a link or somebody else's:
    in a shared directory for temporary files anybody may have put it there first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        _own(path)
        self.path = path
        for name in ("services", "files"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
            _own(path / name)

    @property
    def services(self) -> Path:
        """Where services keep their state, logs and caches."""
        return self.path / "services"

    @property
    def files(self) -> Path:
        """Where the scratch files are."""
        return self.path / "files"

    def service_name(self, name: str) -> str:
        """`name`, if it is one that can be part of a file's name."""
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r} is no service name: a lower-case letter, then letters, digits and '-'")
        return name

    @contextlib.contextmanager
    def locked(self, what: str) -> Generator[None]:
        """Alone among the processes that use this directory, several workers' demos included."""
        descriptor = os.open(self.path / f".{what}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def make(self, count: int, size: int, made: Callable[[int], None]) -> list[str]:
        """`count` files of `size` bytes each; `made(n)` after each one, and may raise to end it."""
        with self.locked("files"):
            manifest = self._manifest()
            held = sum(file.size for file in manifest.values())
            if held + count * size > MAX_TOTAL:
                raise Refused(
                    f"{held // MEBIBYTE} MiB of scratch files are there already, "
                    f"and there may be {MAX_TOTAL // MEBIBYTE} MiB at most; clean them, or make fewer"
                )
            disk = os.statvfs(self.files)
            if disk.f_bavail * disk.f_frsize < count * size + _FREE:
                raise Refused("the disk has too little space left for scratch files")
            names: list[str] = []
            try:
                for n in range(count):
                    name = f"scratch-{time.time_ns():x}-{n}.bin"
                    manifest[name] = self._write(name, size)
                    names.append(name)
                    made(n + 1)
            finally:
                self._keep(manifest)
            return names

    def clean(self, older_than: float) -> dict[str, int]:
        """Delete the scratch files that are older than so many seconds; their sizes by name."""
        deleted: dict[str, int] = {}
        with self.locked("files"):
            manifest = self._manifest()
            folder = os.open(self.files, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                for name, file in list(manifest.items()):
                    if time.time() - file.made_at < older_than:
                        continue
                    if _same(folder, name, file.inode):
                        os.unlink(name, dir_fd=folder)
                        deleted[name] = file.size
                    del manifest[name]  # gone, or no longer the file that we made
            finally:
                os.close(folder)
                self._keep(manifest)
        return deleted

    def held(self) -> dict[str, Made]:
        """The files that the demo made and has not deleted."""
        return self._manifest()

    def _write(self, name: str, size: int) -> Made:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(self.files / name, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            block = bytes(MEBIBYTE)
            for start in range(0, size, MEBIBYTE):
                file.write(block[: min(MEBIBYTE, size - start)])
            return Made(inode=os.fstat(file.fileno()).st_ino, size=size, made_at=time.time())

    @property
    def _manifest_path(self) -> Path:
        return self.path / "files.json"

    def _manifest(self) -> dict[str, Made]:
        return {
            name: Made(inode=int(file["inode"]), size=int(file["size"]), made_at=file["made_at"])
            for name, file in cast("dict[str, dict[str, float]]", read_json(self._manifest_path)).items()
        }

    def _keep(self, manifest: dict[str, Made]) -> None:
        write_json(
            self._manifest_path,
            {
                name: {"inode": file.inode, "size": file.size, "made_at": file.made_at}
                for name, file in manifest.items()
            },
        )


def read_json(path: Path) -> dict[str, object]:
    """The object in a file; an empty one if there is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}


def write_json(path: Path, value: dict[str, object] | dict[str, dict[str, float]]) -> None:
    """Replace a file by one with `value`; a reader sees the old or the new one, never half."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps(value), "utf-8")
    half.replace(path)


def _own(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Refused(f"{path} is not a directory (a link is refused too); remove it, or use another one")
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused(f"{path} can be used by others; it must be yours, with mode 0700")


def _same(folder: int, name: str, inode: int) -> bool:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_ino == inode
