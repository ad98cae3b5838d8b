"""The durable intent of a restore: restore.json beside the repository. It says how far every place has come.

Invariant: it is written, with fsync, before the first name in an agent's tree changes and after each step, so that
whoever finds it after a kill or a power cut knows what to finish or to undo. Called by exchange.py and materialize.py.
"""

from __future__ import annotations

import contextlib
import json
import os
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast import errors, files
from holdfast.state.model import Rights

INTENT_NAME = "restore.json"
_FORMAT = 1


class Phase(StrEnum):
    """Where the restore as a whole stands. What may follow is in FOLLOWS; a phase without followers ends the intent."""

    BUILDING = "building"  # fresh trees are being written; live ones are untouched
    BUILT = "built"  # fresh trees are whole and on the disk; live ones are untouched
    EXCHANGING = "exchanging"  # some places may be new: finish, or undo
    EXCHANGED = "exchanged"  # all places are new, the old trees are kept
    UNDOING = "undoing"  # places are put back one by one
    DROPPING = "dropping"  # all places are old; the fresh trees are deleted
    SETTLING = "settling"  # all places are new; the old trees are deleted


FOLLOWS: dict[Phase, frozenset[Phase]] = {
    Phase.BUILDING: frozenset({Phase.BUILT, Phase.DROPPING}),
    Phase.BUILT: frozenset({Phase.EXCHANGING, Phase.DROPPING}),
    Phase.EXCHANGING: frozenset({Phase.EXCHANGED, Phase.UNDOING}),
    Phase.EXCHANGED: frozenset({Phase.UNDOING, Phase.SETTLING}),
    Phase.UNDOING: frozenset({Phase.DROPPING}),
    Phase.DROPPING: frozenset(),
    Phase.SETTLING: frozenset(),
}


class Step(StrEnum):
    """Of a place that is swapped entry by entry. Each is repeated safely, forwards and backwards."""

    NONE = ""
    OUT = "out"  # old entries go to the old tree's name
    IN = "in"  # new entries come in; no old one is left
    DONE = "done"


class Place(Struct, kw_only=True):
    """One path that is restored: a state path, a mount point below one, or one file or directory somebody named."""

    path: str  # absolute
    present: bool  # in the snapshot
    directory: bool  # what the snapshot has there
    inside: bool = False  # fresh and old tree lie inside the live directory: beside it nothing can be made or moved
    by_entry: bool = False  # swapped entry by entry, not by one exchange
    existed: bool = False  # the live path was there when the exchange began
    database: bool = False  # a single file, and a database in the snapshot or as it lives: -wal and such belong to it
    fresh_inode: int = 0  # what is to lie at `path` in the end: tells which way the exchange stands
    step: Step = Step.NONE
    mounts: tuple[str, ...] = ()  # mount points below `path`, relative: what lies there stays or is a place of its own
    fresh_mode: int = 0o700
    fresh_mtime_ns: int = 0
    old_mode: int = 0o700
    old_mtime_ns: int = 0


class Intent(Struct, kw_only=True):
    """One restore of one agent."""

    agent: str
    snapshot: str  # hex of the whole id
    short: str
    at: float  # of the snapshot
    began_at: float
    phase: Phase
    rights: Rights | None
    places: list[Place]
    keep_failed: bool = False  # once undone, the version that failed is kept under its own name
    notes: list[str] = []
    state_paths: list[str] = []  # all of the agent's
    left_out: list[list[str]] = []  # patterns of what snapshots leave out: now, and when this one was taken
    carried: bool = False  # what they leave out was moved from the old trees into the new ones
    left_behind: bool = False  # some of it could not be moved: the old trees are the only ones that have it
    format: int = _FORMAT


def load(state_dir: Path) -> Intent | None:
    """The restore under way, if any. Raises HoldfastError RESTORE_STUCK when the file cannot be understood."""
    path = state_dir / INTENT_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise errors.HoldfastError(errors.RESTORE_STUCK, path=path, reason=e.strerror or str(e)) from e
    try:
        found = msgspec.convert(json.loads(text), Intent)
    except (ValueError, msgspec.ValidationError) as e:
        raise errors.HoldfastError(errors.RESTORE_STUCK, path=path, reason=f"it cannot be read: {e}") from e
    if found.format > _FORMAT:
        raise errors.HoldfastError(errors.RESTORE_STUCK, path=path, reason="a newer Holdfast wrote it")
    return found


def save(state_dir: Path, intent: Intent) -> None:
    """Durable when this returns. Raises OSError, and then the former version stands."""
    # json and not msgspec writes it: paths may hold surrogates, for bytes that are no UTF-8.
    text = json.dumps(msgspec.to_builtins(intent), indent=1).encode()
    files.write_atomic(state_dir / INTENT_NAME, text + b"\n")


def enter(state_dir: Path, intent: Intent, phase: Phase) -> None:
    """The next phase, durable when this returns. Raises OSError, and then the former phase stands."""
    former = intent.phase
    if phase is not former and phase not in FOLLOWS[former]:
        raise ValueError(f"a restore cannot go from {former} to {phase}")
    intent.phase = phase
    try:
        save(state_dir, intent)
    except OSError:
        intent.phase = former
        raise


def forget(state_dir: Path) -> None:
    """The restore is over."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(state_dir / INTENT_NAME)
        files.sync_directory(state_dir)
