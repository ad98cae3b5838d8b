"""Which files are cut, when, and what is said of it: tables."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest

from holdfast.keeper.watching.capped_files import words_of_cut, words_of_left
from holdfast.logs import capped
from holdfast.logs.capped import Opener

APPENDS, OTHER = Opener(7, "node", True), Opener(8, "sh", False)


def status(mode: int = stat.S_IFREG | 0o600, links: int = 1, uid: int = 1000) -> os.stat_result:
    return os.stat_result((mode, 1, 1, links, uid, uid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("found", "head", "why"),
    [
        (status(), b"2026-11-21 started", ""),
        (status(), b"", ""),
        (status(), b"SQLite format 3\0", "it is a database"),
        (status(), b"\x37\x7f\x06\x82\x00\x2d", "it is a database's journal"),
        (status(), b"\x1f\x8b\x08", "it is compressed"),
        (status(), b"\x28\xb5\x2f\xfd", "it is compressed"),
        (status(links=2), b"", "it has more than one name"),
        (status(uid=0), b"", "it belongs to another user"),
        (status(mode=stat.S_IFDIR | 0o700), b"", "it is no ordinary file"),
        (status(mode=stat.S_IFIFO | 0o700), b"", "it is no ordinary file"),
    ],
)
def test_only_an_ordinary_log_of_the_agents_own_user_is_cut(found: os.stat_result, head: bytes, why: str) -> None:
    assert capped.unfit(found, 1000, head) == why


@pytest.mark.parametrize(
    ("written", "openers", "why"),
    [
        (False, [], ""),
        (False, [OTHER], ""),  # the kernel's word is newer than what was found in /proc
        (True, [APPENDS], ""),
        (True, [APPENDS, APPENDS], ""),
        (True, [APPENDS, OTHER], "process 8 (sh) has it open without O_APPEND"),
        (True, [], "a process that could not be found has it open"),
        (None, [], ""),
        (None, [OTHER], "process 8 (sh) has it open without O_APPEND"),
    ],
)
def test_a_file_is_cut_while_it_is_open_only_when_every_writer_appends(
    written: bool | None, openers: list[Opener], why: str
) -> None:
    assert capped.waits_for(written, openers) == why


def told(**more: Any) -> dict[str, Any]:
    return {
        "path": "/a.log", "bytes": 200_000_000, "cut_bytes": 90_000_000, "kept_bytes": 90_000_000, "lost_bytes": 0,
        "emptied": False, "no_room": False,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (told(), "cut away, kept beside it"),
        (told(kept_bytes=8_000), "cut away, the last 8.0 kB of them are kept beside it"),
        (told(emptied=True), "cut away, kept beside it; lines of that instant may be lost"),
        (told(emptied=True, lost_bytes=5), "cut away, kept beside it; 5 bytes written meanwhile are lost"),
        (told(no_room=True, kept_bytes=0), "cut away and not kept: the disk is full"),
        (told(no_room=True, kept_bytes=9), "cut away, 9 bytes of them are kept: the disk is full"),
    ],
)
def test_what_became_of_a_file_is_said_in_one_sentence(file: dict[str, Any], text: str) -> None:
    assert words_of_cut(file) == f"/a.log was over its cap: 90.0 MB were {text}"


def test_whatever_an_agent_calls_its_file_is_printable() -> None:
    assert words_of_cut(told(path="/a\n\x1b[2J\udcff.log")).startswith("/a ?.log was over its cap")


def test_a_file_that_is_left_is_named_with_its_size_and_the_reason() -> None:
    file = {"path": "/a.log", "bytes": 312_000_000, "why": "it is a database"}
    assert words_of_left(file, 100_000_000) == "/a.log has 312.0 MB (cap 100.0 MB): it is a database"
