"""Packs read again: which ones, and what is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.state.checks import scrub
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Stored
from tests.unit.state import repositories

A, B, C = (letter * 32 for letter in "abc")


def silent(done: int, total: int, what: str) -> None: ...


def packs(**sizes: int) -> list[Stored]:
    return [Stored(f"packs/{name[0] * 2}/{name[0] * 32}", size, 0.0) for name, size in sizes.items()]


@pytest.mark.parametrize(
    ("turns", "room", "chosen"),
    [
        ({}, 0, "abc"),  # what is new is read at once
        ({A: 3, B: 1, C: 2}, 10, "b"),
        ({A: 3, B: 1, C: 2}, 20, "bc"),
        ({A: 3, B: 1, C: 2}, 9, ""),
        ({A: 3, B: 1, C: -1}, 0, "c"),  # was bad
        ({A: 3, B: 1}, 20, "cb"),
    ],
)
def test_new_and_bad_packs_come_first_then_those_looked_at_longest_ago(
    turns: dict[str, int], room: int, chosen: str
) -> None:
    found = scrub.choose(packs(a=10, b=10, c=10), turns, room)
    assert "".join(one.name[-1] for one in found) == chosen


def test_a_changed_byte_is_found_remembered_and_repaired_from_a_copy(tmp_path: Path) -> None:
    repository = repositories.made(tmp_path / "here")
    repositories.take(repository, [b"x" * 5000])
    cache = tmp_path / "cache"
    assert scrub.look(repository.store, cache, silent) == []
    (pack,) = (tmp_path / "here" / "repo" / "packs").glob("*/*")
    good = pack.read_bytes()
    (tmp_path / "there" / "repo" / "packs" / pack.parent.name).mkdir(parents=True)
    copy = tmp_path / "there" / "repo" / "packs" / pack.parent.name / pack.name
    pack.chmod(0o600)
    pack.write_bytes(good[:-9] + bytes([good[-9] ^ 4]) + good[-8:])
    assert scrub.look(repository.store, cache, silent) == [pack.name]
    assert scrub.known_bad(cache) == {pack.name}
    assert (cache / scrub.ANEW).exists()
    copy.write_bytes(pack.read_bytes())
    there = LocalStore(tmp_path / "there" / "repo")
    assert scrub.repair(tmp_path / "here" / "repo", there, [pack.name]) == []  # a copy of the damage is none
    copy.write_bytes(good)
    assert scrub.repair(tmp_path / "here" / "repo", there, [pack.name]) == [pack.name]
    assert scrub.look(repository.store, cache, silent) == []
    assert scrub.known_bad(cache) == frozenset()
