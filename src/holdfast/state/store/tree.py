"""Directories as blobs: the list of entries, sorted by name, and the lists of ids that long contents are made of.

Invariant: equal directories are equal bytes, so an unchanged directory has the id it had. What is decoded was checked
against its id before; even so a name that could lead out of its directory is refused. Pure. Called by capture, by
restoring and by everything that looks into a snapshot.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from holdfast.state.model import ID_BYTES, Entry, Kind

IDS_IN_EXTENT = 128  # a list of 2 KiB: an append to a large file writes one of them anew
CHUNKS_MAX = 64  # ids in an entry itself; longer contents have extents

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Entry])
_SPAN = struct.Struct("<QQ")


class BadTree(ValueError):
    """The bytes are no directory of ours; str() says why."""


def encode(entries: Iterable[Entry]) -> bytes:
    """The directory's blob. Two entries of one name are a mistake of the caller (ValueError)."""
    ordered = sorted(entries, key=lambda entry: entry.name)
    for one, following in pairwise(ordered):
        if one.name == following.name:
            raise ValueError(f"two entries named {one.name!r}")
    return _ENCODER.encode(ordered)


def decode(data: bytes) -> list[Entry]:
    """The entries of a directory's blob, sorted by name. Raises BadTree."""
    try:
        entries = _DECODER.decode(data)
    except (msgspec.DecodeError, ValueError) as e:
        raise BadTree(f"not a directory: {e}") from e
    last = b""
    for entry in entries:
        _check(entry)
        if entry.name <= last:
            raise BadTree(f"names out of order at {entry.name!r}")
        last = entry.name
    return entries


def _check(entry: Entry) -> None:
    name = entry.name
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise BadTree(f"no name of a file: {name!r}")
    if not 0 <= entry.mode <= 0o7777 or entry.size < 0:
        raise BadTree(f"impossible mode or size of {name!r}")
    if any(len(blob) != ID_BYTES for blob in entry.blobs):
        raise BadTree(f"{name!r} names blobs by ids of the wrong length")
    if entry.kind is Kind.DIRECTORY and len(entry.blobs) != 1:
        raise BadTree(f"directory {name!r} has {len(entry.blobs)} blobs")


def join_ids(ids: Sequence[bytes]) -> bytes:
    """One extent's blob: the ids behind each other."""
    return b"".join(ids)


def split_ids(extent: bytes) -> list[bytes]:
    """The ids of one extent's blob. Raises BadTree."""
    if len(extent) % ID_BYTES:
        raise BadTree("a list of blobs is cut off")
    return [extent[at : at + ID_BYTES] for at in range(0, len(extent), ID_BYTES)]


def extents(ids: Iterable[bytes]) -> Iterator[bytes]:
    """The extents' blobs for a content of these blobs, in order; holds one extent's ids at a time."""
    gathered: list[bytes] = []
    for one in ids:
        gathered.append(one)
        if len(gathered) == IDS_IN_EXTENT:
            yield join_ids(gathered)
            gathered = []
    if gathered:
        yield join_ids(gathered)


def join_spans(spans: Iterable[tuple[int, int]]) -> bytes:
    """The map of a sparse file: where its data lies, as (offset, length) in bytes, ascending."""
    return b"".join(_SPAN.pack(offset, length) for offset, length in spans)


def split_spans(data: bytes) -> list[tuple[int, int]]:
    """The map of a sparse file. Raises BadTree, also where spans overlap or run backwards."""
    if len(data) % _SPAN.size:
        raise BadTree("the map of a sparse file is cut off")
    spans = [(int(offset), int(length)) for offset, length in _SPAN.iter_unpack(data)]
    end = 0
    for offset, length in spans:
        if offset < end or length <= 0:
            raise BadTree("the map of a sparse file runs backwards")
        end = offset + length
    return spans
