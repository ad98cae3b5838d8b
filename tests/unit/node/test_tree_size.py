"""Counting what directories hold, in trees that are hostile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from holdfast.node import tree_size


def fill(path: Path, kib: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(kib * 1024))


def test_all_below_is_counted_and_links_are_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere" / "big", 4096)
    fill(tmp_path / "own" / "a" / "b" / "data", 256)
    (tmp_path / "own" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "own" / "up").symlink_to("..")
    os.link(tmp_path / "own" / "a" / "b" / "data", tmp_path / "own" / "again")
    os.mkfifo(tmp_path / "own" / "pipe")
    total, complete = tree_size.measure([str(tmp_path / "own")])
    assert complete
    assert 256 * 1024 <= total < 512 * 1024


def test_a_root_that_is_a_link_holds_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "real" / "data", 64)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert tree_size.measure([str(tmp_path / "link"), str(tmp_path / "absent")]) == (0, True)


def test_a_tree_too_deep_or_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    assert not tree_size.measure([str(tmp_path)])[1]
    assert len(os.listdir("/proc/self/fd")) == before
    wide = tmp_path / "wide"
    for number in range(50):
        fill(wide / str(number), 1)
    assert not tree_size.measure([str(wide)], entries_max=10)[1]
    assert not tree_size.measure([str(wide)], time_max_s=0.0)[1]


def test_the_same_directory_named_twice_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "own" / "data", 64)
    once = tree_size.measure([str(tmp_path)])
    assert tree_size.measure([str(tmp_path), str(tmp_path / "own")]) == once


def test_as_a_program_it_answers_line_by_line(tmp_path: Path) -> None:
    fill(tmp_path / "data", 64)
    users = {"a": [str(tmp_path), "/no/such/a"], "b": ["/no/such", "/no/such/b"]}
    asked = json.dumps({"shared": [], "users": users}) + "\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tree_size.__file__)], input=asked, capture_output=True, text=True, check=True
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["a"][0] >= 64 * 1024
    assert first["a"][1] is True
    assert second == {"b": [0, True]}


def test_a_state_directory_counts_unless_another_works_in_it(tmp_path: Path) -> None:
    for path in ("a", "state", "b"):
        (tmp_path / path).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    home, a, b = str(tmp_path / "home"), str(tmp_path / "a"), str(tmp_path / "b")
    alone = tree_size.own_directories({"a": [home, a, str(tmp_path / "link")], "b": [home, b]}, [])
    assert alone["a"] == [home, a, str(tmp_path / "state")]
    visited = tree_size.own_directories(
        {"a": [home, a, str(tmp_path / "link")], "b": [home, str(tmp_path / "state")]}, []
    )
    assert visited["a"] == [home, a]
    around = tree_size.own_directories(
        {"a": [home, str(tmp_path / "state"), str(tmp_path / "state")], "b": [home, b]}, []
    )
    assert around["a"][1:] == [str(tmp_path / "state")] * 2
