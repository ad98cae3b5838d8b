"""Rotation by rename: log -> log.1 -> log.2 ..., each with its index.

Invariant: killed between any two steps, no file but the oldest is lost, and doing it again finishes the work: only
the files in front of the first missing number are moved. Standard library only. Called by capture.py and logger.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from holdfast.logs import index

LOG = "log"


def _nothing(step: str) -> None:
    """Takes the place of a test that dies here."""


def path_of(directory: str, number: int) -> str:
    """`log` for 0, else `log.N`."""
    return os.path.join(directory, f"{LOG}.{number}" if number else LOG)


def rotate(directory: str, files: int, step: Callable[[str], None] = _nothing) -> None:
    """Make room for a new `log`; of `files` files in all the oldest goes. Raises OSError and stops where it is."""
    if files <= 1:
        for path in (path_of(directory, 0) + index.SUFFIX, path_of(directory, 0)):
            step(f"unlink {path}")
            _unlink(path)
        return
    free = next((number for number in range(1, files) if not os.path.lexists(path_of(directory, number))), files - 1)
    for number in range(free, 0, -1):
        source, target = path_of(directory, number - 1), path_of(directory, number)
        step(f"index of {source}")
        _move_index(source, target)
        step(f"rename {source}")
        os.rename(source, target)
    step("done")


def _move_index(source: str, target: str) -> None:
    """The index goes first; when it went in an earlier, interrupted rotation it stays where it is."""
    try:
        os.rename(source + index.SUFFIX, target + index.SUFFIX)
        return
    except FileNotFoundError:
        pass
    try:
        fd = os.open(target + index.SUFFIX, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        stale = index.belongs_to(fd) != os.stat(source).st_ino
    finally:
        os.close(fd)
    if stale:  # left there, it would pass for the index of another file once that inode number is used again
        _unlink(target + index.SUFFIX)


def drop(directory: str, inode: int, size: int, mtime_ns: int) -> bool:
    """Delete the rotated file with this identity, whatever its number is now; False: there is none. Raises OSError."""
    for entry in os.listdir(directory):
        number = entry.removeprefix(LOG + ".")
        if not entry.startswith(LOG + ".") or not (number.isascii() and number.isdigit()):
            continue
        path = os.path.join(directory, entry)
        status = os.stat(path, follow_symlinks=False)
        if (status.st_ino, status.st_size, status.st_mtime_ns) == (inode, size, mtime_ns):
            _unlink(path)
            _unlink(path + index.SUFFIX)
            return True
    return False


def trim(directory: str, files: int) -> None:
    """Remove what a larger `files` of earlier left behind. Raises OSError."""
    for entry in os.listdir(directory):
        number = entry.removeprefix(LOG + ".").removesuffix(index.SUFFIX)
        if entry.startswith(LOG + ".") and number.isascii() and number.isdigit() and int(number) >= max(1, files):
            _unlink(os.path.join(directory, entry))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
