"""What a glance at an agent tells about its snapshots: how many, the newest, the known-good one, what to be warned of.

Invariant: read from the names of the repository's objects alone; no pack is opened, and a repository that cannot be
listed is shown without figures. Called by the API for `describe`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from msgspec import Struct

from holdfast.keeper.agent import Agent
from holdfast.keeper.state.snapshots import Snapshots
from holdfast.state.looking.choose import KNOWN_GOOD
from holdfast.state.model import Snapshot
from holdfast.state.store import names


class Named(Struct, frozen=True, kw_only=True):
    """One snapshot; `at`: wall clock seconds."""

    id: str
    at: float


class Versions(Struct, frozen=True, kw_only=True):
    """`store`: the second place, "" where there is none. `trouble`: sentences a person should read."""

    snapshots: int = 0
    newest: Named | None = None
    known_good: Named | None = None
    store: str = ""
    trouble: tuple[str, ...] = ()


async def of(agent: Agent, snapshots: Snapshots) -> Versions | None:
    """None: it keeps no versions."""
    state = agent.spec.state
    if not state.paths:
        return None
    found = await asyncio.to_thread(_look, snapshots.jobs.directory(agent.name) / "repo")
    return Versions(
        snapshots=len(found[0]),
        newest=_named(found[0]),
        known_good=_named(found[1]),
        store=state.store or "",
        trouble=tuple(snapshots.trouble(agent.name)),
    )


def _look(repository: Path) -> tuple[list[Snapshot], list[Snapshot]]:
    """All snapshots, and the known-good ones."""
    every = [one for name in _list(repository / names.SNAPS) if (one := names.read_snapshot(name)) is not None]
    pins = [pin for name in _list(repository / names.PINS) if (pin := names.read_pin(name)) is not None]
    good = {pin.id for pin in pins if pin.why == KNOWN_GOOD}
    return every, [one for one in every if one.id in good]


def _list(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _named(found: list[Snapshot]) -> Named | None:
    last = max(found, key=lambda one: one.seq, default=None)
    return None if last is None else Named(id=last.id, at=last.at)
