"""Cutting real files: nothing is lost, killed at any step, on both kinds of file systems and on a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from holdfast.logs import capped, cutting, own_caps, writers
from holdfast.logs.cutting import Cut, Unfit

CAP = 100_000
LINES = [b"line %07d\n" % number for number in range(20_000)]  # 260,000 bytes


@pytest.fixture(params=["collapse", "empty"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways; the second one as on a file system that cannot take the front out."""
    if request.param == "empty":
        monkeypatch.setattr(cutting, "_collapse", lambda fd, count: False)
    return str(request.param)


def log(directory: Path, lines: list[bytes] = LINES, name: str = "a.log") -> Path:
    path = directory / name
    path.write_bytes(b"".join(lines))
    return path


def cut(path: Path, step: cutting.Step = lambda name: None) -> Cut | None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        return cutting.cut(directory, path.name, os.geteuid(), CAP, step)
    finally:
        os.close(directory)


def kept(path: Path) -> bytes:
    packed = path.with_name(path.name + capped.SUFFIX)
    with open(packed, "rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


def collapses(directory: Path) -> bool:
    path = log(directory, name="probe")
    fd = os.open(path, os.O_RDWR)
    try:
        return cutting._collapse(fd, os.fstatvfs(fd).f_frsize)
    finally:
        os.close(fd)
        path.unlink()


def test_a_file_within_its_cap_is_left_as_it_is(tmp_path: Path) -> None:
    path = log(tmp_path, LINES[:100])
    assert cut(path) is None
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_cut_away_is_kept_and_nothing_is_missing_in_between(tmp_path: Path, how: str) -> None:
    path, whole = log(tmp_path), b"".join(LINES)
    done = cut(path)
    assert done is not None
    rest = path.read_bytes()
    assert len(rest) <= CAP
    assert whole.endswith(kept(path) + rest)
    assert len(kept(path)) == done.kept_bytes >= CAP
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log", "a.log.holdfast.zst"]
    if how == "empty" or not collapses(tmp_path):
        assert done.emptied
    else:
        assert rest, "the newest lines stay in the file"


def test_what_is_kept_replaces_what_was_kept_before(tmp_path: Path, how: str) -> None:
    path = log(tmp_path)
    cut(path)
    log(tmp_path, [b"new " + line for line in LINES])
    cut(path)
    assert kept(path).count(b"new line") > 1000
    assert kept(path).startswith(b"new line") or b"\nline" not in kept(path)


def test_writers_who_append_go_on_and_lose_nothing_where_the_front_is_taken_out(tmp_path: Path) -> None:
    if not collapses(tmp_path):
        pytest.skip("this file system cannot take the front out of a file")
    path = log(tmp_path, [])
    stop, written = threading.Event(), []

    def write() -> None:
        with open(path, "ab", buffering=0) as file:
            number = 0
            while not stop.is_set() or path.stat().st_size <= CAP:
                file.write(b"%07d\n" % number)
                written.append(number)
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    gathered = b""
    try:
        for _ in range(5):
            while path.stat().st_size <= CAP:
                pass
            done = cut(path)
            assert done is not None
            assert not done.emptied
            # On a machine so busy that it grew past twice its cap, what is kept begins later.
            gathered = gathered + kept(path) if done.kept_bytes == done.cut_bytes else kept(path)
    finally:
        stop.set()
        writer.join()
    gathered += path.read_bytes()
    numbers = [int(line) for line in gathered.split(b"\n")[1:-1]]
    assert numbers == list(range(numbers[0], written[-1] + 1))


STEPS = ["begun", "piece", "synced", "kept", "collapse", "empty", "cut"]
KILLED = """
import os, signal, sys
from holdfast.logs import cutting
path, step, how = sys.argv[1:]
if how == "empty":
    cutting._collapse = lambda fd, count: False
directory = os.open(os.path.dirname(path), os.O_RDONLY)
die = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None
cutting.cut(directory, os.path.basename(path), os.geteuid(), 100_000, die)
"""


@pytest.mark.parametrize("way", ["collapse", "empty"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_no_line_is_lost_and_the_next_one_finishes(tmp_path: Path, step: str, way: str) -> None:
    if step == "empty" and way == "collapse" and collapses(tmp_path):
        pytest.skip("this step is one of the other way")
    path, whole = log(tmp_path), b"".join(LINES)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), step, way], check=False)
    assert done.returncode == -9
    rest = path.read_bytes()
    assert rest == whole or whole.endswith(kept(path) + rest)
    cut(path)
    assert whole.endswith(kept(path) + path.read_bytes())
    assert path.stat().st_size <= CAP


def test_a_full_disk_does_not_keep_a_file_from_being_cut(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: cutting._Store, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(cutting._Store, "add_piece", full)
    path = log(tmp_path)
    done = cut(path)
    assert done is not None
    assert done.no_room
    assert done.kept_bytes == 0
    assert path.stat().st_size <= CAP
    assert list(tmp_path.iterdir()) == [path], "nothing half-written is left"


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Path]:
    """A file that an agent would like us to overwrite."""
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    yield treasure
    assert treasure.read_text() == "gold"


def test_no_link_is_followed_at_any_of_its_names(tmp_path: Path, planted: Path, how: str) -> None:
    (tmp_path / "a.log.holdfast.zst.partial").symlink_to(planted)
    (tmp_path / "a.log.holdfast.zst").symlink_to(planted)
    path = log(tmp_path)
    assert cut(path) is not None
    link = tmp_path / "link.log"
    link.symlink_to(planted)
    with pytest.raises(OSError):
        cut(link)


def test_databases_and_files_with_two_names_are_refused(tmp_path: Path) -> None:
    base = log(tmp_path, [b"SQLite format 3\0", b"x" * 2 * CAP], "a.db")
    with pytest.raises(Unfit, match="database"):
        cut(base)
    path = log(tmp_path)
    os.link(path, tmp_path / "other")
    with pytest.raises(Unfit, match="more than one name"):
        cut(path)


def test_the_kernel_tells_whether_a_file_is_written_and_proc_tells_how(tmp_path: Path) -> None:
    path = log(tmp_path)
    fd = os.open(path, os.O_RDONLY)
    identity = (os.fstat(fd).st_dev, os.fstat(fd).st_ino)
    held = "import sys; file = open(sys.argv[1], sys.argv[2]); print(flush=True); sys.stdin.read()"
    try:
        if writers.is_written(fd) is None:
            pytest.skip("this file system gives no leases")
        assert writers.is_written(fd) is False
        for mode, appends in (("a", True), ("r+", False)):
            with subprocess.Popen(
                [sys.executable, "-c", held, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                assert writers.is_written(fd) is True
                found = writers.find({identity: path.name}, {os.geteuid()})[identity]
                assert [(one.pid, one.appends) for one in found] == [(process.pid, appends)]
                process.communicate()
        assert writers.is_written(fd) is False
    finally:
        os.close(fd)


def test_holdfasts_own_logs_are_cut_too(tmp_path: Path) -> None:
    path = log(tmp_path, name="keeper.log")
    other = log(tmp_path, name="crash.txt")
    own_caps.keep(tmp_path, CAP)
    assert path.stat().st_size <= CAP
    assert other.stat().st_size == len(b"".join(LINES))
