"""Names of a repository's objects: the only place that composes or reads one. Pure.

packs/<aa>/<hex32> · snaps/<time>-<seq>-<epoch>.<id> · trash/<name below snaps/>~<deadline> · pins/<id>~<why>. A name
that does not read back is somebody else's file and is passed over. Called by the repository, retention and gc.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from msgspec import Struct

from holdfast.state.model import Pin, Snapshot

CONFIG = "config"
PACKS = "packs/"
SNAPS = "snaps/"
TRASH = "trash/"
PINS = "pins/"
WRITERS = "writers/"  # of a second place: who writes there, see fence.py
DAMAGED = "damaged/"  # objects that a good copy from the second place has replaced; read by nobody
_SNAPSHOT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-(\d{10})-(\d{6,12})\.([0-9a-f]{32})", re.ASCII)
_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})")
_PIN = re.compile(r"([0-9a-f]{32})~(.+)")


class Trashed(Struct, frozen=True, kw_only=True):
    """A snapshot that was deleted and may still be brought back. `deadline`: wall clock seconds."""

    snapshot: Snapshot
    deadline: int

    @property
    def object_name(self) -> str:
        return trash_object(self.snapshot, self.deadline)


def pack_object(pack: str) -> str:
    return f"{PACKS}{pack[:2]}/{pack}"


def read_pack(object_name: str) -> str | None:
    """The pack's own name."""
    found = _PACK.fullmatch(object_name)
    return found[2] if found else None


def snapshot_name(at: float, seq: int, epoch: int, snapshot_id: str) -> str:
    """`at`: wall clock seconds; kept to the millisecond. Snapshots are ordered by `seq`, not by this time."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(at * 1000))
    stamp = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"
    return f"{stamp}-{seq:010d}-{epoch:06d}.{snapshot_id}"


def read_snapshot(name: str) -> Snapshot | None:
    """From a name below snaps/."""
    found = _SNAPSHOT.fullmatch(name)
    if found is None:
        return None
    *parts, seq, epoch, snapshot_id = found.groups()
    year, month, day, hour, minute, second, ms = map(int, parts)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return Snapshot(id=snapshot_id, seq=int(seq), epoch=int(epoch), at=moment.timestamp() + ms / 1000, name=name)


def snapshot_object(snapshot: Snapshot) -> str:
    return SNAPS + snapshot.name


def trash_object(snapshot: Snapshot, deadline: int) -> str:
    return f"{TRASH}{snapshot.name}~{deadline}"


def read_trashed(object_name: str) -> Trashed | None:
    name, tilde, deadline = object_name.removeprefix(TRASH).partition("~")
    snapshot = read_snapshot(name)
    if snapshot is None or not tilde or not deadline.isdecimal() or not deadline.isascii():
        return None
    return Trashed(snapshot=snapshot, deadline=int(deadline))


def pin_object(pin: Pin) -> str:
    return f"{PINS}{pin.id}~{quote(pin.why, safe='')}"


def read_pin(object_name: str) -> Pin | None:
    found = _PIN.fullmatch(object_name.removeprefix(PINS))
    return Pin(id=found[1], why=unquote(found[2])) if found else None
