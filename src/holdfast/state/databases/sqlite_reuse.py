"""Which pieces of a database may differ from those of its last capture. Pure.

Two proofs that a piece is the same. The database file was not written since: then only what came from the log, then or
now, can differ. Or the same log has gone on since (its salts, and the checksum of the last frame known then, which
vouches for every frame before it): then whatever checkpoints wrote into the database file stands in that log.
Without a proof everything is read; then stretches of several pieces are known again by their sums. Called by
database.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from blake3 import blake3
from msgspec import Struct

from holdfast.state.databases.sqlite_image import PIECE_BYTES

STRETCH_PIECES = 2  # more are hashed little faster, and more often one of them differs
STRETCH_BYTES = STRETCH_PIECES * PIECE_BYTES  # 10 MB of sums for a database of 10 GB
SUM_BYTES = 16
_UNKNOWN = bytes(SUM_BYTES)


class Trace(Struct, frozen=True, array_like=True):
    """What a capture leaves for the next one, so that it costs what was written since. Goes with its pieces' ids.

    `changed`: size, mtime_ns, ctime_ns of the database file before it was read. `fresh`: it had been written so lately
    that a further write might not have changed them.
    """

    device: int
    inode: int
    changed: tuple[int, ...]
    fresh: bool
    page_size: int
    size: int  # of the image, bytes
    salts: bytes = b""  # generation of the write-ahead log; empty without one
    frames: int = 0
    backfilled: int = 0
    seal: bytes = b""  # checksum of the last frame
    touched: bytes = b""  # numbers of the pieces that the log holds pages of; see `numbers`
    sums: bytes = b""  # of each stretch of the image; zeros, or too short: not known


def numbers(packed: bytes) -> list[int]:
    found = array("I")
    found.frombytes(packed)
    return found.tolist()


def packed(pieces: list[int]) -> bytes:
    return array("I", pieces).tobytes()


def differing(
    before: Trace | None, now: Trace, seal_then: bytes, since: Callable[[int], list[int]]
) -> list[int] | None:
    """Pieces of `now` to read, in order; None: all of them.

    `seal_then`: what stands in today's log where the last frame of `before` ended. `since`: pieces that the frames
    after a given one hold pages of.
    """
    if before is None or (before.device, before.inode, before.page_size) != (now.device, now.inode, now.page_size):
        return None
    same = before.changed == now.changed
    went_on = bool(now.salts) and before.salts == now.salts and now.frames >= before.frames and seal_then == before.seal
    if went_on and (same or now.backfilled > before.backfilled):
        differ = set(since(before.frames))
    elif same and not before.fresh:
        differ = set(numbers(now.touched)) | set(numbers(before.touched))
    else:
        return None
    count = -(-now.size // PIECE_BYTES)
    if before.size != now.size:  # where one of the two ends, pieces are cut differently or are new
        differ.update(range(min(before.size, now.size) // PIECE_BYTES, count))
    return sorted(piece for piece in differ if piece < count)


def sum_of(stretch: bytes | memoryview) -> bytes:
    return blake3(stretch).digest(SUM_BYTES)


def is_same(before: Trace, number: int, found: bytes) -> bool:
    """Whether a stretch is the one of that capture, by its sum: then its length is as well, and so are its pieces."""
    at = number * SUM_BYTES
    return found == before.sums[at : at + SUM_BYTES]


def carried(before: Trace, size: int, read: list[int]) -> bytes:
    """The sums that still hold for an image of `size` of which only the pieces in `read` may differ."""
    if not before.sums:
        return b""
    sums = bytearray(before.sums[: -(-size // STRETCH_BYTES) * SUM_BYTES])
    if size != before.size:  # the stretch in which one of the two ends has another length
        del sums[min(size, before.size) // STRETCH_BYTES * SUM_BYTES :]
    for number in {piece // STRETCH_PIECES for piece in read}:
        at = number * SUM_BYTES
        if at < len(sums):
            sums[at : at + SUM_BYTES] = _UNKNOWN
    return bytes(sums)
