"""Which snapshot a person means: `10 min ago`, `yesterday 14:00`, the first digits of an id, `known-good`.

Invariant: pure. A time chooses the newest snapshot that is not later; when there is none, the oldest is offered and
said to be later. An id that fits several snapshots chooses none of them. The newest is the newest that holds a file:
one taken after everything was deleted is nobody's wish. Called by the API and the command line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import tzinfo
from typing import Protocol

from msgspec import Struct

from holdfast import errors, when
from holdfast.errors import HoldfastError

ID_DIGITS_MIN = 4  # fewer digits fit too many snapshots, and may be a number of seconds
NEWEST = "newest"
KNOWN_GOOD = "known-good"
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS_MIN},32}}")
_NEWEST_WORDS = (NEWEST, "latest", "last")
_GOOD_WORDS = (KNOWN_GOOD, "good")
LISTED_MAX = 4  # snapshots named in a sentence about an ambiguous id
FORMS = f"{when.FORMS}, a snapshot's id, {NEWEST} or {KNOWN_GOOD}"


class Known(Protocol):
    """What is needed of a snapshot: answers.SnapshotRow has it."""

    @property
    def id(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def seq(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def damaged(self) -> str: ...
    @property
    def pins(self) -> tuple[str, ...]: ...


class Wish(Struct, frozen=True, kw_only=True):
    """What was asked for: a moment, an id's first digits, the known-good one; nothing of it: the newest."""

    at: float | None = None
    id: str = ""
    good: bool = False


class Choice(Struct, frozen=True, kw_only=True):
    """`off_s`: how far the snapshot lies from the moment wished, negative when it is earlier; None: no moment was.

    `clock_changed`: a snapshot that was made later says that it is older, so that times must be read with care.
    `empty`: so many newer ones were passed over, since they hold no file; `damaged`: or cannot be read.
    """

    id: str
    at: float
    off_s: float | None = None
    clock_changed: bool = False
    empty: int = 0
    damaged: int = 0


def wish(text: str, now_at: float, zone: tzinfo | None = None, *, prefer_id: bool = False) -> Wish:
    """Read what a person typed. Raises ValueError saying what was expected.

    Digits alone can be both: seconds ago, or an id. `prefer_id`: they are an id.
    """
    asked = " ".join(text.split()).lower()
    if asked in _NEWEST_WORDS:
        return Wish()
    if asked in _GOOD_WORDS:
        return Wish(good=True)
    is_id = _ID.fullmatch(asked) is not None
    if is_id and prefer_id:
        return Wish(id=asked)
    try:
        return Wish(at=when.parse(text, now_at, zone))
    except ValueError as error:
        if is_id:
            return Wish(id=asked)
        raise ValueError(str(error).replace(when.FORMS, FORMS)) from error


def choose(agent: str, snapshots: Sequence[Known], wished: Wish) -> Choice:
    """Raises HoldfastError NO_SNAPSHOTS, SNAPSHOT_NOT_FOUND, SNAPSHOT_AMBIGUOUS."""
    if not snapshots:
        raise HoldfastError(errors.NO_SNAPSHOTS, agent=agent)
    found = _found(agent, snapshots, wished)
    off_s = None if wished.at is None else found.at - wished.at
    disorder = any((one.seq > found.seq) != (one.at > found.at) for one in snapshots if one.at != found.at)
    passed = [one for one in snapshots if one.seq > found.seq] if wished == Wish() else []
    damaged = sum(bool(one.damaged) for one in passed)
    empty = len(passed) - damaged
    return Choice(id=found.id, at=found.at, off_s=off_s, clock_changed=disorder, empty=empty, damaged=damaged)


def _found(agent: str, snapshots: Sequence[Known], wished: Wish) -> Known:
    if wished.id:
        return by_id(agent, snapshots, wished.id)
    if wished.good:
        good = [one for one in snapshots if KNOWN_GOOD in one.pins]
        if not good:
            raise HoldfastError(errors.SNAPSHOT_NOT_FOUND, agent=agent, snapshot=KNOWN_GOOD)
        return max(good, key=lambda one: one.seq)
    if wished.at is None:
        return max(snapshots, key=lambda one: (one.files > 0, one.seq))
    moment = wished.at
    earlier = [one for one in snapshots if one.at <= moment]
    if earlier:
        return max(earlier, key=lambda one: (one.at, one.seq))
    return min(snapshots, key=lambda one: (one.at, one.seq))


def by_id(agent: str, snapshots: Sequence[Known], prefix: str) -> Known:
    """The one snapshot whose id begins so. Raises HoldfastError SNAPSHOT_NOT_FOUND, SNAPSHOT_AMBIGUOUS."""
    fitting = [one for one in snapshots if one.id.startswith(prefix.lower())]
    if not fitting:
        raise HoldfastError(errors.SNAPSHOT_NOT_FOUND, agent=agent, snapshot=prefix)
    if len(fitting) > 1:
        listed = ", ".join(one.id[: len(prefix) + 4] for one in fitting[:LISTED_MAX])
        more = f" and {len(fitting) - LISTED_MAX} more" if len(fitting) > LISTED_MAX else ""
        raise HoldfastError(
            errors.SNAPSHOT_AMBIGUOUS, agent=agent, snapshot=prefix, count=len(fitting), listed=listed + more
        )
    return fitting[0]
