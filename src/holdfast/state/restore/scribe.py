"""Writes one tree as the agent's user: a name at a time, below directory descriptors, following no link.

Invariant: nothing is opened by more than one component from a directory this scribe made itself, so whatever the agent
puts in the way leads nowhere; and all of it happens with the agent's own rights. A directory's times are set when it
is complete. The caller has entered `acting_as`. Called by materialize.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from typing import NamedTuple

from holdfast import limits
from holdfast.state.looking.contents import Act, Part
from holdfast.state.model import Content, Entry, Kind, Rights
from holdfast.state.restore.direct import MIN_BYTES, Direct
from holdfast.state.store import tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IOV_MAX = 1024  # of writev, on every Linux
_LEVELS_OPEN = 64  # directories above are closed, and found again by `..` and their inode
_SET_ID = stat.S_ISUID | stat.S_ISGID


class _Level(NamedTuple):
    fd: int  # -1: closed meanwhile
    device: int
    inode: int
    name: bytes


class Moved(OSError):
    """Somebody moved a directory while it was written."""

    def __init__(self, name: bytes) -> None:
        super().__init__(errno.ESTALE, "was moved while it was written", os.fsdecode(name))


class Scribe:
    """One tree, begun at `name` in the directory `parent`. `files`, `foreign` and `notes` tell what was done.

    Root that writes without anybody's `rights` gives what is complete to `owner`, or to the numbers it belonged to.
    """

    def __init__(self, parent: int, name: bytes, rights: Rights | None, owner: Rights | None = None) -> None:
        self._top = name
        self._parent = parent
        self._levels: list[_Level] = []
        self._file = -1
        self._at = 0
        self._spans: list[tuple[int, int]] | None = None
        self._direct: Direct | None = None
        self._is_direct = False  # the file that is open is written so
        self._first: dict[tuple[int, int], bytes] = {}
        self._uid = rights.uid if rights is not None else os.geteuid()
        self._gid = rights.gid if rights is not None else os.getegid()
        self._gives_away = rights is None and self._uid == 0
        self._owner = owner
        self._unsynced: list[int] = []  # the first one alone, once there are many
        self._many = False
        self.files = 0
        self.bytes = 0
        self.foreign = 0  # entries of other owners, which are the agent's now
        self.notes: list[str] = []

    def write(self, part: Part) -> None:
        """The next part of the stream. Raises OSError."""
        act, entry, data = part
        if act is Act.FILE:
            self._begin(entry)
            self._append(data)
            self._end(entry)
        elif act is Act.MORE:
            self._append(data)
        elif act is Act.BEGIN:
            self._begin(entry)
            self._spans = tree.split_spans(b"".join(data)) if entry.content is Content.SPARSE else None
        elif act is Act.END:
            if self._spans is not None:
                os.ftruncate(self._file, entry.size)
            self._end(entry)
        elif act is Act.ENTER:
            self._enter(entry)
        elif act is Act.LEAVE:
            self._leave(entry)
        elif act is Act.LINK:
            self._link(entry)
        else:
            self._same(entry)

    def close(self) -> None:
        """Whatever is open. For the end, and for an end before time."""
        fds = [self._file, *(level.fd for level in self._levels), *self._unsynced]
        self._file, self._levels, self._unsynced = -1, [], []
        for fd in fds:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)

    def sync(self) -> None:
        """All that was written is on the disk. Few files one by one; of many, the whole file system at once.

        A file's own fsync costs a commit of the file system's journal each time: one for all of them is far cheaper,
        but waits for what others wrote there, too, which a single small file should not.
        """
        if self._many and self._unsynced:
            sync_file_system(self._unsynced[0])
            return
        for fd in self._unsynced:
            os.fsync(fd)

    def _keep(self, fd: int) -> None:
        """A descriptor that is complete: kept open for its fsync while there are few, else closed."""
        if self._many:
            os.close(fd)
            return
        self._unsynced.append(fd)
        if len(self._unsynced) > limits.RESTORE_SYNCED_SINGLY:
            self._many = True
            for each in self._unsynced[1:]:
                os.close(each)
            del self._unsynced[1:]

    def _here(self) -> tuple[int, bytes | None]:
        """The directory in which the next name is made, and the name that the tree's top has instead of its own."""
        return (self._levels[-1].fd, None) if self._levels else (self._parent, self._top)

    def _begin(self, entry: Entry) -> None:
        fd, top = self._here()
        self._file = os.open(top or entry.name, _NEW_FILE, 0o600, dir_fd=fd)
        self._at = 0
        self._spans = None
        if entry.size >= MIN_BYTES and entry.content is not Content.SPARSE:
            self._direct = self._direct or Direct()
            self._is_direct = self._direct.begin(self._file)
        if entry.links is not None:
            self._first[entry.links] = self._path_of(entry)

    def _append(self, data: list[bytes]) -> None:
        if self._spans is not None:
            self._scatter(self._spans, data)
            return
        if self._is_direct and self._direct is not None:
            for piece in data:
                self._direct.add(piece)
            return
        if len(data) == 1:
            self._pour(data[0])
            return
        for at in range(0, len(data), _IOV_MAX):
            some = data[at : at + _IOV_MAX]
            written = os.writev(self._file, some)
            if written < sum(map(len, some)):
                self._pour(b"".join(some)[written:])

    def _pour(self, data: bytes) -> None:
        if self._is_direct and self._direct is not None:
            self._direct.add(data)
            return
        written = os.write(self._file, data) if data else 0
        while written < len(data):
            written += os.write(self._file, memoryview(data)[written:])

    def _scatter(self, spans: list[tuple[int, int]], data: list[bytes]) -> None:
        """The data of a sparse file, one byte after the other, to where its map says."""
        for piece in data:
            view = memoryview(piece)
            while view:
                while spans and self._at >= spans[0][1]:
                    spans.pop(0)
                    self._at = 0
                if not spans:
                    raise tree.BadTree("a sparse file has more data than its map")
                offset, length = spans[0]
                written = os.pwrite(self._file, view[: length - self._at], offset + self._at)
                self._at += written
                view = view[written:]

    def _end(self, entry: Entry) -> None:
        if self._is_direct and self._direct is not None:
            self._is_direct = False
            self._direct.end()
        fd, self._file = self._file, -1
        self._spans = None
        try:
            self._dress(fd, entry)
        except BaseException:
            os.close(fd)
            raise
        self.files += 1
        self.bytes += entry.size
        self._keep(fd)

    def _enter(self, entry: Entry) -> None:
        parent, top = self._here()
        name = top or entry.name
        os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        status = os.fstat(fd)
        self._levels.append(_Level(fd, status.st_dev, status.st_ino, name))
        if len(self._levels) > _LEVELS_OPEN:
            above = self._levels[-1 - _LEVELS_OPEN]
            if above.fd >= 0:
                os.close(above.fd)
                self._levels[-1 - _LEVELS_OPEN] = above._replace(fd=-1)

    def _leave(self, entry: Entry) -> None:
        level = self._levels[-1]
        if len(self._levels) > 1 and self._levels[-2].fd < 0:
            above = self._levels[-2]
            fd = os.open("..", _DIRECTORY, dir_fd=level.fd)
            self._levels[-2] = above._replace(fd=fd)
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != (above.device, above.inode):
                raise Moved(above.name)
        self._levels.pop()
        try:
            self._dress(level.fd, entry)
        except BaseException:
            os.close(level.fd)
            raise
        self._keep(level.fd)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Owner, mode, attributes and times. The mode after the owner, which takes set-id bits away."""
        mode = entry.mode
        if self._gives_away:
            uid, gid, own = self._given(entry)
            self.foreign += uid != entry.uid
            mode &= -1 if own else ~_SET_ID
            os.fchown(fd, uid, gid)
        elif entry.uid != self._uid:
            self.foreign += 1
            mode &= ~_SET_ID
        elif entry.gid != self._gid:
            try:
                os.fchown(fd, -1, entry.gid)
            except PermissionError:  # a group the agent is not in any more
                self.foreign += 1
                mode &= ~stat.S_ISGID
        for name, value in entry.xattrs:
            try:
                os.setxattr(fd, name, value)
            except OSError as e:
                if e.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.E2BIG, errno.ENOSPC):
                    raise
                self._note(f"{os.fsdecode(entry.name)}: attribute {os.fsdecode(name)} not restored ({e.strerror})")
        os.fchmod(fd, mode)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _given(self, entry: Entry) -> tuple[int, int, bool]:
        """Whose it becomes, user and group, and whether it was the owner's already."""
        owner = self._owner
        if owner is None:
            return entry.uid, entry.gid, False
        if entry.uid == owner.uid and entry.gid in (owner.gid, *owner.groups):
            return entry.uid, entry.gid, True
        return owner.uid, owner.gid, False

    def _link(self, entry: Entry) -> None:
        fd, top = self._here()
        name = top or entry.name
        os.symlink(entry.target, name, dir_fd=fd)
        if entry.links is not None:
            self._first[entry.links] = self._path_of(entry)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)
        if self._gives_away:
            uid, gid, _own = self._given(entry)
            os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)

    def _path_of(self, entry: Entry) -> bytes:
        """From the tree's top on."""
        return b"/".join([*(level.name for level in self._levels[1:]), entry.name])

    def _same(self, entry: Entry) -> None:
        """Another name of a file. The first one is opened by its whole path, but with the agent's rights alone."""
        fd, _top = self._here()
        assert entry.links is not None
        first = self._first[entry.links]
        where = self._open_top()
        try:
            try:
                os.link(first, entry.name, src_dir_fd=where, dst_dir_fd=fd, follow_symlinks=False)
            except OSError as e:
                if e.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS):
                    raise
                if entry.kind is Kind.LINK:
                    self._link(entry)
                    return
                self._copy(where, first, entry)
        finally:
            os.close(where)

    def _open_top(self) -> int:
        return os.open(self._top, _DIRECTORY, dir_fd=self._parent)

    def _copy(self, where: int, first: bytes, entry: Entry) -> None:
        """Where no second name can be had, a file of its own."""
        self._note(f"{os.fsdecode(entry.name)}: a copy, since no hard link can be made there")
        source = os.open(first, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
        try:
            self._begin(entry)
            while data := os.read(source, 1024 * 1024):
                self._pour(data)
            self._end(entry)
        finally:
            os.close(source)

    def _note(self, text: str) -> None:
        if len(self.notes) < limits.RESTORE_NOTES_MAX:
            self.notes.append(text)


def sync_file_system(fd: int) -> None:
    """Everything written to the file system that this file lies on is on its disk. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
