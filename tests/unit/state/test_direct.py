"""Large files past the page cache: the bytes are the same wherever and however they can be written."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.state.restore.direct import Direct

_MB = 1024 * 1024


def _write(path: Path, content: bytes, writer: Direct, chance: random.Random) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if not writer.begin(fd):
            pytest.skip("this file system writes nothing past its cache")
        at = 0
        while at < len(content):
            length = chance.choice((1, 4096, 70_000, 300_000, 2 * _MB))
            writer.add(content[at : at + length])
            at += length
        writer.end()
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, _MB - 1, _MB, _MB + 1, 3 * _MB + 12_345])
def test_every_size_arrives_whole(tmp_path: Path, size: int) -> None:
    chance, writer = random.Random(size), Direct()
    for number in range(3):  # one after the other by the same writer
        content = chance.randbytes(size)
        _write(tmp_path / str(number), content, writer, chance)
        assert (tmp_path / str(number)).read_bytes() == content


def _refusing(real: Callable[[int, memoryview], int], fails_at: int) -> Callable[[int, memoryview], int]:
    """A file system that says at a certain write that it cannot."""
    calls = 0

    def write(fd: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(errno.EINVAL, "not like this")
        return real(fd, data)

    return write


def _short(real: Callable[[int, memoryview], int]) -> Callable[[int, memoryview], int]:
    """A disk that takes less than it was given, and odd lengths."""
    return lambda fd, data: real(fd, data[: max(1, len(data) * 2 // 3 + 1)]) if len(data) > 8192 else real(fd, data)


@pytest.mark.parametrize("how", ["refused at once", "refused later", "taken in parts"])
def test_what_cannot_be_written_so_goes_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    chance, content = random.Random(3), random.Random(4).randbytes(3 * _MB + 777)
    real = os.write
    write = _short(real) if how == "taken in parts" else _refusing(real, 1 if how == "refused at once" else 2)
    monkeypatch.setattr(os, "write", write)
    _write(tmp_path / "file", content, Direct(), chance)
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == content
