"""One agent's bytes on good and bad disks, without a process around it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.logs import capture as capture_module
from holdfast.logs.capture import Capture


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[int]:
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    yield fd
    os.close(fd)


@pytest.fixture
def devnull() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_WRONLY)
    yield fd
    os.close(fd)


def begun(directory: Path, devnull: int) -> Capture:
    return Capture(str(directory), 1_000_000, 5, devnull, lambda name: None)


def full_disk(monkeypatch: pytest.MonkeyPatch, devnull: int, number: int = errno.ENOSPC) -> None:
    """Every byte to a log is refused; /dev/null takes all."""
    splice = os.splice

    def refuse(source: int, target: int, count: int, **options: int) -> int:
        if target == devnull:
            return splice(source, target, count, **options)
        raise OSError(number, os.strerror(number))

    def no_write(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(capture_module.os, "splice", refuse)
    monkeypatch.setattr(capture_module.os, "write", no_write)


@pytest.mark.parametrize("splices", [True, False])
def test_what_a_full_disk_refuses_is_counted_told_and_the_rest_is_kept(
    splices: bool, tmp_path: Path, fifo: int, devnull: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = begun(tmp_path, devnull)
    capture.splices = splices
    write = os.write
    write(fifo, b"kept, and no newline")
    assert capture.turn(fifo, 1, 100.0) == 20
    with monkeypatch.context() as patch:
        full_disk(patch, devnull)
        for turn in range(3):
            write(fifo, b"0123456789")
            capture.turn(fifo, 1, 100.0 + turn)
        state = json.loads((tmp_path / "state.json").read_bytes())
        assert (state["dropped_bytes"], state["reason"]) == (20, "disk full"), "told while it lasts"
    write(fifo, b"after\n")
    capture.turn(fifo, 1, 110.0)
    capture.close()
    assert (tmp_path / "log").read_bytes() == (b"kept, and no newline\nholdfast: 30 bytes dropped, disk full\nafter\n")
    state = json.loads((tmp_path / "state.json").read_bytes())
    assert (state["dropped_bytes"], state["pending_bytes"], state["reason"]) == (30, 0, "")


def test_the_loss_is_told_once_there_is_space_even_when_the_agent_is_silent(
    tmp_path: Path, fifo: int, devnull: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = begun(tmp_path, devnull)
    os.write(fifo, b"gone\n")
    with monkeypatch.context() as patch:
        full_disk(patch, devnull, errno.EROFS)
        capture.turn(fifo, 1, 100.0)
    assert capture.retry_mono == 101.0
    assert not capture.retry(100.5, 1)
    assert capture.retry(101.5, 1)
    assert capture.retry_mono is None
    assert (tmp_path / "log").read_bytes() == b"holdfast: 5 bytes dropped, Read-only file system\n"
    capture.close()


def test_a_logger_killed_while_dropping_leaves_its_count_to_the_next(tmp_path: Path, fifo: int, devnull: int) -> None:
    (tmp_path / "state.json").write_bytes(
        b'{"version":1,"dropped_bytes":700,"pending_bytes":70,"reason":"disk full","changed_at":1.000}\n'
    )
    capture = begun(tmp_path, devnull)
    assert capture.retry(5.0, 1)
    assert (tmp_path / "log").read_bytes() == b"holdfast: 70 bytes dropped, disk full\n"
    assert json.loads((tmp_path / "state.json").read_bytes())["dropped_bytes"] == 700
    capture.close()


def test_where_splice_is_refused_bytes_are_copied(
    tmp_path: Path, fifo: int, devnull: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(capture_module.os, "splice", refuse)
    capture = begun(tmp_path, devnull)
    os.write(fifo, b"x" * 5000)
    assert capture.turn(fifo, 1, 1.0) == 5000
    assert capture.turn(fifo, 1, 1.0) == 0
    assert (tmp_path / "log").stat().st_size == 5000
    capture.close()


def test_a_log_that_was_emptied_or_removed_by_hand_goes_on(tmp_path: Path, fifo: int, devnull: int) -> None:
    capture = begun(tmp_path, devnull)
    os.write(fifo, b"1\n")
    capture.turn(fifo, 1, 1.0)
    os.truncate(tmp_path / "log", 0)
    os.write(fifo, b"2\n")
    capture.turn(fifo, 1, 1.0)
    assert (tmp_path / "log").read_bytes() == b"2\n"
    (tmp_path / "log").unlink()
    capture.check_file()
    os.write(fifo, b"3\n")
    capture.turn(fifo, 1, 1.0)
    assert (tmp_path / "log").read_bytes() == b"3\n"
    capture.close()


def test_a_log_that_is_no_regular_file_is_not_written(tmp_path: Path, fifo: int, devnull: int) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    capture = begun(tmp_path, devnull)
    os.write(fifo, b"1\n")
    assert capture.turn(fifo, 1, 1.0) == 2
    assert (tmp_path / "target").read_bytes() == b""
    assert json.loads((tmp_path / "state.json").read_bytes())["dropped_bytes"] == 0, "counted with the next second"
    capture.close()


def test_the_state_file_has_one_length_whatever_it_says(tmp_path: Path, devnull: int) -> None:
    begun(tmp_path, devnull)
    state = (tmp_path / "state.json").read_bytes()
    assert len(state) == 256
    assert state.endswith(b"\n")
    assert json.loads(state)["version"] == 1
