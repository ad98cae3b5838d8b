"""All places of a restore become new, or all stay old: begun, finished, undone, settled, and recovered after any kill.

Invariant: the intent is durable before the first name changes and after each step, so whoever calls `recover` ends
with all places new or all old, never a mix, and calling it again changes nothing. Old trees are kept until `settle`.
The agent must not run between `begin` and its return. Called by the worker's jobs and by the keeper at its start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from holdfast import errors
from holdfast.state.identity import acting_as
from holdfast.state.restore import asides, intent, places, swap
from holdfast.state.restore.intent import Intent, Phase, Place
from holdfast.state.restore.places import Ground

_At = Callable[[str], None]
_Enough = Callable[[], bool]


class Outcome(StrEnum):
    """How an agent's places stand."""

    NOTHING = "nothing"  # no restore was under way
    BUILT = "built"  # all old; the fresh trees wait
    NEW = "new"  # all new; old trees are kept, or are being deleted
    OLD = "old"  # all old; fresh trees are gone, or are being deleted


class Recovered(Struct, frozen=True, kw_only=True):
    """`over`: nothing is left to delete either, and the intent is gone. `intent`: the restore this was about."""

    outcome: Outcome
    over: bool
    intent: Intent | None = None


def _nothing(_step: str) -> None: ...


def _never() -> bool:
    return False


def begin(state_dir: Path, *, at: _At = _nothing) -> Intent:
    """All places become new; the old trees are kept. Raises HoldfastError.

    RESTORE_FAILED: all are old again. RESTORE_STUCK: neither could be reached; `recover` tries again.
    """
    current = intent.load(state_dir)
    if current is None or current.phase is not Phase.BUILT:
        reason = "nothing is built" if current is None else f"it is {current.phase} already"
        raise errors.HoldfastError(errors.RESTORE_FAILED, agent=current.agent if current else "", reason=reason)
    ground = _ground(state_dir, current, at)
    try:
        for place in current.places:
            swap.note_ground(place, ground)
        at("noted")
        intent.enter(state_dir, current, Phase.EXCHANGING)
    except OSError as e:
        _drop(state_dir, current)
        raise _failed(current, e) from e
    at("intended")
    return _finish(state_dir, current, ground)


def _finish(state_dir: Path, current: Intent, ground: Ground) -> Intent:
    """From EXCHANGING to EXCHANGED; what cannot be finished is undone."""
    try:
        for place in current.places:
            swap.forward(place, ground)
            intent.save(state_dir, current)
            ground.at("place done")
        intent.enter(state_dir, current, Phase.EXCHANGED)
    except OSError as e:
        try:
            intent.enter(state_dir, current, Phase.UNDOING)
        except OSError as full:
            raise _stuck(state_dir, full) from e
        _undo(state_dir, current, ground)
        _drop(state_dir, current)
        raise _failed(current, e) from e
    return current


def _undo(state_dir: Path, current: Intent, ground: Ground) -> None:
    """From UNDOING to DROPPING: the last place first."""
    try:
        for place in reversed(current.places):
            swap.back(place, ground)
            intent.save(state_dir, current)
            ground.at("place undone")
        intent.enter(state_dir, current, Phase.DROPPING)
    except OSError as e:
        raise _stuck(state_dir, e) from e
    ground.at("undone")


def back(state_dir: Path, *, keep_failed: bool = False, enough: _Enough = _never, at: _At = _nothing) -> Recovered:
    """After `begin`: the old trees return. `keep_failed`: the version that failed stays beside them, to be looked at.

    Raises HoldfastError RESTORE_STUCK.
    """
    current = intent.load(state_dir)
    if current is None or current.phase not in (Phase.EXCHANGED, Phase.UNDOING):
        return recover(state_dir, enough=enough, at=at)
    ground = _ground(state_dir, current, at)
    if current.phase is Phase.EXCHANGED:
        try:
            for place in current.places:
                swap.note_back(place, ground)
            current.keep_failed = keep_failed
            intent.enter(state_dir, current, Phase.UNDOING)
        except OSError as e:
            raise _stuck(state_dir, e) from e
    at("intended back")
    _undo(state_dir, current, ground)
    return Recovered(outcome=Outcome.OLD, over=clear(state_dir, enough=enough, at=at), intent=current)


def settle(state_dir: Path, *, enough: _Enough = _never, at: _At = _nothing) -> bool:
    """The agent is healthy: delete the old trees. True: done; False: `enough`, call it again. Idempotent."""
    current = intent.load(state_dir)
    if current is None:
        return True
    if current.phase is Phase.EXCHANGED:
        try:
            intent.enter(state_dir, current, Phase.SETTLING)
        except OSError as e:
            raise _stuck(state_dir, e) from e
    at("settling")
    return clear(state_dir, enough=enough, at=at)


