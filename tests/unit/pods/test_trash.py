"""Deleting trees that somebody else has written."""

import os
import socket
from pathlib import Path

from holdfast.pods import trash


def test_a_tree_is_gone_and_what_it_points_to_is_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    own = tmp_path / "own"
    (own / "tmp" / "deep").mkdir(parents=True)
    (own / "tmp" / "link").symlink_to(outside)
    (own / "tmp" / "deep" / "link").symlink_to(outside / "kept")
    os.mkfifo(own / "tmp" / "fifo")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(own / "tmp" / "s"))
    assert trash.throw(own, "tmp")
    assert trash.empty(own) == 0
    assert list(own.iterdir()) == []
    assert (outside / "kept").read_text() == "kept"


def test_the_tree_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tmp").symlink_to(tmp_path / "outside")
    assert trash.throw(tmp_path / "own", "tmp")
    assert trash.empty(tmp_path / "own") == 0
    assert (tmp_path / "outside").is_dir()


def test_a_tree_deeper_than_any_path_or_descriptor_table_is_gone(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    fd = os.open(tmp_path / "tmp", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    trash.throw(tmp_path, "tmp")
    assert trash.empty(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_directories_whose_owner_locked_himself_out_are_gone(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tmp" / "a" / "b" / "file").write_text("x")
    for locked in ("tmp/a/b", "tmp/a", "tmp"):
        (tmp_path / locked).chmod(0o000)
    trash.throw(tmp_path, "tmp")
    assert trash.empty(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_there_may_be_nothing_to_throw_or_to_empty(tmp_path: Path) -> None:
    assert not trash.throw(tmp_path, "absent")
    assert trash.empty(tmp_path) == 0
