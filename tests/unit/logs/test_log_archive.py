"""Compressed logs: whole or absent, readable in part, and killed at every step."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import zstandard

from holdfast.home import Home
from holdfast.logs import archive, rotation
from holdfast.logs.archivist import Archivist
from holdfast.logs.index import Index
from holdfast.logs.read import Follower, lines
from holdfast.logs.wanted import AgentWanted, Wanted
from holdfast.spec.model import Logs

S = 1_000_000_000
NOW_NS = 2_000_000 * S


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code may see it."""


def home_with(tmp_path: Path, *contents: bytes) -> Home:
    """Log files with these contents, oldest first, written a minute apart."""
    home = Home(tmp_path)
    home.agent_logs("a").mkdir(parents=True)
    for number, content in enumerate(reversed(contents)):
        path = Path(rotation.path_of(str(home.agent_logs("a")), number))
        path.write_bytes(content)
        at_s = 1_999_900 - 60 * number
        Index(f"{path}.idx", path.stat().st_ino).note((at_s - 30) * S, 0)
        os.utime(path, ns=(at_s * S, at_s * S))
    return home


def tidy(home: Home, logs: Logs | None = None, *, node_bytes: int = 10**12, dies_at: int = 0) -> list[tuple[str, ...]]:
    """One pass, with the logger carrying out what it is asked; `dies_at` 0: not killed. Returns the orders."""
    orders: list[tuple[str, ...]] = []
    steps = 0

    def step(name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == dies_at:
            raise Killed(name)

    def order(*words: object) -> None:
        step("order")
        orders.append(tuple(str(word) for word in words))
        if words[0] == "drop":
            inode, size, mtime_ns = (int(str(word)) for word in words[2:])
            rotation.drop(str(home.agent_logs(str(words[1]))), inode, size, mtime_ns)
            step("dropped")

    settings = Wanted(node_bytes=node_bytes, agents={"a": AgentWanted(logs=logs or Logs(max_files=100))})
    Archivist(home.path, settings, order, step).work(NOW_NS)
    return orders


def names(home: Home, agent: str = "a") -> list[str]:
    return sorted(path.name for path in home.agent_logs(agent).iterdir() if not path.name.endswith(".idx"))


def text(first: int, count: int) -> bytes:
    return b"".join(b"%d %s\n" % (number, b"x" * (number % 50)) for number in range(first, first + count))


@pytest.mark.parametrize("size", [0, 1, archive.FRAME_BYTES - 1, archive.FRAME_BYTES, 3 * archive.FRAME_BYTES + 7])
def test_an_archive_gives_back_every_byte_from_anywhere(size: int, tmp_path: Path) -> None:
    content = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    (tmp_path / "log.1").write_bytes(content)
    target = archive.path_of(str(tmp_path), 1)
    fd = os.open(tmp_path / "log.1", os.O_RDONLY)
    archive.write(fd, b"\1" * 32, target)
    opened = archive.Archive(target)
    assert opened.identity == archive.identity_of(fd)
    os.close(fd)
    assert opened.times() == b"\1" * 32
    assert opened.size == size
    for start in (0, 1, size // 2, size - 1, size, size + 5):
        found, at = b"", max(0, start)
        while piece := opened.read(100_000, at):
            found += piece
            at += len(piece)
        assert found == content[max(0, start) :]
    opened.close()


def test_other_programs_read_archives_too(tmp_path: Path) -> None:
    home = home_with(tmp_path, text(0, 50_000), b"")
    tidy(home)
    packed = home.agent_logs("a") / "old-00000001.zst"
    with packed.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read() == text(0, 50_000)
    if shutil.which("zstd"):
        assert subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout == text(0, 50_000)


def test_a_damaged_archive_is_passed_over_and_set_aside(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n", b"2\n", b"3\n")
    tidy(home)
    first = home.agent_logs("a") / "old-00000001.zst"
    first.write_bytes(first.read_bytes()[:-3])
    assert list(lines(home, "a")) == [b"2", b"3"]
    tidy(home)
    assert names(home) == ["log", "old-00000001.zst.damaged", "old-00000002.zst"]


def test_rotated_files_become_archives_and_lines_stay_in_order(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"one\ntw", b"o\nthr", b"ee\nfour\n")
    tidy(home)
    assert names(home) == ["log", "old-00000001.zst", "old-00000002.zst"]
    assert list(lines(home, "a")) == [b"one", b"two", b"three", b"four"]
    assert list(lines(home, "a", last=2)) == [b"three", b"four"]


def test_time_is_found_in_archives(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n2\n", b"3\n", b"4\n")
    before = [list(lines(home, "a", since_s=since_s, now_at=2_000_000.0)) for since_s in (90, 150, 170, 9999)]
    tidy(home)
    after = [list(lines(home, "a", since_s=since_s, now_at=2_000_000.0)) for since_s in (90, 150, 170, 9999)]
    assert before == after
    assert before[0] == []
    assert before[-1] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("when", range(1, 30))
def test_killed_at_any_step_no_line_is_lost_or_doubled(when: int, tmp_path: Path) -> None:
    parts = [text(first, 100) for first in range(0, 500, 100)]
    home = home_with(tmp_path, *parts)
    expected = b"".join(parts).splitlines()
    with pytest.raises(Killed):
        tidy(home, dies_at=when)
    assert list(lines(home, "a")) == expected, "as it was left"
    tidy(home)
    assert list(lines(home, "a")) == expected
    assert names(home) == ["log", *(f"old-{number:08d}.zst" for number in range(1, 5))]


@pytest.mark.parametrize("when", [1, 3, 5, 6, 7, 8, 9, 10, 15])
def test_a_rotation_between_death_and_the_next_pass_changes_nothing(when: int, tmp_path: Path) -> None:
    home = home_with(tmp_path, text(0, 50), text(50, 50), text(100, 50))
    with pytest.raises(Killed):
        tidy(home, dies_at=when)
    rotation.rotate(str(home.agent_logs("a")), 100)
    (home.agent_logs("a") / "log").write_bytes(text(150, 50))
    assert list(lines(home, "a")) == text(0, 200).splitlines()
    tidy(home)
    assert list(lines(home, "a")) == text(0, 200).splitlines()


def test_following_goes_on_from_a_file_that_was_compressed_meanwhile(tmp_path: Path) -> None:
    home = home_with(tmp_path, *(b"%d\n" % number for number in range(6)))
    follower = Follower(home, "a")
    assert follower.poll() == [b"0"]
    tidy(home)
    found: list[bytes] = []
    while more := follower.poll():
        found += more
    follower.close()
    assert found == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("when", range(1, 12))
def test_the_number_of_files_is_kept_whenever_a_pass_is_killed(when: int, tmp_path: Path) -> None:
    home = home_with(tmp_path, *(b"%d\n" % number for number in range(6)))
    try:
        tidy(home, Logs(max_files=4), dies_at=when)
    except Killed:
        pass
    tidy(home, Logs(max_files=4))
    assert list(lines(home, "a")) == [b"2", b"3", b"4", b"5"], "not one too many"


def test_what_is_too_old_goes_and_an_old_log_is_rotated_first(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n", b"2\n", b"3\n")
    assert ("rotate", "a") in tidy(home, Logs(max_age_s=130.0))
    assert list(lines(home, "a")) == [b"3"]


def test_an_agents_total_deletes_its_oldest_and_says_so(tmp_path: Path) -> None:
    home = home_with(tmp_path, *(random.Random(number).randbytes(3000) for number in range(4)))
    orders = tidy(home, Logs(max_files=100, total_bytes=7500))
    assert names(home) == ["log", "old-00000003.zst"]
    said = next(words for words in orders if words[0] == "say")
    assert said[1] == "a"
    assert "bytes of older log were deleted: its logs are larger than 7500 bytes" in said[2]


def test_the_cap_of_the_node_takes_the_oldest_of_all_agents(tmp_path: Path) -> None:
    home = home_with(tmp_path, *(random.Random(number).randbytes(3000) for number in range(3)))
    (tmp_path / "logs" / "b").mkdir()
    (tmp_path / "logs" / "b" / "log.1").write_bytes(b"young\n")
    orders = tidy(home, node_bytes=7000)
    assert names(home) == ["log", "old-00000002.zst"]
    assert names(home, "b") == ["old-00000001.zst"]
    assert any(words[:2] == ("say", "a") for words in orders)


def test_a_node_full_of_unrotated_logs_has_the_largest_rotated(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"x" * 9000)
    assert tidy(home, node_bytes=100) == [("rotate", "a")]
    assert names(home) == ["log"]