def recover(state_dir: Path, *, keep_built: bool = False, enough: _Enough = _never, at: _At = _nothing) -> Recovered:
    """After a kill at any step: finish or undo. Call it before the agent starts. Idempotent.

    Deleting, which may take long, stops at `enough` and goes on with `clear`. Raises HoldfastError RESTORE_STUCK.
    """
    current = intent.load(state_dir)
    if current is None:
        return Recovered(outcome=Outcome.NOTHING, over=True)
    if current.phase is Phase.BUILT and keep_built:
        return Recovered(outcome=Outcome.BUILT, over=False, intent=current)
    ground = _ground(state_dir, current, at)
    if current.phase is Phase.EXCHANGING:
        try:
            _finish(state_dir, current, ground)
        except errors.HoldfastError as e:
            if e.kind is not errors.RESTORE_FAILED:
                raise
            return Recovered(outcome=Outcome.OLD, over=intent.load(state_dir) is None, intent=current)
    elif current.phase is Phase.UNDOING:
        _undo(state_dir, current, ground)
    if current.phase is Phase.EXCHANGED:
        return Recovered(outcome=Outcome.NEW, over=False, intent=current)
    outcome = Outcome.NEW if current.phase is Phase.SETTLING else Outcome.OLD
    return Recovered(outcome=outcome, over=clear(state_dir, enough=enough, at=at), intent=current)


def clear(state_dir: Path, *, enough: _Enough = _never, at: _At = _nothing) -> bool:
    """Go on deleting what is of no use any more, and end the intent. False: `enough`. Idempotent.

    A restore that is only built counts as given up. One that is exchanged is left alone: see `settle` and `back`.
    """
    current = intent.load(state_dir)
    if current is None:
        return True
    if current.phase in (Phase.EXCHANGING, Phase.EXCHANGED, Phase.UNDOING):
        return False
    if current.phase in (Phase.BUILDING, Phase.BUILT):
        _drop(state_dir, current)
    for place in current.places:
        if not _delete(place, current, enough):
            return False
        at("deleted")
    intent.forget(state_dir)
    return True


def _drop(state_dir: Path, current: Intent) -> None:
    """All places are old. When even this cannot be written, the former phase leads to the same end."""
    if current.phase is not Phase.DROPPING:
        try:
            intent.enter(state_dir, current, Phase.DROPPING)
        except OSError:
            current.phase = Phase.DROPPING


def _delete(place: Place, current: Intent, enough: _Enough) -> bool:
    """The trees of this place that nobody needs: the old one when settling, else the fresh one. False: `enough`."""
    name = os.path.basename(place.path)
    settling = current.phase is Phase.SETTLING
    unwanted = [asides.fresh(name, current.short)]
    if settling:  # of the fresh tree only what could not move out of it
        unwanted.append(asides.before(name, current.short))
    inner = f"{place.path}/{name}" if place.inside else place.path  # only its directory counts
    removal = places.Removal(enough)
    try:
        with places.opened(inner, current.rights) as fd, acting_as(current.rights):
            if not settling and current.keep_failed:
                _keep_failed(fd, name, current.short)
            status = os.stat(".", dir_fd=fd)
            directory = os.path.realpath(os.path.dirname(inner))
            ended = all(_delete_one(fd, directory, each, removal, place) for each in unwanted)
            places.sync(fd)  # before the intent is forgotten, by which alone what is left would be found
            if place.inside:  # its time is the agent's
                os.utime(f"/proc/self/fd/{fd}", ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        return True  # its directory is gone or broken: nothing more can be done here, and nothing live depends on it
    return ended


def _delete_one(fd: int, directory: str, name: str, removal: places.Removal, place: Place) -> bool:
    """False: enough. A tree into which something was mounted since is left alone."""
    if places.mounts_below(os.path.join(directory, name), places.mount_table()):
        return True
    if not removal.tree(fd, name):
        return False
    if place.database:
        for end in asides.SIBLINGS:
            removal.tree(fd, name + end)
    return True


def _keep_failed(fd: int, name: str, short: str) -> None:
    fresh, failed = asides.fresh(name, short), asides.failed(name, short)
    for end in ("", *asides.SIBLINGS):
        if places.there(fd, fresh + end) is not None and places.there(fd, failed + end) is None:
            places.move(fd, fresh + end, fd, failed + end)


def old_trees(current: Intent) -> list[str]:
    """Where the old trees lie after `begin`: for people, and for the post-mortem."""
    found = []
    for place in current.places:
        directory = place.path if place.inside else os.path.dirname(place.path)
        where = os.path.join(directory, asides.before(os.path.basename(place.path), current.short))
        if place.existed:
            found.append(where)
    return found


def _ground(state_dir: Path, current: Intent, at: _At) -> Ground:
    return Ground(short=current.short, rights=current.rights, save=lambda: intent.save(state_dir, current), at=at)


def _failed(current: Intent, e: OSError) -> errors.HoldfastError:
    return errors.HoldfastError(errors.RESTORE_FAILED, agent=current.agent, reason=_words(e))


def _stuck(state_dir: Path, e: OSError) -> errors.HoldfastError:
    return errors.HoldfastError(errors.RESTORE_STUCK, path=state_dir / intent.INTENT_NAME, reason=_words(e))


def _words(e: OSError) -> str:
    text = e.strerror or str(e)
    return f"{os.fsdecode(e.filename)}: {text}" if e.filename else text
