"""What a process writes into a file through memory changes no time of it, and is in the next snapshot all the same."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.state.capture import mapped
from tests.harness.captures import Home
from tests.unit.state.test_capture import age


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """On a disk: a file system in memory notes no stores at all."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
        yield Path(directory)


def ours() -> frozenset[int]:
    return mapped.inodes([os.getpid()])


def test_what_is_mapped_to_write_is_found_and_nothing_else(work: Path) -> None:
    for name in ("written", "read", "private"):
        (work / name).write_bytes(bytes(4096))
    before = ours()
    with (work / "written").open("r+b") as a, (work / "read").open("rb") as b, (work / "private").open("r+b") as c:
        maps = (
            mmap.mmap(a.fileno(), 4096),
            mmap.mmap(b.fileno(), 4096, access=mmap.ACCESS_READ),
            mmap.mmap(c.fileno(), 4096, access=mmap.ACCESS_COPY),
        )
        assert ours() - before == {(work / "written").stat().st_ino}
        for one in maps:
            one.close()
    assert mapped.inodes([os.getpid(), 2**22 + 1]) == ours()


def test_a_store_that_changes_no_time_is_in_the_next_snapshot(tmp_path: Path, work: Path) -> None:
    home = Home(tmp_path / "home")
    (work / "m").write_bytes(bytes(8192))
    with (work / "m").open("r+b") as file, closing(mmap.mmap(file.fileno(), 8192)) as memory:
        memory[0:1] = b"A"
        age(work / "m")
        assert home.content(home.snapshot(work, mapped=ours), "m")[:2] == b"A\0"
        then = (work / "m").stat()
        memory[1:2] = b"B"
        if (work / "m").stat().st_ctime_ns != then.st_ctime_ns:
            pytest.skip("the kernel has sent the page to the disk just now, and noted the store")
        assert home.content(home.snapshot(work, mapped=ours), "m")[:2] == b"AB"
        assert home.take(work, mapped=ours).snapshot is None
        memory[2:3] = b"C"
    assert home.content(home.snapshot(work, mapped=ours), "m")[:3] == b"ABC"  # no longer mapped: looked at once more


def test_large_ones_are_not_read_each_time(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    (work / "m").write_bytes(bytes(8192))
    monkeypatch.setattr(limits, "SNAPSHOT_REREAD_BYTES", 8191)
    with (work / "m").open("r+b") as file, closing(mmap.mmap(file.fileno(), 8192)):
        age(work / "m")
        assert home.take(work, mapped=ours).bytes_read == 8192
        assert home.take(work, mapped=ours).bytes_read == 0
