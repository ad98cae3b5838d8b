"""Reading logs: order, time, number of lines, long lines, bytes that are no text, following through rotation."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.home import Home
from holdfast.logs import rotation
from holdfast.logs.index import Index
from holdfast.logs.read import Dropped, Follower, dropped, lines, tail

S = 1_000_000_000


def home_with(tmp_path: Path, *contents: bytes) -> Home:
    """Log files with these contents, oldest first."""
    home = Home(tmp_path)
    home.agent_logs("a").mkdir(parents=True)
    for number, content in enumerate(reversed(contents)):
        Path(rotation.path_of(str(home.agent_logs("a")), number)).write_bytes(content)
    return home


def test_files_are_read_oldest_first_and_cut_lines_are_whole_again(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"one\ntw", b"o\nthr", b"ee\nfour")
    assert list(lines(home, "a")) == [b"one", b"two", b"three", b"four"]


def test_more_than_nine_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    home = home_with(tmp_path, *(b"%d\n" % number for number in range(14)))
    assert list(lines(home, "a")) == [b"%d" % number for number in range(14)]


def test_a_gap_in_the_numbers_hides_nothing(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n", b"2\n", b"3\n", b"4\n")
    (home.agent_logs("a") / "log.2").unlink()
    assert list(lines(home, "a")) == [b"1", b"3", b"4"]


def test_no_logs_are_no_lines(tmp_path: Path) -> None:
    assert list(lines(Home(tmp_path), "a")) == []
    assert tail(Home(tmp_path), "a", 5) == []
    home = home_with(tmp_path, b"", b"")
    assert list(lines(home, "a", last=5)) == []
    assert list(lines(home, "a", since_s=5)) == []


def test_the_last_lines_are_found_whatever_the_files_are_like(tmp_path: Path) -> None:
    seed = 99
    print(f"seed {seed}")
    rng = random.Random(seed)
    for round_ in range(60):
        stream = b"".join(b"x" * rng.choice((0, 1, 5, 70_000)) + b"\n" for _ in range(rng.randint(0, 9)))
        stream += rng.choice((b"", b"unfinished"))
        cuts = sorted(rng.randint(0, len(stream)) for _ in range(rng.randint(0, 4)))
        parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        home = home_with(tmp_path / str(round_), *parts)
        whole = list(lines(home, "a"))
        for count in (0, 1, 2, 3, 100):
            assert list(lines(home, "a", last=count)) == (whole[-count:] if count else []), (round_, count)


def test_any_bytes_come_through(tmp_path: Path) -> None:
    data = bytes(range(256)).replace(b"\n", b"") * 3
    assert list(lines(home_with(tmp_path, data + b"\n\n\r\n"), "a")) == [data, b"", b"\r"]


def test_a_50_mb_line_is_shown_cut_and_memory_stays_flat(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"before\n" + b"x" * 50_000_000 + b"\nafter\n")
    tracemalloc.start()
    found = list(lines(home, "a"))
    last = tail(home, "a", 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [found[0], found[2]] == [b"before", b"after"]
    assert found[1].startswith(b"xxx")
    assert found[1].endswith(b"x [... %d bytes more]" % (50_000_000 - limits.LOG_LINE_SHOWN_MAX_BYTES))
    assert last[1] == "after"
    assert last[0].startswith("xxx")
    assert peak < 3_000_000


def test_the_tail_is_text_whatever_was_printed(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"caf\xc3\xa9\n\xff\xfe\n")
    assert tail(home, "a", 10) == ["café", "\ufffd\ufffd"]


def with_index(home: Home, number: int, *records: tuple[int, int]) -> None:
    path = rotation.path_of(str(home.agent_logs("a")), number)
    for at_s, offset in records:
        Index(path + ".idx", os.stat(path).st_ino).note(at_s * S, offset)


@pytest.mark.parametrize(
    ("since_s", "expected"),
    [
        (1, []),
        (50, [b"5", b"6"]),
        (150, [b"4", b"5", b"6"]),
        (250, [b"3", b"4", b"5", b"6"]),
        (9999, [b"1", b"2", b"3", b"4", b"5", b"6"]),
    ],
)
def test_lines_since_a_time_are_found_by_the_index(since_s: int, expected: list[bytes], tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n2\n3\n4\n", b"5\n6\n")
    with_index(home, 1, (600, 0), (700, 4), (800, 6))
    with_index(home, 0, (960, 0))
    os.utime(home.agent_logs("a") / "log.1", (900, 900))
    os.utime(home.agent_logs("a") / "log", (998, 998))
    assert list(lines(home, "a", since_s=since_s, now_at=1000.0)) == expected


def test_a_line_that_began_before_the_time_is_shown_whole(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"first\nsecond\n")
    with_index(home, 0, (100, 0), (900, 9))
    assert list(lines(home, "a", since_s=50, now_at=1000.0)) == [b"second"]


def test_without_an_index_the_age_of_the_file_decides(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"old\n", b"new\n")
    os.utime(home.agent_logs("a") / "log.1", (100, 100))
    os.utime(home.agent_logs("a") / "log", (990, 990))
    assert list(lines(home, "a", since_s=50, now_at=1000.0)) == [b"new"]
    assert list(lines(home, "a", since_s=950, now_at=1000.0)) == [b"old", b"new"]


def test_time_and_number_together_show_what_both_allow(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n2\n3\n4\n")
    with_index(home, 0, (100, 0), (900, 4))
    assert list(lines(home, "a", since_s=50, last=1, now_at=1000.0)) == [b"4"]
    assert list(lines(home, "a", since_s=50, last=9, now_at=1000.0)) == [b"3", b"4"]


def test_following_survives_rotation_of_any_kind(tmp_path: Path) -> None:
    seed = 5
    print(f"seed {seed}")
    rng = random.Random(seed)
    home = home_with(tmp_path)
    directory = str(home.agent_logs("a"))
    follower = Follower(home, "a")
    seen: list[bytes] = []
    for number in range(600):
        with open(rotation.path_of(directory, 0), "ab") as log:
            log.write(b"%d\n" % number)
        if rng.random() < 0.2:
            rotation.rotate(directory, 9)
        if rng.random() < 0.4:
            seen += follower.poll()
    while found := follower.poll():
        seen += found
    follower.close()
    assert seen == [b"%d" % number for number in range(600)]


def test_following_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"one\ntw")
    log = home.agent_logs("a") / "log"
    pauses = 0

    def pause(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        with log.open("ab") as opened:
            opened.write(b"o\n")

    follow = lines(home, "a", follow=True, pause=pause)
    assert [next(follow), next(follow)] == [b"one", b"two"]
    assert pauses == 1
    follow.close()  # type: ignore[attr-defined]


def test_following_an_agent_that_has_not_printed_yet_begins_with_its_first_line(tmp_path: Path) -> None:
    follower = Follower(Home(tmp_path), "a", last=0)
    assert follower.poll() == []
    home_with(tmp_path, b"first\n")
    assert follower.poll() == [b"first"]
    follower.close()


def test_following_goes_on_when_the_log_is_emptied_or_removed(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"old\n", b"one\n")
    log = home.agent_logs("a") / "log"
    follower = Follower(home, "a", last=0)
    log.write_bytes(b"")
    assert follower.poll() == []
    log.write_bytes(b"2\n")
    assert follower.poll() == [b"2"]
    os.utime(home.agent_logs("a") / "log.1", (100, 100))
    log.unlink()
    assert follower.poll() == []
    log.write_bytes(b"three\n")
    assert follower.poll() == [b"three"]
    follower.close()


def test_what_was_dropped_is_read_and_garbage_counts_as_nothing(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    assert dropped(home, "a") == Dropped(0, "")
    state = home.agent_logs("a") / "state.json"
    for garbage in ("", "[]", "{", '{"dropped_bytes":"x","reason":""}'):
        state.write_text(garbage)
        assert dropped(home, "a") == Dropped(0, "")
    state.write_text('{"dropped_bytes":5,"reason":"disk full"}')
    assert dropped(home, "a") == Dropped(5, "disk full")
