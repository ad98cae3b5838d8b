"""What is done about a log file that an agent writes itself, when it is over its cap. Pure.

Invariants: only an ordinary file of the agent's own user with one name is ever cut, never a database and never what is
compressed already; a file is cut while it is open only when every writer appends, since anybody else would go on
writing where the file ended before. Called by capping.py, cutting.py and keeper/watching/capped_files.py.
"""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import NamedTuple

from holdfast import limits

SUFFIX = ".holdfast.zst"  # what was cut away last, beside the file
PARTIAL = SUFFIX + ".partial"
HEAD_BYTES = 16
_NO_LOGS = (
    (b"SQLite format 3\0", "a database"),
    (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", "a database's journal"),
    (b"\x37\x7f\x06\x82", "a database's journal"),
    (b"\x37\x7f\x06\x83", "a database's journal"),
    (b"\x28\xb5\x2f\xfd", "compressed"),
    (b"\x1f\x8b", "compressed"),
    (b"\xfd7zXZ", "compressed"),
    (b"BZh", "compressed"),
    (b"PK\x03\x04", "an archive"),
)


class What(StrEnum):
    """The outcome for one file."""

    CUT = "cut"
    WAITS = "waits"  # for its agent to be stopped
    LEFT = "left"  # it is none that may be cut, or it could not be


class Opener(NamedTuple):
    """One descriptor that somebody may write through."""

    pid: int
    name: str
    appends: bool


def is_ours(name: str) -> bool:
    """Whether a match of a glob is what we put there."""
    return name.endswith((SUFFIX, PARTIAL))


def unfit(status: os.stat_result, uid: int, head: bytes) -> str:
    """Why this file is never cut, one clause; "" when it may be. `head`: its first HEAD_BYTES."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no ordinary file"
    if status.st_uid != uid:
        return "it belongs to another user"
    if status.st_nlink != 1:
        return "it has more than one name"
    return next((f"it is {kind}" for magic, kind in _NO_LOGS if head.startswith(magic)), "")


def waits_for(written: bool | None, openers: list[Opener]) -> str:
    """Why it cannot be cut now, one clause; "" when it can. `written`: the kernel's word that somebody has it open for
    writing, None where it gives none; `openers`: those that were found."""
    if written is False:
        return ""
    other = next((one for one in openers if not one.appends), None)
    if other is not None:
        return f"process {other.pid} ({other.name}) has it open without O_APPEND"
    if written and not openers:
        return "a process that could not be found has it open"
    return ""


def kept_bytes(cap_bytes: int) -> int:
    """How much of its end stays in the file, where the file system can cut the front off."""
    return cap_bytes // limits.CAPPED_TAIL_PART


def shown(count: int) -> str:
    """A size for people."""
    for unit, size in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
