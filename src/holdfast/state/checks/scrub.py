"""Reads packs again and compares them with their names, some each time: a disk that changes bytes is found out.

Invariants: packs that were never looked at and those found bad come first, then those looked at longest ago, so each
has its turn whatever the clocks say; nothing but the record is written, and a lost record only begins the round anew.
Called by the worker: `look` with the hourly check, the rest by what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast import files
from holdfast.limits import SCRUB_BYTES
from holdfast.state.store import names
from holdfast.state.store.ids import content_name
from holdfast.state.store.objects import Missing, Store, Stored, StoreError

FILE = "scrubbed"  # in the agent's cache directory
ANEW = "anew"  # beside it: the next snapshot reads all files again, and stores what was lost
_BAD = -1


class Record(Struct, frozen=True, kw_only=True):
    """`turns`: by pack, the number of the look that read it last."""

    number: int = 0
    turns: dict[str, int] = {}


def choose(packs: Iterable[Stored], turns: Mapping[str, int], room_bytes: int = SCRUB_BYTES) -> list[Stored]:
    """What is read now. Pure. All that is new or was bad; of the others as much as `room_bytes` allow."""
    ordered = sorted(packs, key=lambda one: (turns.get(_pack(one), _BAD), one.name))
    chosen = [one for one in ordered if turns.get(_pack(one), _BAD) == _BAD]
    left = room_bytes - sum(one.size for one in chosen)
    for one in ordered[len(chosen) :]:
        if one.size > left:
            break
        left -= one.size
        chosen.append(one)
    return chosen


def look(store: Store, cache: Path, progress: Callable[[int, int, str], None]) -> list[str]:
    """Names of packs whose bytes are not what was written. Raises OSError, StoreError: they cannot be listed."""
    record = _load(cache / FILE)
    packs = [one for one in store.list(names.PACKS) if _pack(one)]
    chosen, number = choose(packs, record.turns), record.number + 1
    present = {_pack(one) for one in packs}
    turns = {pack: turn for pack, turn in record.turns.items() if pack in present}
    bad: list[str] = []
    for count, one in enumerate(chosen):
        progress(count, len(chosen), "reading packs again")
        try:
            whole = content_name(store.get(one.name)) == _pack(one)
        except Missing:
            continue
        except StoreError:
            whole = False
        turns[_pack(one)] = number if whole else _BAD
        if not whole:
            bad.append(_pack(one))
    cache.mkdir(mode=0o700, exist_ok=True)
    if set(bad) - known_bad(cache):
        (cache / ANEW).touch(mode=0o600)
    files.write_atomic(cache / FILE, msgspec.json.encode(Record(number=number, turns=turns)))
    return bad


def known_bad(cache: Path) -> frozenset[str]:
    """Packs that the last look found bad: nothing in them counts as stored."""
    return frozenset(pack for pack, turn in _load(cache / FILE).turns.items() if turn == _BAD)


def repair(repository_directory: Path, there: Store, packs: Iterable[str]) -> list[str]:
    """Puts back those that the second place still has as they were written; their names. Raises OSError."""
    mended = []
    for pack in packs:
        name = names.pack_object(pack)
        try:
            data = there.get(name)
        except StoreError:
            continue
        if content_name(data) == pack:
            files.write_atomic(repository_directory / name, data)
            mended.append(pack)
    return mended


def _pack(one: Stored) -> str:
    return names.read_pack(one.name) or ""


def _load(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return Record()
