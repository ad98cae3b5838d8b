"""Whether a user can reach a path, component by component, without becoming that user.

Follows symbolic links as the kernel does and looks at owner, group and mode of every directory on the way. Where an
access list is set, the mode bits alone do not decide and the component is taken as reachable: a wrong "no" would keep a
working agent down, while a wrong "yes" is found by the start itself. Called by pods before an agent is defined.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

READ, EXECUTE = 4, 1
_LINKS_MAX = 40  # as the kernel


class Unreachable(Exception):
    """`path`: the exact component that stands in the way; `missing`: it is not there at all."""

    def __init__(self, path: Path, missing: bool) -> None:
        super().__init__(str(path))
        self.path = path
        self.missing = missing


def check(path: Path, uid: int, gids: Collection[int], need: int) -> Path:
    """The path with all links followed, when this user may pass to it and has `need` there. Raises Unreachable.

    `path` is absolute. A directory needs EXECUTE to be entered; a program needs EXECUTE to be run.
    """
    reached = Path("/")
    waiting = list(reversed(path.parts[1:]))
    links = 0
    while waiting:
        part = waiting.pop()
        _need(reached, os.stat(reached), uid, gids, EXECUTE)
        if part == "..":
            reached = reached.parent
            continue
        step = reached / part
        try:
            status = os.lstat(step)
        except OSError as error:
            raise Unreachable(step, isinstance(error, FileNotFoundError | NotADirectoryError)) from None
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINKS_MAX:
                raise Unreachable(step, False)
            target = Path(os.readlink(step))
            if target.is_absolute():
                reached = Path("/")
            waiting.extend(reversed([each for each in target.parts if each != "/"]))
            continue
        if waiting and not stat.S_ISDIR(status.st_mode):
            raise Unreachable(step, True)
        reached = step
    _need(reached, os.stat(reached), uid, gids, need)
    return reached


def permits(status: os.stat_result, uid: int, gids: Collection[int], need: int) -> bool:
    """The kernel's rule for mode bits: the first class that fits decides, even when it is the narrowest."""
    mode = stat.S_IMODE(status.st_mode)
    if uid == 0:
        return need != EXECUTE or stat.S_ISDIR(mode | stat.S_IFMT(status.st_mode)) or bool(mode & 0o111)
    if status.st_uid == uid:
        return mode >> 6 & need == need
    if status.st_gid in gids:
        return mode >> 3 & need == need
    return mode & need == need


def _need(path: Path, status: os.stat_result, uid: int, gids: Collection[int], need: int) -> None:
    if not permits(status, uid, gids, need) and not _has_access_list(path):
        raise Unreachable(path, False)


def _has_access_list(path: Path) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False
