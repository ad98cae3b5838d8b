"""The format of a pack: header, frames, footer, the footer's length, magic. Pure; docs/formats/snapshots.md tells it.

A pack tells by itself what it holds, so every index can be thrown away. Its name is the BLAKE3 of its bytes. Called by
the writer, the index and verification.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import zstandard
from blake3 import blake3

from holdfast.state.model import ID_BYTES, BlobId
from holdfast.state.store import frames
from holdfast.state.store.damage import Damaged
from holdfast.state.store.ids import Keys
from holdfast.state.store.sealing import HEADER_BYTES, LAST_PART, Envelope, Unsealable

MAGIC = b"HFPK"
TAIL = struct.Struct("<I4s")  # length of the footer as stored, magic
_COUNTS = struct.Struct("<II")  # frames, blobs
_FRAME = struct.Struct("<QIIB")  # offset in the pack, stored bytes, raw bytes, 1: compressed
_BLOB = struct.Struct("<16sIIIB")  # id, frame, offset in the frame, length, kind
_SUM_BYTES = 16
_FOOTER_MAX_BYTES = 256 * 1024 * 1024
FRAME_BYTES = 256 * 1024  # target, raw: large enough to compress well, small enough to decode for one page
PACK_BYTES = 8 * 1024 * 1024  # target, stored: one request of an object store, and what is lost to one bad pack

FrameRow = tuple[int, int, int, int]
BlobRow = tuple[BlobId, int, int, int, int]


class BlobKind(IntEnum):
    """What a blob is. All but DATA lie together in frames of their own, so that looking reads no contents."""

    DATA = 0
    TREE = 1  # the entries of a directory
    EXTENT = 2  # a list of ids, or the map of a sparse file


@dataclass(frozen=True, slots=True)
class Footer:
    """What a pack holds. Rows as in `_FRAME` and `_BLOB`."""

    frames: list[FrameRow]
    blobs: list[BlobRow]


def encode_frame(envelope: Envelope, number: int, pieces: Sequence[bytes | memoryview]) -> tuple[bytes, int, int]:
    """The bytes to store, the raw length, 1 if compressed. Runs in any thread."""
    raw = b"".join(pieces)  # of one alone, no copy is made
    packed = frames.compress(raw)
    if packed is None:
        return envelope.seal(number, raw), len(raw), 0
    return envelope.seal(number, packed), len(raw), 1


def decode_frame(envelope: Envelope, number: int, row: FrameRow, stored: bytes | memoryview, pack: str) -> bytes:
    """The raw bytes of a frame. Raises Damaged."""
    try:
        plain = envelope.open(number, stored)
        if row[3]:
            return frames.decompress(plain, row[2])
    except (Unsealable, frames.Undecodable) as error:
        raise Damaged(f"pack {pack}", f"frame {number}: {error}") from None
    if len(plain) != row[2]:
        raise Damaged(f"pack {pack}", f"frame {number} has another length than was written down")
    return bytes(plain)


class PackBuilder:
    """Gathers the frames of one pack in memory; `close` gives its bytes and its name."""

    def __init__(self, keys: Keys, *, sealed: bool, salt: bytes | None = None) -> None:
        self.envelope = Envelope.fresh(MAGIC, keys.seal, sealed=sealed, salt=salt)
        self._sum_key = keys.ids
        self._pieces = [self.envelope.header]
        self.size = HEADER_BYTES
        self.footer = Footer([], [])

    def add_frame(self, stored: bytes, raw_bytes: int, compressed: int) -> None:
        self.footer.frames.append((self.size, len(stored), raw_bytes, compressed))
        self._pieces.append(stored)
        self.size += len(stored)

    def close(self) -> tuple[str, list[bytes]]:
        """Name and bytes, in pieces."""
        footer = seal_footer(self.envelope, self._sum_key, self.footer)
        self._pieces += [footer, TAIL.pack(len(footer), MAGIC)]
        self.size += len(footer) + TAIL.size
        name = blake3()
        for piece in self._pieces:
            name.update(piece)
        return name.hexdigest(ID_BYTES), self._pieces


def seal_footer(envelope: Envelope, sum_key: bytes, footer: Footer) -> bytes:
    plain = b"".join(
        (
            _COUNTS.pack(len(footer.frames), len(footer.blobs)),
            *(_FRAME.pack(*row) for row in footer.frames),
            *(_BLOB.pack(*row) for row in footer.blobs),
        )
    )
    packed = zstandard.ZstdCompressor(level=frames.LEVEL).compress(plain)
    # The sum covers what no seal covers in a pack that is not sealed.
    summed = packed + blake3(envelope.header + packed, key=sum_key).digest(_SUM_BYTES)
    return envelope.seal(LAST_PART, summed)


def read_tail(tail: bytes, size: int, pack: str) -> int:
    """Where the footer begins, from the pack's last bytes and its size. Raises Damaged."""
    if len(tail) < TAIL.size or size < HEADER_BYTES + TAIL.size:
        raise Damaged(f"pack {pack}", "it is too short")
    length, magic = TAIL.unpack(tail[-TAIL.size :])
    begin: int = size - TAIL.size - length
    if magic != MAGIC or begin < HEADER_BYTES or length > _FOOTER_MAX_BYTES:
        raise Damaged(f"pack {pack}", "it does not end as it should: it was cut off or changed")
    return begin


def read_footer(header: bytes, stored: bytes, keys: Keys, pack: str) -> tuple[Envelope, Footer]:
    """Raises Damaged. Every row is checked to lie within the pack and within its frame."""
    try:
        envelope = Envelope.of(header, MAGIC, keys.seal)
        summed = bytes(envelope.open(LAST_PART, stored))
        packed = summed[:-_SUM_BYTES]
        if blake3(envelope.header + packed, key=keys.ids).digest(_SUM_BYTES) != summed[-_SUM_BYTES:]:
            raise Unsealable("its footer does not match its sum")
        length = zstandard.get_frame_parameters(packed).content_size
        if length > _FOOTER_MAX_BYTES:
            raise Unsealable("its footer claims to be too large")
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=length)
        return envelope, _parse_footer(plain)
    except (Unsealable, zstandard.ZstdError, struct.error) as error:
        raise Damaged(f"pack {pack}", str(error)) from None


def _parse_footer(plain: bytes) -> Footer:
    frame_count, blob_count = _COUNTS.unpack_from(plain)
    blobs_at = _COUNTS.size + frame_count * _FRAME.size
    if len(plain) != blobs_at + blob_count * _BLOB.size:
        raise Unsealable("its footer has another length than it says")
    view = memoryview(plain)
    footer = Footer(
        frames=list(_FRAME.iter_unpack(view[_COUNTS.size : blobs_at])), blobs=list(_BLOB.iter_unpack(view[blobs_at:]))
    )
    for _id, frame, inner, size, _kind in footer.blobs:
        if frame >= frame_count or inner + size > footer.frames[frame][2]:
            raise Unsealable("its footer names a blob outside of its frames")
    return footer
