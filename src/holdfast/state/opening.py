"""Opening what lies below an agent's state path: one component at a time, below a directory already held open.

Invariant: no symlink is followed below the state path, nothing is waited for (pipes, leases), and no device is opened.
On the way to the state path a symlink is followed only if root, we or the agent's user made it: nobody else can lead us
elsewhere. Called within identity.acting_as by capture and by restoring.
"""

from __future__ import annotations

import errno
import os
import stat

from holdfast.state.model import Rights

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_WAY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS_MAX = 40  # as the kernel's own bound


class Replaced(OSError):
    """There is something else under this name now than was seen a moment ago."""


def open_parent(path: str, rights: Rights | None) -> tuple[int, bytes]:
    """(the directory that holds the state path, opened; the path's last name). Absolute paths. Raises OSError."""
    parts = [part for part in os.fsencode(path).split(b"/") if part not in (b"", b".")]
    if not path.startswith("/") or not parts or b".." in parts:
        raise OSError(errno.EINVAL, "not an absolute path to a directory or file", path)
    name = parts.pop()
    trusted = {0, os.geteuid()} | ({rights.uid} if rights else set())
    held = [os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    links = 0
    try:
        while parts:
            part = parts.pop(0)
            if part == b"..":
                if len(held) > 1:
                    os.close(held.pop())
                continue
            fd = os.open(part, _WAY, dir_fd=held[-1])
            seen = os.fstat(fd)
            if not stat.S_ISLNK(seen.st_mode):
                held.append(fd)
                continue
            try:
                target = os.readlink(b"", dir_fd=fd)
            finally:
                os.close(fd)
            links += 1
            if seen.st_uid not in trusted:
                raise OSError(errno.EPERM, "a symlink of another user lies on the way", path)
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith(b"/"):
                while len(held) > 1:
                    os.close(held.pop())
            parts[:0] = [part for part in target.split(b"/") if part not in (b"", b".")]
        return os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held[-1]), name
    finally:
        for fd in held:
            os.close(fd)


def open_directory(parent: int, name: bytes) -> int:
    """Raises Replaced where it is no directory (any more), FileNotFoundError, OSError."""
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Replaced(e.errno, "no longer a directory") from e
        raise


def open_file(parent: int, name: bytes) -> tuple[int, os.stat_result]:
    """A regular file for reading, and what it is. Its time of access is left alone where that is allowed.

    Raises Replaced where it is none (any more), FileNotFoundError, OSError.
    """
    try:
        fd = os.open(name, _FILE | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        fd = os.open(name, _FILE, dir_fd=parent)  # somebody else's file: only its owner may spare that time
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
            raise Replaced(e.errno, "no longer a file") from e
        raise
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode):
        os.close(fd)
        raise Replaced(errno.EINVAL, "no longer a file")
    return fd, seen


def user_xattrs(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    """The user.* attributes of what is open, sorted; none where the file system has none."""
    try:
        names = os.listxattr(fd)
    except OSError:
        return ()
    kept = []
    for name in sorted(names):
        if name.startswith("user."):
            try:
                kept.append((os.fsencode(name), os.getxattr(fd, name)))
            except OSError:
                continue  # taken away meanwhile
    return tuple(kept)
