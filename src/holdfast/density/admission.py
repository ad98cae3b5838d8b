"""One queue for all starts: by priority, then by waiting time. A start takes start slots (CPU) and a memory lease.

Invariants: what is granted in one turn fits into the room and into the cores together; nobody less important passes
the first that memory keeps out before that one waited PASS_AFTER_S in vain, and nobody heavy the first that the CPU
keeps out; one start always fits an idle node, unless it is larger than the node. Who was shed stands in the same order:
it comes back by itself, and until then the room it needs is kept from whoever is less important. A restart after a
crash keeps its lease and does not stand here. Pure. Called by the keeper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Struct

from holdfast import limits, sizes
from holdfast.density.model import Want

PASS_AFTER_S = 10.0  # shedding for a start takes up to this: then it is not the room of the others that is missing


class Waiting(Struct, frozen=True, kw_only=True):
    """Who wants to start. `slots`: cores its start takes (healing.slots.weight); 0: so light that CPU does not matter.

    `need_bytes`: start_need(). `start_s`: how long such a start took, for the estimate. `held`: why it alone may not
    start at present, one clause; others pass it. `returns`: it was shed, and is not to be granted anything here.
    """

    name: str
    priority: int
    since_mono: float
    slots: float
    need_bytes: int
    start_s: float = 10.0
    held: str = ""
    returns: bool = False


class Starting(Struct, frozen=True, kw_only=True):
    """A start under way. `slots` it has not given back; `lease_bytes` are already taken off the room."""

    name: str
    slots: float
    since_mono: float
    start_s: float = 10.0
    lease_bytes: int = 0


class Standing(Struct, frozen=True, kw_only=True):
    """What `top` and `ps` show of who waits. `position` from 1; `estimate_s` None: nobody can tell."""

    name: str
    position: int
    why: str
    estimate_s: float | None


class Admitted(NamedTuple):
    """`want`: the first that only memory keeps out, to be put into the next reading of the semaphore. Once it waited in
    vain, the first for which less important agents could make room."""

    names: tuple[str, ...]
    standings: tuple[Standing, ...]
    want: Want | None


def start_need(declared: int | None, observed_peak: int | None, recipe_default: int | None, limit: int | None) -> int:
    """The lease of a start, in bytes: as declared, else a fifth above what was seen, else as its recipe says."""
    if declared is not None:
        need = declared
    elif observed_peak is not None:
        need = int(observed_peak * limits.START_PEAK_FACTOR)
    else:
        need = recipe_default or limits.START_NEED_BYTES
    return need if limit is None else min(need, limit)


def peaks_kept(before: tuple[int, ...], peak: int, whole: bool) -> tuple[int, ...]:
    """The peaks of the last few starts, bytes, oldest first; the largest of them is what the next start is given.

    `whole`: it was watched from its beginning until it settled; any other tells only how much it took at least.
    """
    if peak <= 0 or (not whole and peak <= max(before, default=0)):
        return before
    return (*before, peak)[-limits.START_PEAKS_KEPT :]


def settled(ready: bool, flat_s: float, since_mono: float, now: float, budget_mono: float = float("-inf")) -> bool:
    """Whether a start gives its lease back: ready and flat for a while, or it took too long. See `flat`.

    `budget_mono`: when the time is up that it has to become ready. Until then, who still grows keeps its lease.
    """
    is_flat = flat_s >= limits.START_FLAT_S
    too_long = now - since_mono >= limits.START_LEASE_MAX_S and (ready or is_flat or now >= budget_mono)
    return (ready and is_flat) or too_long


def flat(rate_bytes_s: float) -> bool:
    """It grows so slowly that its start is over."""
    return rate_bytes_s < limits.START_FLAT_BYTES_S


def pressed(before: bool, pressure: float, left: float) -> bool:
    """Whether pressure pauses admission. With hysteresis: it ends at half of what began it.

    `left`: share of the node's memory that could still be given. Where much is, whoever waits for memory stands at a
    ceiling, perhaps of somebody else's: that is no reason to keep others from starting.
    """
    return left < limits.ADMISSION_ROOMY_SHARE and pressure >= limits.ADMISSION_PRESSURE * (0.5 if before else 1.0)


def disk_keeps_out(share: float, free_bytes: int, files_left: bool, warn_share: float, over_bound: bool) -> bool:
    """Whether an agent that lives on this disk may not start: before the disk is full, and after it was warned of.

    `over_bound`: its directories hold more than it declared; then the disk's warning is enough.
    """
    if not files_left or (over_bound and share >= warn_share):
        return True
    return share >= 1 - (1 - warn_share) * limits.DISK_ADMISSION_LEFT and free_bytes < limits.DISK_ADMISSION_BYTES


def place_in_line(one: Waiting) -> tuple[int, float, str]:
    """Sorts the queue."""
    return -one.priority, one.since_mono, one.name


def admit(
    waiting: Iterable[Waiting],
    starting: Iterable[Starting],
    room_bytes: int,
    node_budget_bytes: int,
    cores: int,
    paused: str,
    now: float,
    could_have: Callable[[int], int] | None = None,
) -> Admitted:
    """Who may start now, and how everybody else stands. `room_bytes`: semaphore.room. `paused`: why nobody may; "".
    `could_have`: bytes that a start of a priority could have if all less important ones went; None: not known."""
    under_way = [one for one in starting if now - one.since_mono < limits.SLOT_HELD_MAX_S]
    free_slots = max(1, cores) - sum(one.slots for one in under_way)
    room = room_bytes
    names: list[str] = []
    standings: list[Standing] = []
    wants: list[Want] = []
    blocked = short = ""  # the first that nobody heavy passes, and the first that nobody passes: memory keeps it out
    kept_for = ""  # the first that was shed, and for which room is kept
    foreseen, ahead_s, position = True, 0.0, 0
    busy = _Busy.of([one for one in under_way if one.slots > 0], now)
    lent = _Busy.of([one for one in under_way if one.lease_bytes > 0], now)
    for one in sorted(waiting, key=place_in_line):
        fits_cpu = one.returns or one.slots <= 0 or one.slots <= free_slots + 1e-9
        fits_memory = one.need_bytes <= room
        never = paused or one.held or ("too large" if one.need_bytes > node_budget_bytes else "")
        barrier = blocked if one.slots > 0 else short
        if not one.returns and not never and fits_cpu and fits_memory and not barrier:
            names.append(one.name)
            free_slots -= one.slots
            room -= one.need_bytes
            continue
        position += 1
        known = None
        if not one.returns:
            why = paused or one.held or _why(one, fits_cpu, fits_memory, room, node_budget_bytes, kept_for)
            foretold = not never and foreseen and not (kept_for and not fits_memory)
            known = _estimate(one, busy if fits_memory else lent, room, ahead_s) if foretold else None
            said = why or f"waits behind {barrier}"
            standings.append(Standing(name=one.name, position=position, why=said, estimate_s=known))
        if never:
            continue
        if one.returns and fits_memory:
            room -= one.need_bytes
            kept_for = kept_for or one.name
            continue
        ahead_s += one.start_s if one.slots > 0 or not fits_memory else 0.0
        if not fits_memory and fits_cpu and not (barrier or kept_for or one.returns):
            wants.append(
                Want(name=one.name, priority=one.priority, need_bytes=one.need_bytes, since_mono=one.since_mono)
            )
        if not fits_memory and now - one.since_mono >= PASS_AFTER_S:
            continue
        if not (fits_cpu and fits_memory):
            blocked = blocked or one.name
        if not fits_memory:
            foreseen = foreseen and known is not None
            short = short or one.name
    return Admitted(tuple(names), tuple(standings), _want(wants, could_have, now))


def _want(wants: list[Want], could_have: Callable[[int], int] | None, now: float) -> Want | None:
    """One for which nobody could make room hides nobody who could be helped."""
    if not wants or could_have is None or now - wants[0].since_mono < PASS_AFTER_S:
        return wants[0] if wants else None
    return next((one for one in wants if one.need_bytes <= could_have(one.priority)), wants[0])


def _why(one: Waiting, fits_cpu: bool, fits_memory: bool, room: int, budget: int, kept_for: str) -> str:
    if one.need_bytes > budget:
        needs, has = sizes.needed_and_left(one.need_bytes, budget)
        return f"needs {needs} to start, and the whole node has {has} for agents"
    if not fits_memory:
        needs, free = sizes.needed_and_left(one.need_bytes, room)
        kept = f" beside what is kept for {kept_for}, which comes back first" if kept_for else ""
        return f"needs {needs} to start, {free} are free{kept}"
    return "" if fits_cpu else "waits for a start slot: other starts use the CPU"


class _Busy(NamedTuple):
    """Starts under way, together. `rest_s`: until the first of them is done."""

    number: int
    rest_s: float
    lease_bytes: int

    @classmethod
    def of(cls, starting: list[Starting], now: float) -> _Busy:
        rest_s = min((max(0.0, one.start_s - (now - one.since_mono)) for one in starting), default=0.0)
        return cls(len(starting), rest_s, sum(one.lease_bytes for one in starting))


def _estimate(one: Waiting, busy: _Busy, room: int, ahead_s: float) -> float | None:
    """Seconds, from how long such starts took. Memory is foreseen only where leases of starts come back."""
    if one.need_bytes > room and one.need_bytes > max(0, room) + busy.lease_bytes:
        return None
    return round(busy.rest_s + ahead_s / max(1, busy.number), 1)
