"""The place of a repository's objects that is there by default: a directory on this machine.

What `put` returned from survives a power cut: content first (fdatasync of a nameless file), then the name (link, which
never overwrites), then the directory's own fsync; a directory used for the first time by this object has its parents
synced as well. An object is whole or not there. Called by the repository, gc and the queue of the second place.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from holdfast import limits
from holdfast.sizes import size
from holdfast.state.store.disk import TMP_PREFIX, Disk
from holdfast.state.store.names import DAMAGED, PACKS
from holdfast.state.store.objects import Missing, Stored, StoreError

_LASTING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


class LocalStore:
    """See objects.Store. May be used by several threads at once."""

    def __init__(self, root: Path, disk: Disk | None = None, *, leaves_room: bool = False) -> None:
        """Nothing is made before the first object is put. `leaves_room`: no pack is put where agents would lack it."""
        self.root = root
        self.where = str(root)
        self.made: list[str] = []  # packs that were created here, by their objects' names
        self._leaves_room = leaves_room
        self._disk = disk or Disk()
        self._swept: set[Path] = set()
        self._safe: set[Path] = set()  # directories whose own name is known to be on the disk

    def put(self, name: str, data: bytes | Iterable[bytes]) -> bool:
        path = self._path(name)
        try:
            self._make_safe(path.parent)
            if name.startswith(PACKS) and self._leaves_room:
                self._check_room(name)
            created = self._publish(path, (data,) if isinstance(data, bytes) else data)
            if created and name.startswith(PACKS):
                self.made.append(name)
            self._disk.sync_directory(path.parent)
        except OSError as error:
            self._safe.discard(path.parent)
            self._failed("written", name, error)
        return created

    def _check_room(self, name: str) -> None:
        """Raises StoreError, as for a full disk."""
        disk = os.statvfs(self.root)
        least = min(limits.SNAPSHOT_LEAVES_BYTES, int(limits.SNAPSHOT_LEAVES_SHARE * disk.f_blocks * disk.f_frsize))
        if disk.f_bavail * disk.f_frsize < least:
            raise StoreError(
                f"{name} could not be written in {self.where}: less than {size(least)} are free on its disk, "
                "which agents may need"
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _publish(self, path: Path, pieces: Iterable[bytes]) -> bool:
        file, temporary = self._disk.create(path.parent)
        try:
            if temporary is not None and path.parent not in self._swept:
                self._disk.sweep(path.parent)
                self._swept.add(path.parent)
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[self._disk.write(file, left) :]
            self._disk.sync(file)
            try:
                self._disk.publish(file, temporary, path)
            except FileExistsError:
                return False  # its name may not be on the disk yet: the caller syncs the directory all the same
            return True
        finally:
            self._disk.close(file, temporary)

    def put_right(self, name: str, data: bytes) -> None:
        """The object is `data` from here on; what was there is kept below `damaged/`. A kill leaves one of both.

        For bytes that were checked against the name: the one exception to never overwriting. Raises StoreError.
        """
        path = self._path(name)
        aside = self.root / DAMAGED.rstrip("/") / f"{path.name}-{time.time_ns()}"
        try:
            self._make_safe(aside.parent)
            self._make_safe(path.parent)
            self._disk.keep_aside(path, aside)
            self._disk.sync_directory(aside.parent)
            self._disk.sweep(path.parent)
            self._disk.replace(data, path)
            self._disk.sync_directory(path.parent)
        except OSError as error:
            self._failed("put right", name, error)

    def _make_safe(self, directory: Path) -> None:
        """The directory exists and so does each name above it, after a power cut too."""
        if directory in self._safe:
            return
        above = directory.parent
        if directory != self.root:
            self._make_safe(above)
        elif not above.is_dir():
            above.mkdir(mode=0o700, parents=True)
        self._disk.make_directory(directory)
        self._disk.sync_directory(above)
        self._safe.add(directory)

    def get(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except OSError as error:
            self._failed("read", name, error)

    def ranges(self, name: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        try:
            fd = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = [_read_at(fd, offset, length) for offset, length in wanted]
            finally:
                os.close(fd)
        except OSError as error:
            self._failed("read", name, error)
        for (offset, length), piece in zip(wanted, found, strict=True):
            if len(piece) != length:
                raise StoreError(f"{name}: it ends before byte {offset + length}", lasting=True)
        return found

    def size(self, name: str) -> int:
        try:
            return self._path(name).stat().st_size
        except OSError as error:
            self._failed("read", name, error)

    def list(self, prefix: str) -> Iterator[Stored]:
        try:
            yield from self._below(self.root / prefix, prefix)
        except OSError as error:
            self._failed("listed", prefix or "the repository", error)

    def _below(self, directory: Path, prefix: str) -> Iterator[Stored]:
        try:
            entries = os.scandir(directory)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                if entry.name.startswith(TMP_PREFIX):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._below(directory / entry.name, f"{prefix}{entry.name}/")
                    continue
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted since
                yield Stored(prefix + entry.name, stat.st_size, stat.st_mtime)

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            self._disk.remove(path)
            self._disk.sync_directory(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed("deleted", name, error)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if not name.isascii() or any(part in ("", ".", "..") or part.startswith(TMP_PREFIX) for part in parts):
            raise StoreError(f"{name!r} is no object's name", lasting=True)
        return self.root.joinpath(*parts)

    def _failed(self, done: str, name: str, error: OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError) and done == "read":
            raise Missing(f"{name} is not in {self.where}", lasting=True) from error
        reason = error.strerror or type(error).__name__
        raise StoreError(
            f"{name} could not be {done} in {self.where}: {reason}", lasting=error.errno in _LASTING
        ) from error


def _read_at(fd: int, offset: int, length: int) -> bytes:
    """Shorter only at the end of the file."""
    piece = os.pread(fd, length, offset)
    if len(piece) == length or not piece:
        return piece
    pieces = [piece]
    have = len(piece)
    while have < length:
        piece = os.pread(fd, length - have, offset + have)
        if not piece:
            break
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces)
