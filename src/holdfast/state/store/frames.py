"""A frame: several blobs one after another, compressed together. Small files and database pages shrink only so.

What does not shrink is kept as it is, found out on three samples before the whole is tried. Called by the
writer and the reader. The most costly code of a first snapshot. Any setting of zstd gives what every reader reads.
"""

from __future__ import annotations

import threading

import zstandard

LEVEL = 3  # of footers and manifests
SAMPLE_BYTES = 4096
_SAMPLED_FROM_BYTES = 8 * SAMPLE_BYTES  # trying a smaller frame whole costs less than samples
_WORTH = 0.97  # a frame that shrinks by less is read faster as it is
RAW_MAX_BYTES = 512 * 1024 * 1024  # the largest single blob: the list of some million names in one directory

_thread = threading.local()


class Undecodable(Exception):
    """These bytes are no frame of that size."""


def compress(raw: bytes) -> bytes | None:
    """None: it does not shrink enough to be worth it."""
    compressor = getattr(_thread, "compressor", None)
    if compressor is None:
        compressor = _thread.compressor = zstandard.ZstdCompressor(compression_params=_parameters())
    if len(raw) >= _SAMPLED_FROM_BYTES and not _samples_shrink(raw, compressor):
        return None
    packed: bytes = compressor.compress(raw)
    return packed if len(packed) < len(raw) * _WORTH else None


def _samples_shrink(raw: bytes, compressor: zstandard.ZstdCompressor) -> bool:
    for at in (0, len(raw) // 2, len(raw) - SAMPLE_BYTES):
        if len(compressor.compress(raw[at : at + SAMPLE_BYTES])) < SAMPLE_BYTES * _WORTH:
            return True
    return False


def _parameters() -> zstandard.ZstdCompressionParameters:
    """One search per place, with a table as large as a frame's window and matches of six bytes at least.

    On an agent's notes, logs and databases as small as level 3 (1 % larger), for the time of level 1, and read back a
    third faster.
    """
    return zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        window_log=18,  # FRAME_BYTES; zstd widens nothing for a longer blob, which then refers back as far as this
        hash_log=16,
        chain_log=13,
        search_log=1,
        min_match=6,
        target_length=0,
        write_content_size=False,
    )


def decompress(packed: bytes | memoryview, raw_bytes: int) -> bytes:
    """Raises Undecodable: never more memory than the frame's own entry in the footer says."""
    if raw_bytes > RAW_MAX_BYTES:
        raise Undecodable("it claims to be larger than any frame is")
    decompressor = getattr(_thread, "decompressor", None)
    if decompressor is None:
        decompressor = _thread.decompressor = zstandard.ZstdDecompressor()
    try:
        raw: bytes = decompressor.decompress(packed, max_output_size=raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Undecodable(f"it does not decompress ({error})") from None
    if len(raw) != raw_bytes:
        raise Undecodable("it has another length than was written down")
    return raw
