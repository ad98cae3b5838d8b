"""Rotation by rename, and killed at every step of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.logs import index, rotation
from holdfast.logs.capture import Capture

LINE = b"line %06d\n"


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code may see it."""


def dies_at(number: int) -> object:
    counted = 0

    def step(name: str) -> None:
        nonlocal counted
        counted += 1
        if counted == number:
            raise Killed(name)

    return step


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.glob("log*")) if path.suffix != ".idx"}


def test_files_move_up_and_the_oldest_goes(tmp_path: Path) -> None:
    for turn in range(5):
        (tmp_path / "log").write_bytes(b"%d" % turn)
        rotation.rotate(str(tmp_path), 3)
    assert files_of(tmp_path) == {"log.1": b"4", "log.2": b"3"}


def test_a_single_file_is_simply_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"0")
    rotation.rotate(str(tmp_path), 1)
    assert files_of(tmp_path) == {}


def test_a_rotation_fills_a_gap_and_moves_nothing_behind_it(tmp_path: Path) -> None:
    for name in ("log", "log.1", "log.3"):
        (tmp_path / name).write_bytes(name.encode())
    rotation.rotate(str(tmp_path), 5)
    assert files_of(tmp_path) == {"log.1": b"log", "log.2": b"log.1", "log.3": b"log.3"}


def test_files_beyond_the_number_kept_are_removed(tmp_path: Path) -> None:
    for name in ("log", "log.1", "log.4", "log.4.idx", "log.12", "log.x", "logbook"):
        (tmp_path / name).write_bytes(b"")
    rotation.trim(str(tmp_path), 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.x", "logbook"]


def drain(capture: Capture, fifo: int) -> None:
    while capture.turn(fifo, 1, 1.0):
        pass


@pytest.mark.parametrize("splices", [True, False], ids=["splice", "copy"])
@pytest.mark.parametrize("when", range(1, 28))
def test_killed_at_any_step_no_line_is_lost_or_torn(when: int, splices: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fifo = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    devnull = os.open(os.devnull, os.O_WRONLY)
    written = b""
    step = dies_at(when)
    capture = Capture(str(tmp_path), 1000, 100, devnull, step)  # type: ignore[arg-type]
    capture.splices &= splices
    died = False
    try:
        for number in range(400):
            os.write(fifo, LINE % number)
            written += LINE % number
            if number % 7 == 0:
                drain(capture, fifo)
    except Killed:
        died = True
    capture.close()
    assert died, "fewer steps than thought"
    again = Capture(str(tmp_path), 1000, 100, devnull, lambda name: None)
    drain(again, fifo)
    more = b"".join(LINE % number for number in range(500, 700))
    os.write(fifo, more)
    drain(again, fifo)
    again.close()
    names = [f"log.{number}" for number in range(99, 0, -1)] + ["log"]
    kept = files_of(tmp_path)
    assert b"".join(kept.get(name, b"") for name in names) == written + more
    assert all(len(content) <= 1000 for content in kept.values())
    for path in tmp_path.glob("*.idx"):
        with path.open("rb") as opened:
            assert index.belongs_to(opened.fileno()) == path.with_suffix("").stat().st_ino
    os.close(fifo)
    os.close(devnull)


@pytest.mark.parametrize("when", range(1, 60))
def test_killed_at_any_step_the_disk_stays_bounded(when: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fifo = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    devnull = os.open(os.devnull, os.O_WRONLY)
    for life in range(4):
        capture = Capture(str(tmp_path), 500, 3, devnull, dies_at(when + life))  # type: ignore[arg-type]
        try:
            for number in range(300):
                os.write(fifo, LINE % number)
                drain(capture, fifo)
        except Killed:
            pass
        capture.close()
        kept = files_of(tmp_path)
        assert len(kept) <= 3
        assert sum(len(content) for content in kept.values()) <= 1500
    os.close(fifo)
    os.close(devnull)
