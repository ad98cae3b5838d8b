"""What an upload sends and deletes, and in which order. Pure but for `look`, which lists this machine's objects.

Invariants: whatever needs another object comes after it; nothing is deleted in the second place because it is missing
here, only because it was deleted here; a manifest that moves is in its new place there before it leaves the old one.
Called by upload.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from holdfast.state.store.names import CONFIG, PACKS, PINS, SNAPS, TRASH, read_snapshot, read_trashed
from holdfast.state.store.objects import Store, Stored


class Here(Struct, frozen=True):
    """This machine's objects, listed once: manifests first, so that all packs they need are in the list of packs."""

    config: Stored
    snaps: tuple[Stored, ...]
    pins: tuple[Stored, ...]
    trash: tuple[Stored, ...]
    packs: tuple[Stored, ...]

    def all(self) -> Iterator[Stored]:
        yield self.config
        for part in (self.packs, self.trash, self.snaps, self.pins):
            yield from part


def look(local: Store) -> Here:
    snaps = tuple(found for found in local.list(SNAPS) if read_snapshot(found.name.removeprefix(SNAPS)))
    trash = tuple(found for found in local.list(TRASH) if read_trashed(found.name))
    pins, packs = tuple(local.list(PINS)), tuple(sorted(local.list(PACKS), key=lambda found: found.changed_at))
    return Here(Stored(CONFIG, local.size(CONFIG), 0.0), snaps, pins, trash, packs)


def order(here: Here, there: Mapping[str, int]) -> list[tuple[str, int]]:
    """What to send, in this order. Pure."""
    snaps = sorted(here.snaps, key=lambda found: _seq(found.name))
    parts = ((here.config,), here.packs, here.trash, snaps, here.pins)
    return [(one.name, one.size) for part in parts for one in part if there.get(one.name) != one.size]


def to_delete(here: Here, there: Iterable[str], gone: set[str]) -> list[str]:
    """What was deleted here and is still there: manifests before packs. Pure.

    A manifest goes when it lies in the trash here or when its time in the trash was known and is over (`gone`); what
    came back from the trash leaves it there too; a pin is only a word. A pack goes when its deletion was noted, but not
    while a manifest stays there that is no longer here: it may need that pack.
    """
    there = list(there)
    live = {one.name for one in here.all()}
    arrived = live.intersection(there)
    trashed = {_trashed_snapshot(name) for name in arrived if name.startswith(TRASH)}
    packs, others, odd = [], [], False
    for name in there:
        if name in live or name == CONFIG:
            continue
        if name.startswith(PACKS):
            if name in gone:
                packs.append(name)
        elif name.startswith(TRASH):
            if name in gone or _trashed_snapshot(name) in arrived or _trashed_snapshot(name) in trashed:
                others.append(name)
            else:
                odd = True
        elif name.startswith(SNAPS):
            if name in trashed or name in gone:
                others.append(name)
            else:
                odd = True
        elif name.startswith(PINS):
            others.append(name)
    return sorted(others, key=lambda name: (not name.startswith(PINS), name)) + ([] if odd else sorted(packs))


def _seq(name: str) -> int:
    found = read_snapshot(name.removeprefix(SNAPS))
    return found.seq if found else 0


def _trashed_snapshot(name: str) -> str:
    found = read_trashed(name)
    return SNAPS + found.snapshot.name if found else ""
