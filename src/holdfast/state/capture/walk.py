"""What one directory holds, read with one pass of stat and kept as packed bytes.

Invariant: equal signatures mean that nothing the file system tells about any entry differs (inode, size, times, mode,
owner, name), in the order the directory gives them. No object per file outlives the pass. Called by capture.py, within
the agent's rights.
"""

from __future__ import annotations

import os
import stat
import struct

from msgspec import Struct

from holdfast.state.restore.asides import is_aside

_COUNT = struct.Struct("<I")
_FACTS = struct.Struct("<QQqqIII")  # inode, size, mtime_ns, ctime_ns, mode, uid, gid
_pack = _FACTS.pack
_TYPE_BITS = 0o170000
_CTIME = struct.Struct("<q")
_CTIME_AT = 24
_FINE_NS = 50_000_000  # the kernel's clock for files ticks every 1 to 10 ms
_COARSE_NS = 2_000_000_000  # of file systems that keep whole seconds, or every second one
_AHEAD_NS = 3_600_000_000_000  # a time so far ahead is from before the clock was set back: it is not "just now"


class Listing(Struct, frozen=True):
    """One directory as seen."""

    signature: bytes
    directories: tuple[bytes, ...]  # names of those in it, sorted


def scan(fd: int) -> Listing:
    """Read the open directory, but for what a restore laid there. What vanishes meanwhile is not there; OSError."""
    return look(fd, [name for name in os.listdir(fd) if ".holdfast-" not in name or not is_aside(os.fsencode(name))])


def look(fd: int, names: list[str]) -> Listing:
    """What these names in the open directory are; those that are not there are passed over."""
    facts: list[bytes] = []
    directories: list[bytes] = []
    gone: set[str] = set()
    lstat = os.lstat
    for name in names:
        try:
            st = lstat(name, dir_fd=fd)
        except FileNotFoundError:
            gone.add(name)
            continue
        mode = st.st_mode
        facts.append(_pack(st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns, mode, st.st_uid, st.st_gid))
        if mode & _TYPE_BITS == stat.S_IFDIR:
            directories.append(os.fsencode(name))
    if gone:
        names = [name for name in names if name not in gone]
    directories.sort()
    return Listing(b"".join((_COUNT.pack(len(names)), *facts, os.fsencode("\0".join(names)))), tuple(directories))


def entries(signature: bytes) -> dict[bytes, bytes]:
    """Facts by name, in the order the directory gave them. Names are never empty and hold no zero byte."""
    count = int(_COUNT.unpack_from(signature)[0])
    if not count:
        return {}
    names_at = _COUNT.size + count * _FACTS.size
    names = signature[names_at:].split(b"\0")
    return {
        name: signature[at : at + _FACTS.size]
        for name, at in zip(names, range(_COUNT.size, names_at, _FACTS.size), strict=True)
    }


def mode_of(facts: bytes) -> int:
    """Type and permission bits."""
    return int(_FACTS.unpack(facts)[4])


def inode_and_size(facts: bytes) -> tuple[int, int]:
    inode, size, *_ = _FACTS.unpack(facts)
    return inode, size


def distrust(signature: bytes, names: set[bytes], since_ns: int, now_ns: int) -> bytes:
    """The signature to keep: entries that changed so shortly before they were read that a later change may look the
    same, and those in `names`, will not fit the next time, and so are read again.

    Only the time of the inode counts: no program can set it. `since_ns`: when reading began, wall clock.
    """
    fixed: bytearray | None = None
    names_at = _COUNT.size + int(_COUNT.unpack_from(signature)[0]) * _FACTS.size
    for at in range(_COUNT.size, names_at, _FACTS.size):
        changed_ns = _CTIME.unpack_from(signature, at + _CTIME_AT)[0]
        slack_ns = _FINE_NS if changed_ns % 1_000_000_000 else _COARSE_NS
        if since_ns - slack_ns <= changed_ns <= now_ns + _AHEAD_NS:
            fixed = fixed or bytearray(signature)
            _CTIME.pack_into(fixed, at + _CTIME_AT, 0)
    if names:
        fixed = fixed or bytearray(signature)
        for index, name in enumerate(signature[names_at:].split(b"\0")):
            if name in names:
                _CTIME.pack_into(fixed, _COUNT.size + index * _FACTS.size + _CTIME_AT, 0)
    return signature if fixed is None else bytes(fixed)
