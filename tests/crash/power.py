"""A disk that remembers every write, and what of it is there after the power was cut at any of them.

Only what POSIX promises survives: bytes that were synced, names whose directory was synced. Of all else any part may be
there, in any mixture: writes are lost, torn or zeros, names come and go one by one, and with the name of a directory
goes all that is below it.
"""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.state.store.disk import Disk

BLOCK = 512


@dataclass
class Step:
    """One call, or (`what` = mark) something that the caller had been told by then."""

    what: str  # create, write, sync, name, directory, sync-directory, remove, mark
    file: int = 0
    path: str = ""
    data: bytes = b""
    over: bool = False  # a name that replaces another


class QuickDisk(Disk):
    """The machine's disk where no power is ever cut: nothing waits for it."""

    def sync(self, file: int) -> None:
        pass

    def sync_directory(self, directory: Path) -> None:
        pass


class RecordingDisk(Disk):
    """The machine's disk, with a record; what is synced is so in the record alone. Its paths are below `base`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.steps: list[Step] = []
        self._numbers: dict[int, int] = {}
        self._count = 0
        self._lock = threading.Lock()

    def mark(self, text: str) -> None:
        self.steps.append(Step("mark", path=text))

    def create(self, directory: Path) -> tuple[int, Path | None]:
        file, name = super().create(directory)
        with self._lock:
            self._count += 1
            self._numbers[file] = self._count
            self.steps.append(Step("create", self._count))
            if name is not None:
                self.steps.append(Step("name", self._count, self._relative(name)))
        return file, name

    def write(self, file: int, data: bytes | memoryview) -> int:
        written = super().write(file, data)
        self.steps.append(Step("write", self._numbers[file], data=bytes(data[:written])))
        return written

    def sync(self, file: int) -> None:
        self.steps.append(Step("sync", self._numbers[file]))

    def publish(self, file: int, name: Path | None, final: Path) -> None:
        super().publish(file, name, final)
        self.steps.append(Step("name", self._numbers[file], self._relative(final)))

    def publish_over(self, file: int, name: Path | None, final: Path) -> None:
        """What this disk never does unless a bug is planted."""
        if final.exists():
            os.unlink(final)
        super().publish(file, name, final)
        self.steps.append(Step("name", self._numbers[file], self._relative(final), over=True))

    def make_directory(self, directory: Path) -> None:
        there = directory.exists()
        super().make_directory(directory)
        if not there:
            self.steps.append(Step("directory", path=self._relative(directory)))

    def sync_directory(self, directory: Path) -> None:
        self.steps.append(Step("sync-directory", path=self._relative(directory)))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.steps.append(Step("remove", path=self._relative(path)))

    def _relative(self, path: Path) -> str:
        relative = str(path.relative_to(self.base))
        return "" if relative == "." else relative


@dataclass
class _File:
    safe: int = 0  # bytes that were synced
    writes: list[bytes] = field(default_factory=list)

    def after_power_cut(self, chance: random.Random, keep: float) -> bytes:
        content = b"".join(self.writes)
        if self.safe >= len(content) or chance.random() < keep:
            return content
        lost = bytearray(content)
        end = len(content) if chance.random() < 0.5 else chance.randrange(self.safe, len(content))
        for at in range(self.safe - self.safe % BLOCK, end, BLOCK):
            begin, stop = max(at, self.safe), min(at + BLOCK, len(content))
            if chance.random() < 0.5:
                lost[begin:stop] = bytes(stop - begin)
        return bytes(lost[:end])


@dataclass
class _Directory:
    safe: dict[str, int | str] = field(default_factory=dict)  # name: file number, or path of a directory
    changes: list[tuple[str, int | str | None]] = field(default_factory=list)

    def after_power_cut(self, chance: random.Random, keep: float) -> dict[str, int | str]:
        names = dict(self.safe)
        for name, what in self.changes:
            if chance.random() >= keep:
                continue
            if what is None:
                names.pop(name, None)
            else:
                names[name] = what
        return names


def after_power_cut(steps: list[Step], chance: random.Random, keep: float, into: Path) -> None:
    """Build in `into` what a cut after these steps may leave. `keep`: how likely each unsynced thing is there."""
    files: dict[int, _File] = {}
    directories: dict[str, _Directory] = {"": _Directory()}
    for step in steps:
        above, _, name = step.path.rpartition("/")
        match step.what:
            case "create":
                files[step.file] = _File()
            case "write":
                files[step.file].writes.append(step.data)
            case "sync":
                files[step.file].safe = sum(map(len, files[step.file].writes))
            case "name":
                directories[above].changes.append((name, step.file))
            case "directory":
                directories[step.path] = _Directory()
                directories[above].changes.append((name, step.path))
            case "remove":
                directories[above].changes.append((name, None))
            case "sync-directory":
                directory = directories[step.path]
                directory.safe = directory.after_power_cut(chance, 1.0)
                directory.changes.clear()
    contents = {number: file.after_power_cut(chance, keep) for number, file in sorted(files.items())}
    _build(directories, contents, "", into, chance, keep)


def _build(
    directories: dict[str, _Directory],
    contents: dict[int, bytes],
    path: str,
    into: Path,
    chance: random.Random,
    keep: float,
) -> None:
    into.mkdir(exist_ok=True)
    for name, what in directories[path].after_power_cut(chance, keep).items():
        if isinstance(what, str):
            _build(directories, contents, what, into / name, chance, keep)
        else:
            (into / name).write_bytes(contents[what])
