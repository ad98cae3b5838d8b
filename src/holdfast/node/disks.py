"""Room and writability of the disks that Holdfast uses. Called by doctor and by the keeper once in a while."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import NamedTuple


class Room(NamedTuple):
    """What is left for this user (reserved blocks are not), and whether it can be written at all."""

    free_bytes: int
    total_bytes: int
    free_files: int  # inodes; -1 where the filesystem has no fixed number
    read_only: bool


def room(path: Path) -> Room:
    """Raises OSError when there is no such path."""
    status = os.statvfs(path)
    return Room(
        status.f_bavail * status.f_frsize,
        status.f_blocks * status.f_frsize,
        status.f_favail if status.f_files else -1,
        bool(status.f_flag & os.ST_RDONLY),
    )


def why_unwritable(directory: Path) -> str | None:
    """None when a file can really be made there; else the reason in the kernel's words. Leaves nothing behind."""
    trial = directory / f".trial-{secrets.token_hex(4)}"
    try:
        fd = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        return error.strerror or str(error)
    try:
        os.write(fd, b"\0" * 4096)
        os.fsync(fd)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(trial)
    return None
