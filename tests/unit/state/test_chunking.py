"""Cutting contents into blobs."""

from __future__ import annotations

import random

import pytest

from holdfast.state.capture.chunking import CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, Cutter, IdList
from holdfast.state.model import Content


def cut(content: bytes, windows: list[int]) -> list[bytes]:
    cutter = Cutter()
    chunks: list[bytes] = []
    at = 0
    for size in windows:
        chunks += cutter.feed(content[at : at + size])
        at += size
    chunks += cutter.feed(content[at:])
    return chunks + cutter.end()


CONTENT = random.Random(7).randbytes(1_500_000) + b"\0" * 900_000 + random.Random(8).randbytes(300_000)


@pytest.mark.parametrize("window", [1, 7, 100_000, 262_144, 262_145, 1_000_000, 2_699_999, 2_700_000, 5_000_000])
def test_the_cuts_are_the_same_whatever_the_windows(window: int) -> None:
    windows = [window] * (len(CONTENT) // window) if window > 1000 else [window] * 500
    chunks = cut(CONTENT, windows)
    assert b"".join(chunks) == CONTENT
    assert chunks == cut(CONTENT, [])


def test_chunks_have_their_bounds_and_an_insertion_moves_few_of_them() -> None:
    chunks = cut(CONTENT, [])
    assert all(CHUNK_MIN_BYTES <= len(chunk) <= CHUNK_MAX_BYTES for chunk in chunks[:-1])
    moved = cut(CONTENT[:700_000] + b"inserted" + CONTENT[700_000:], [])
    assert len(set(moved) - set(chunks)) <= 3


def test_nothing_is_no_chunk() -> None:
    assert cut(b"", []) == []


def listed(count: int, content: Content) -> tuple[IdList, list[bytes]]:
    ids, stored = IdList(content), list[bytes]()
    for number in range(count):
        extent = ids.add(number.to_bytes(16, "big"))
        if extent is not None:
            stored.append(extent)
            ids.stored(b"E" * 15 + bytes([len(stored)]))
    last = ids.finish()
    if last is not None:
        stored.append(last)
        ids.stored(b"E" * 15 + bytes([len(stored)]))
    return ids, stored


@pytest.mark.parametrize(
    ("count", "content", "ends_as", "blobs", "extents"),
    [
        (0, Content.CHUNKS, Content.CHUNKS, 0, []),
        (64, Content.CHUNKS, Content.CHUNKS, 64, []),
        (65, Content.CHUNKS, Content.EXTENTS, 1, [65]),
        (128, Content.CHUNKS, Content.EXTENTS, 1, [128]),
        (130, Content.CHUNKS, Content.EXTENTS, 2, [128, 2]),
        (1, Content.DATABASE, Content.DATABASE, 1, [1]),
        (0, Content.SPARSE, Content.SPARSE, 0, []),
    ],
)
def test_short_lists_stand_in_the_entry_and_long_ones_in_extents(
    count: int, content: Content, ends_as: Content, blobs: int, extents: list[int]
) -> None:
    ids, stored = listed(count, content)
    assert ids.content is ends_as
    assert len(ids.blobs) == blobs
    assert [len(extent) // 16 for extent in stored] == extents
