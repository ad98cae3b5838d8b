"""The objects gc/<n>: which packs are to be deleted, since when, and what must happen before.

Invariants: a mark is written before any of its packs is deleted and goes after the last of them; a writer counts
nothing in a condemned pack as stored; a mark with a changed byte is nobody's mark, so it deletes nothing. Called by gc
and by whoever opens a writer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import msgspec
from blake3 import blake3
from msgspec import Struct

from holdfast.limits import GC_WAIT_S
from holdfast.state.store.objects import Missing, Store

GC = "gc/"
FORMAT = 1
_MARK = re.compile(r"gc/(\d{10})")
_CLOCK = "gc/clock-"
_PACK = re.compile(r"[0-9a-f]{32}")


class Mark(Struct, frozen=True, kw_only=True):
    """What a gc object says. `seq`: of the newest snapshot then. `elapsed_s`: by the record of aging.py."""

    format: int
    seq: int
    elapsed_s: float | None
    packs: tuple[str, ...]


class Condemned(Struct, frozen=True, kw_only=True):
    """A mark as it lies in the place. `changed_at`: by the clock of that place."""

    name: str
    changed_at: float
    mark: Mark | None  # None: it cannot be read, and condemns nothing


class Now(Struct, frozen=True, kw_only=True):
    """The clocks a mark is judged by. `seq`: of the newest committed snapshot."""

    store_at: float
    seq: int
    elapsed_s: float | None = None


def condemned_packs(store: Store) -> frozenset[str]:
    """What a writer must not count on. Raises StoreError."""
    return frozenset(pack for one in marks(store) if one.mark is not None for pack in one.mark.packs)


def marks(store: Store) -> list[Condemned]:
    """Oldest first. Raises StoreError."""
    found = []
    for stored in store.list(GC):
        if _MARK.fullmatch(stored.name) is None:
            continue
        try:
            data = store.get(stored.name)
        except Missing:
            continue  # another collection finished with it
        found.append(Condemned(name=stored.name, changed_at=stored.changed_at, mark=decode(data)))
    return sorted(found, key=lambda one: one.name)


def write(store: Store, mark: Mark, former: Iterable[Condemned]) -> bool:
    """False: another collection wrote one at the same time. Raises StoreError."""
    last = max((int(one.name.removeprefix(GC)) for one in former), default=0)
    return store.put(f"{GC}{last + 1:010d}", encode(mark))


def encode(mark: Mark) -> bytes:
    data = msgspec.json.encode(mark)
    return data + b"\n" + blake3(data).hexdigest().encode() + b"\n"


def decode(data: bytes) -> Mark | None:
    plain, _, rest = data.partition(b"\n")
    if rest.strip() != blake3(plain).hexdigest().encode():
        return None
    try:
        mark = msgspec.json.decode(plain, type=Mark)
    except msgspec.MsgspecError:
        return None
    good = mark.format == FORMAT and all(_PACK.fullmatch(pack) for pack in mark.packs)
    return mark if good else None


def is_ripe(one: Condemned, now: Now, wait_s: float = GC_WAIT_S) -> bool:
    """Whether its packs may go, if they are still unused: waited by every clock, and a newer snapshot is committed."""
    mark = one.mark
    if mark is None or now.seq <= mark.seq or now.store_at - one.changed_at < wait_s:
        return False
    if now.elapsed_s is None:
        return mark.elapsed_s is None
    return mark.elapsed_s is not None and now.elapsed_s - mark.elapsed_s >= wait_s


def is_void(one: Condemned, now: Now) -> bool:
    """Whether it must be written anew: unreadable, or dated by clocks that were set back or lost since."""
    mark = one.mark
    if mark is None or one.changed_at > now.store_at:
        return True
    return now.elapsed_s is not None and (mark.elapsed_s is None or mark.elapsed_s > now.elapsed_s)


def store_clock(store: Store) -> float:
    """The time by the clock of the place: that of an object made and deleted at once. Raises StoreError."""
    name = f"{_CLOCK}{os.urandom(8).hex()}"
    store.put(name, b"")
    try:
        return next((one.changed_at for one in store.list(GC) if one.name == name), 0.0)
    finally:
        store.delete(name)


def left_clocks(store: Store) -> list[str]:
    """Names of such objects, of collections that were killed."""
    return [one.name for one in store.list(GC) if one.name.startswith(_CLOCK)]
