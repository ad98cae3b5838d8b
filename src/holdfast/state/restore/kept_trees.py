"""Trees that a restore replaced and that are kept to be looked at: named, and deleted when their time is up.

Invariant: what is kept stands in kept-trees.json, written with fsync before the restore it comes from is forgotten, so
that no tree is left that nobody would delete; what is deleted is only what stands there. Called by the worker's restore
jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast import files
from holdfast.state.identity import acting_as
from holdfast.state.model import Rights
from holdfast.state.restore import asides, exchange, intent, places
from holdfast.state.restore.intent import Phase

NAME = "kept-trees.json"


class Kept(Struct, kw_only=True):
    """The old trees of one restore. `moved`: another restore of the same snapshot needed their names."""

    short: str
    spare: str  # 12 hex digits: in their names once they were moved
    began_at: float  # of the restore
    until_at: float
    rights: Rights | None
    trees: list[tuple[str, str]]  # (directory, name of what was replaced)
    moved: bool = False

    def names(self, name: str) -> list[str]:
        now = asides.failed(name, self.spare) if self.moved else asides.before(name, self.short)
        return [now, *(now + end for end in asides.SIBLINGS)]


def load(state_dir: Path) -> list[Kept]:
    """What is kept; a file that cannot be read is none."""
    try:
        return msgspec.convert(json.loads((state_dir / NAME).read_bytes()), list[Kept])
    except (OSError, ValueError, msgspec.ValidationError):
        return []


def paths(found: list[Kept]) -> list[str]:
    """Where they lie."""
    return [os.path.join(directory, kept.names(name)[0]) for kept in found for directory, name in kept.trees]


def keep(state_dir: Path, until_at: float) -> list[str]:
    """The restore is over, and its old trees stay until then. Where they lie. Idempotent. Raises OSError."""
    current = intent.load(state_dir)
    found = load(state_dir)
    if current is None or current.phase is not Phase.EXCHANGED:
        return paths(found)
    if all(one.began_at != current.began_at for one in found):
        trees = [os.path.split(tree) for tree in exchange.old_trees(current)]
        old = {os.path.join(directory, last) for directory, last in trees}
        named = [
            (os.path.dirname(tree), os.path.basename(place.path))
            for place in current.places
            for tree in old
            if os.path.basename(tree) == asides.before(os.path.basename(place.path), current.short)
            and os.path.dirname(tree) in (place.path, os.path.dirname(place.path))
        ]
        found.append(
            Kept(
                short=current.short,
                spare=os.urandom(6).hex(),
                began_at=current.began_at,
                until_at=until_at,
                rights=current.rights,
                trees=list(dict.fromkeys(named)),
            )
        )
        _save(state_dir, found)
    intent.forget(state_dir)
    return paths(found)


def make_way(state_dir: Path, short: str) -> None:
    """Before another restore of this snapshot: what is kept under its names gets others. Raises OSError."""
    found = load(state_dir)
    for kept in found:
        if kept.short != short:
            continue
        was = [(directory, name, asides.before(name, short)) for directory, name in kept.trees]
        if not kept.moved:
            kept.moved = True
            _save(state_dir, found)
        for directory, name, old in was:
            with contextlib.suppress(FileNotFoundError):
                _move(directory, old, kept.names(name), kept.rights)


def drop(state_dir: Path, now_at: float, *, everything: bool = False) -> list[str]:
    """Delete those whose time is up, or all. What was deleted. Raises OSError when the list cannot be written.

    One that cannot be deleted whole (its disk does not answer) stays on the list, for another time. Where the directory
    it lies in is not there, it counts as gone: an unmounted disk looks like one that was emptied.
    """
    found = load(state_dir)
    gone: list[str] = []
    for kept in [kept for kept in found if everything or kept.until_at <= now_at]:
        if not all(_is_removed(directory, name, kept) for directory, name in kept.trees):
            continue
        found.remove(kept)
        _save(state_dir, found)
        gone += paths([kept])
    return gone


def _is_removed(directory: str, name: str, kept: Kept) -> bool:
    removal = places.Removal()
    try:
        with places.opened(f"{directory}/{name}", kept.rights) as fd, acting_as(kept.rights):
            for each in kept.names(name):
                removal.tree(fd, each)
    except (FileNotFoundError, NotADirectoryError):  # the directory is gone, and all in it
        return True
    except OSError:
        return False
    return not removal.left


def _move(directory: str, old: str, new: list[str], rights: Rights | None) -> None:
    with places.opened(f"{directory}/{old}", rights) as fd, acting_as(rights):
        for end, target in zip(("", *asides.SIBLINGS), new, strict=True):
            if places.there(fd, old + end) is not None and places.there(fd, target) is None:
                places.move(fd, old + end, fd, target)
        places.sync(fd)


def _save(state_dir: Path, found: list[Kept]) -> None:
    files.write_atomic(state_dir / NAME, json.dumps(msgspec.to_builtins(found), indent=1).encode() + b"\n")
