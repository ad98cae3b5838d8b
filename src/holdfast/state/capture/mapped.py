"""Files that an agent's processes have mapped to write. Such a file changes without any time of it changing: only the
first store into a page after it went to the disk is noted in the file's times, those after it are not.

Invariant: only looks; what cannot be looked at counts as nothing. Called by the worker's snapshot job, for capture.py,
which reads these files again each time, and once more after that.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress


def inodes(pids: Iterable[int]) -> frozenset[int]:
    """Numbers of their inodes, of whatever file system: one too many costs one more reading."""
    found: set[int] = set()
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/maps", "rb") as maps:
            for line in maps:
                fields = line.split(None, 5)  # range, rights, offset, device, inode, path
                if len(fields) > 4 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                    found.add(int(fields[4]))
    return frozenset(found - {0})
