"""Carries out what retention and the disk budget decide, and keeps the record of ages up to date.

Invariant: what goes, goes to trash first; the record is on the disk before anything goes by it. To be called under
the repository's lock, by the worker, now and then after snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from holdfast.limits import BUDGET_ROOM_PART, TRASH_EARLY_S, TRASH_THINNED_S
from holdfast.sizes import size
from holdfast.state.keeping import aging, budget, retention, trash, usage
from holdfast.state.keeping.aging import Reading, Times
from holdfast.state.keeping.retention import Held, Policy, Taking
from holdfast.state.store.repository import Repository

TIMES = "times"  # the record's file in an agent's state directory


class Thinned(Struct, frozen=True, kw_only=True):
    """What one round did. `expired`: ids that left the trash for good. `said`: sentences a person should read."""

    taken: list[Taking]
    early: list[Taking]
    expired: list[str]
    said: list[str]


def look(state_dir: Path, repository: Repository, clocks: Reading) -> Times:
    """The record with all that is there now, on the disk. Raises StoreError, OSError."""
    path = state_dir / TIMES
    times = aging.advance(aging.load(path), clocks)
    times = aging.observe(times, [one.name for one in repository.snapshots()])
    times = aging.observe_trash(times, trash.stays(repository.trashed(), clocks.at))
    aging.save(path, times)
    return times


def thin(
    repository: Repository,
    state_dir: Path,
    clocks: Reading,
    *,
    healthy: Iterable[str] = (),
    budget_bytes: int | None = None,
    policy: Policy | None = None,
    told: Callable[[list[str]], None] = lambda objects: None,
) -> Thinned:
    """One round: trash whose time is over, the ordinary rule, the budget. `healthy`: ids of snapshots proven good.

    `told`: see trash.expire. Raises StoreError, OSError.
    """
    times = look(state_dir, repository, clocks)
    expired = trash.expire(repository, times, clocks.at, told)
    good = frozenset(healthy)
    taken = retention.plan(_held(repository, times, good), repository.pins(), policy)
    times = _take(repository, state_dir, times, taken, clocks.at, TRASH_THINNED_S)
    early: list[Taking] = []
    said: list[str] = []
    if budget_bytes is not None and usage.stored_bytes(repository) > budget_bytes:
        plan = _plan_early(repository, times, good, budget_bytes, policy)
        early = plan.taken
        times = _take(repository, state_dir, times, early, clocks.at, TRASH_EARLY_S)
        expired += trash.expire(repository, times, clocks.at, told)
        said = _sentences(plan, budget_bytes)
    return Thinned(taken=taken, early=early, expired=[one.snapshot.id for one in expired], said=said)


def _held(repository: Repository, times: Times, healthy: frozenset[str]) -> list[Held]:
    return [Held(one, aging.age_s(times, one.name), one.id in healthy) for one in repository.snapshots()]


def _plan_early(
    repository: Repository, times: Times, healthy: frozenset[str], budget_bytes: int, policy: Policy | None
) -> budget.Early:
    """Only what snapshots hold counts: unused packs wait for gc, and thinning more would not hurry it."""
    held = _held(repository, times, healthy)
    found = usage.spans(repository, [one.snapshot for one in held])
    if found.live_bytes <= budget_bytes:
        return budget.Early(taken=[], freed_bytes=0, enough=True)
    excess = found.live_bytes - int(budget_bytes * (1 - BUDGET_ROOM_PART))
    return budget.plan(held, repository.pins(), found.sizes, excess, policy)


def _take(
    repository: Repository, state_dir: Path, times: Times, takings: list[Taking], now: float, keep_s: float
) -> Times:
    if not takings:
        return times
    due = dict(times.due)
    for taking in takings:
        due[trash.remove(repository, taking.snapshot, now, keep_s).object_name] = times.elapsed_s + keep_s
    times = Times(elapsed_s=times.elapsed_s, last=times.last, seen=times.seen, due=due)
    aging.save(state_dir / TIMES, times)
    return times


def _sentences(plan: budget.Early, budget_bytes: int) -> list[str]:
    said = []
    if plan.taken:
        said.append(
            f"{len(plan.taken)} snapshots were thinned early, since they outgrew the disk budget of "
            f"{size(budget_bytes)}: {size(plan.freed_bytes)} will be free in a day or two"
        )
    if not plan.enough:
        said.append(
            f"the disk budget of {size(budget_bytes)} cannot be kept: what is left is known-good, pinned, the newest "
            "and one a day. Give it more room with `state.budget`, or leave something out with `state.exclude`"
        )
    return said
