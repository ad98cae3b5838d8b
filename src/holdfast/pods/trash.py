"""Deleting a tree that its owner may be rewriting while we delete it.

What is to go is first renamed into a trash directory that only we may enter; there it is deleted by directory
descriptors that never follow a symbolic link and never cross into another filesystem. Deep trees are flattened as they
are found, so that neither recursion nor descriptors run out. Called by pods.places; `empty` may take long with many
files and belongs into a thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

NAME = ".trash"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def throw(parent: Path, name: str) -> bool:
    """Move parent/name into the trash of `parent`; False when there is no such thing. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(parent / NAME, 0o700)
    place = os.open(parent, _DIRECTORY)
    try:
        _move(place, name, f"{NAME}/{secrets.token_hex(8)}", place)
    except FileNotFoundError:
        return False
    finally:
        os.close(place)
    return True


def empty(parent: Path) -> int:
    """Delete what is in the trash of `parent`; returns how many things resisted (a mount, an immutable file)."""
    try:
        top = os.open(parent / NAME, _DIRECTORY)
    except FileNotFoundError:
        return 0
    stuck: set[str] = set()
    try:
        device = os.fstat(top).st_dev
        while names := [name for name in os.listdir(top) if name not in stuck]:
            for name in names:
                if not _delete(top, name, device):
                    stuck.add(name)
    finally:
        os.close(top)
    if not stuck:
        with contextlib.suppress(OSError):
            os.rmdir(parent / NAME)
    return len(stuck)


def _delete(top: int, name: str, device: int) -> bool:
    """Delete one thing of the trash, its sub-directories being moved up into the trash first."""
    try:
        status = os.stat(name, dir_fd=top, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=top)
            return True
        if status.st_dev != device:
            return False
        inner = _open(top, name)
        try:
            resisted = _strip(top, inner, device)
        finally:
            os.close(inner)
        if resisted:
            return False
        os.rmdir(name, dir_fd=top)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _open(top: int, name: str) -> int:
    """The directory, made ours to enter when its owner took the rights away from himself."""
    path_only = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        if stat.S_IMODE(os.fstat(path_only).st_mode) & 0o700 != 0o700:
            with contextlib.suppress(OSError):
                os.chmod(f"/proc/self/fd/{path_only}", 0o700)
        return os.open(f"/proc/self/fd/{path_only}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(path_only)


def _strip(top: int, inner: int, device: int) -> int:
    """Unlink the files of a directory and move its sub-directories up; returns how many entries resisted."""
    resisted = 0
    for entry in os.listdir(inner):
        try:
            status = os.stat(entry, dir_fd=inner, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(entry, dir_fd=inner)
            elif status.st_dev != device:
                resisted += 1
            else:
                _move(inner, entry, secrets.token_hex(8), top)
        except FileNotFoundError:
            continue
        except OSError:
            resisted += 1
    return resisted


def _move(source: int, name: str, target: str, target_directory: int) -> None:
    """Rename. A directory's own ".." is rewritten by that, so that it must be writable by us, which we make it."""
    try:
        os.rename(name, target, src_dir_fd=source, dst_dir_fd=target_directory)
    except PermissionError:
        os.close(_open(source, name))
        os.rename(name, target, src_dir_fd=source, dst_dir_fd=target_directory)
