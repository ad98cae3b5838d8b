"""What init must remember through its own death: two preallocated files used in turn.

They lie on tmpfs where there is one: the kernel keeps them when init is killed, after a power cut nothing that they
describe runs any more, and a disk that is busy or full cannot hold up a restart (a write to a busy disk was seen to
take a second). Elsewhere they are plain files in HOME/init, written without fsync. Space is reserved when a file
is made.

A file is `CRC32-HEX JSON\\n` lines, then zero bytes. Its first line is {"t":"journal","v":1,"gen":G}; then the
snapshot taken when the file was begun, closed by {"t":"whole"}; then one line per change. A file without
`whole` was never finished and the other one holds. A line whose sum does not match ends the file.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

VERSION = 1
SLOT_BYTES = 2 * 1024 * 1024  # about 1,000 agents with their environments; doubled when the snapshot needs it

MEMORY_DIRECTORIES = ("/dev/shm", "/run")
MEMORY_FREE_MIN_BYTES = 64 * 1024 * 1024

Record = dict[str, Any]
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def line(record: Record) -> bytes:
    body = _encode(record).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_lines(data: bytes) -> Iterator[Record]:
    """Records up to the first line that is not whole."""
    for raw in data.split(b"\n"):
        if len(raw) < 10 or raw[8:9] != b" ":
            return
        try:
            if int(raw[:8], 16) != zlib.crc32(raw[9:]):
                return
            yield json.loads(raw[9:])
        except ValueError:
            return


def find_directory(home: str, home_id: str) -> str:
    """Where this home's journals lie: always the same place within one boot."""
    for base in MEMORY_DIRECTORIES:
        path = f"{base}/holdfast-{os.getuid()}-{home_id}"
        try:
            space = os.statvfs(base)
            if not os.path.isdir(path) and space.f_bavail * space.f_frsize < MEMORY_FREE_MIN_BYTES:
                continue
            os.makedirs(path, mode=0o700, exist_ok=True)
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & 0o077 == 0:
            return path
    return f"{home}/init"


class Journal:
    """Append records; `begin` starts the other file with a snapshot. Not thread-safe; one writer (init)."""

    def __init__(self, directory: str) -> None:
        self._paths = [os.path.join(directory, name) for name in ("a.journal", "b.journal")]
        self._generation = 0
        self._fd = -1
        self._position = 0
        self._size = 0
        self.failed: str | None = None  # why memory is all we have, if so

    def load(self) -> list[Record]:
        """Records of the newest whole file; an empty list when there is none."""
        best: list[Record] = []
        for path in self._paths:
            records = self._read(path)
            if records and int(records[0]["gen"]) > self._generation:
                self._generation = int(records[0]["gen"])
                best = records
        return best[1:]

    @staticmethod
    def _read(path: str) -> list[Record]:
        try:
            with open(path, "rb") as file:
                records = list(read_lines(file.read()))
        except OSError:
            return []
        if not records or records[0].get("t") != "journal" or records[0].get("v") != VERSION:
            return []
        return records if any(record.get("t") == "whole" for record in records) else []

    def begin(self, snapshot: Iterable[Record]) -> None:
        """Write a new file holding `snapshot`; the former one stays until the next turn."""
        self._generation += 1
        lines = [line({"t": "journal", "v": VERSION, "gen": self._generation})]
        lines += map(line, snapshot)
        lines.append(line({"t": "whole"}))
        data = b"".join(lines)
        size = SLOT_BYTES
        while size < 2 * len(data):
            size *= 2
        path = self._paths[self._generation % 2]
        try:
            # An existing file is overwritten in place: its blocks are there even when the disk is full.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(fd, b"\0" * 16, 0)  # the old content stops being a journal before it is overwritten
                os.posix_fallocate(fd, 0, size)
                os.pwrite(fd, b"\0" * (size - len(data)), len(data))
                written = os.pwrite(fd, data, 0)
                if written != len(data):
                    raise OSError(28, "short write")
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            self.failed = f"{path}: {error.strerror}"
            return
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._position, self._size, self.failed = fd, len(data), size, None

    def shrink(self, snapshot: Iterable[Record]) -> None:
        """The last word of an init that leaves nobody behind: what was reserved in memory goes back. On a disk it stays
        reserved, for the day when that is full."""
        if not self._paths[0].startswith(MEMORY_DIRECTORIES):
            return
        self.begin(snapshot)
        if self.failed is None:
            os.ftruncate(self._fd, self._position)
            self._size = self._position
            try:
                os.unlink(self._paths[(self._generation + 1) % 2])
            except FileNotFoundError:
                pass

    @property
    def full(self) -> bool:
        """Time for `begin`."""
        return self._position > self._size * 3 // 4

    def append(self, *records: Record) -> None:
        if self._fd < 0:
            return
        data = b"".join(map(line, records))
        if self._position + len(data) > self._size:
            return  # `full` was ignored; the snapshot of the next `begin` holds it all
        try:
            os.pwrite(self._fd, data, self._position)
        except OSError as error:
            self.failed = str(error.strerror)
            return
        self._position += len(data)
