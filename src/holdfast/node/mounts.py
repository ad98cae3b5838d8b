"""Which paths lead into file systems that may stop answering: those behind a network or behind another program.

Invariant: nothing here can be held up. The table of mounts comes from the kernel's memory, and a path is followed only
up to the first such mount, which itself is never touched. Called by keeper/acting/answering.py and
keeper/watching/disk_watch.py.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_LINKS_MAX = 40  # as the kernel
_AUTOMOUNT = "autofs"
_REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "fuse", "fuseblk", "afs", "coda", "ncpfs"),
        *("ceph", "lustre", "gpfs", "beegfs", "gfs2", "ocfs2", "acfs", "orangefs", "pvfs2", "panfs"),
        *("vboxsf", "prl_fs", "vmhgfs"),
    }
)


def read() -> dict[str, str]:
    """Mount point -> type, for mounts that may stop answering; empty on most machines. Raises OSError."""
    found: dict[str, str] = {}
    for line in _TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.partition(" ")[0]
        if len(fields) < 5:
            continue
        point = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4])
        if is_remote(kind) or kind == _AUTOMOUNT:
            found[point] = kind
        else:
            found.pop(point, None)  # mounted over it
    return found


def is_remote(kind: str) -> bool:
    """Whether a file system of this type lives behind a network or in another program."""
    return kind in _REMOTE or kind.startswith("fuse.")


def entered(path: str, remote: dict[str, str], trusted: Collection[str] = ()) -> str:
    """The first mount point of `remote` on the way to `path`, links followed; "" when there is none.

    `trusted`: mounts that are taken as local, such as the one that Holdfast itself lives on.
    """
    if not remote or not path.startswith("/"):
        return ""
    reached, links = "/", 0
    waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    while waiting:
        part = waiting.pop()
        if part == "..":
            reached = os.path.dirname(reached)
            continue
        step = os.path.join(reached, part)
        kind = remote.get(step, "")
        if step not in trusted and (is_remote(kind) or (not kind and remote.get(reached) == _AUTOMOUNT)):
            return step
        try:
            status = os.lstat(step)
            target = os.readlink(step) if stat.S_ISLNK(status.st_mode) else ""
        except OSError:
            return ""
        if target:
            links += 1
            if links > _LINKS_MAX:
                return ""
            reached = "/" if target.startswith("/") else reached
            waiting += [each for each in reversed(target.split("/")) if each not in ("", ".")]
            continue
        reached = step
    return ""
