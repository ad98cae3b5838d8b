"""Versions of state: what a snapshot, its growth and a restore cost beside restic and borg, on the same workspace.

Each round makes a fresh first snapshot, changes one per cent of the workspace, takes it, looks again where nothing
changed, and restores all and one file; the archives take turns, in another order each round. All encrypt; Holdfast, and
nobody else, syncs what it restores. CPU is user and system of all processes that do the work.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import processes, state_peers, state_tables
from bench.context import Context, Result, Section
from bench.install import ROOT, Unavailable
from bench.state_command import through_the_command_line
from bench.state_pause import pauses
from bench.state_peers import AGENT_ID, Archive, Cost, Holdfast

NAME = "state"
TITLE = "Versions of state: snapshots, growth and restores beside restic and borg"
OWN_PEERS = True  # other programs than the supervisors
ROUNDS = 5
SCALE, SCALE_QUICK = 1.0, 0.1
SAME_TIMES, SAME_TIMES_OURS = 3, 20  # a process's start is long enough to be timed alone; a resident job is not
FILE_TIMES = 3
IDLE_AGENTS = 100
PAUSES, PAUSES_QUICK = 100, 10
MUTATE_S = 300.0
OPERATIONS = ("first full", "1 % changed", "nothing changed", "restore all", "restore one file")


def run(context: Context) -> Result:
    """{"rounds", "workspace", "archives": {name: {"setting", "costs", "first_bytes", "growth_bytes"}}, …}."""
    kinds = _available(context)
    workspace = context.place / "workspace"
    _workspace(context, workspace, "make", "--scale", str(SCALE_QUICK if context.quick else SCALE))
    figures: Result = {
        "rounds": context.rounds or (1 if context.quick else ROUNDS),
        "workspace": _weigh(workspace),
        "archives": {
            kind.name: {
                "setting": kind.setting,
                "costs": {operation: [] for operation in OPERATIONS},
                "first_bytes": 0,
                "growth_bytes": [],
            }
            for kind in kinds
        },
    }
    _Rounds(context, workspace, kinds, figures).all()
    figures["idle"] = _idle(context, workspace)
    figures["pause"] = pauses(context, workspace, PAUSES_QUICK if context.quick else PAUSES)
    figures["command_line"] = through_the_command_line(context, workspace, 3 if context.quick else 10)
    return figures


def _available(context: Context) -> list[type[Archive]]:
    kinds: list[type[Archive]] = []
    for kind in state_peers.ALL:
        try:
            context.available[kind.name] = kind.version()
            kinds.append(kind)
        except Unavailable as reason:
            context.skipped[kind.name] = str(reason)
            context.say(f"{kind.name} is skipped: {reason}")
    return kinds


class _Rounds:
    """`kept`: repositories that grow from round to round."""

    def __init__(self, context: Context, workspace: Path, kinds: list[type[Archive]], figures: Result) -> None:
        self._context, self._workspace, self._kinds, self._figures = context, workspace, kinds, figures
        self._kept: dict[str, Archive] = {}
        self._scratch = context.place / "scratch"

    def all(self) -> None:
        for number in range(self._figures["rounds"]):
            self._scratch.mkdir()
            turn = number % len(self._kinds)
            self._round(number, self._kinds[turn:] + self._kinds[:turn])
            shutil.rmtree(self._scratch)

    def _round(self, number: int, kinds: list[type[Archive]]) -> None:
        for kind in kinds:
            self._first(number, kind)
        _workspace(self._context, self._workspace, "mutate", "--seed", str(100 + number))
        for name in [kind.name for kind in kinds]:
            kept = self._kept[name]
            before = kept.size_bytes()
            self._measure(name, "1 % changed", kept.snapshot)
            self._figures["archives"][name]["growth_bytes"].append(kept.size_bytes() - before)
        for name in [kind.name for kind in kinds]:
            times = SAME_TIMES_OURS if name == Holdfast.name else SAME_TIMES
            self._measure(name, "nothing changed", partial(self._kept[name].snapshot, times))
        for name in [kind.name for kind in kinds]:
            self._restore(name)

    def _first(self, number: int, kind: type[Archive]) -> None:
        """Into a fresh repository; the first round's are kept."""
        place = self._context.place / kind.name if number == 0 else self._scratch / kind.name
        archive = kind(place, self._workspace)
        archive.create()
        self._measure(kind.name, "first full", archive.snapshot)
        if number == 0:
            self._kept[kind.name] = archive
            self._figures["archives"][kind.name]["first_bytes"] = archive.size_bytes()

    def _restore(self, name: str) -> None:
        """What was restored lies until the end of the round: a deletion would cost whoever comes next."""
        kept, target = self._kept[name], self._scratch / f"restored-{name}"
        target.mkdir()
        self._measure(name, "restore all", lambda: kept.restore(target))
        _compare(self._workspace, target)
        (one := self._scratch / f"one-{name}").mkdir()
        texts = sorted((self._workspace / "notes").rglob("*.md"))
        self._measure(name, "restore one file", lambda: kept.restore_file(texts[len(texts) // 2], one, FILE_TIMES))

    def _measure(self, name: str, operation: str, act: Callable[[], Cost]) -> None:
        os.sync()  # what others wrote is not waited for in here
        load = os.getloadavg()[0]
        cost = act()
        row = {"cpu_s": round(cost.cpu_s, 4), "wall_s": round(cost.wall_s, 4), "rss_mb": round(cost.rss_mb, 1)}
        self._figures["archives"][name]["costs"][operation].append({**row, "load": round(load, 2)})
        self._context.say(f"state: {operation}: {name}: {row['cpu_s']} CPU s, {row['wall_s']} s, {row['rss_mb']} MB")


def _idle(context: Context, workspace: Path) -> Result:
    """A hundred snapshots of a workspace in which nothing changed, as a hundred agents cause them each minute."""
    idle = Holdfast(context.place / "idle", workspace)
    idle.create()
    idle.snapshot()
    cost = idle.snapshot(IDLE_AGENTS)
    context.say(f"state: {IDLE_AGENTS} idle agents a minute: {cost.cpu_s * IDLE_AGENTS:.2f} CPU s")
    return {"agents": IDLE_AGENTS, "cpu_s_per_agent": round(cost.cpu_s, 5), "wall_s_per_agent": round(cost.wall_s, 5)}


def _workspace(context: Context, workspace: Path, what: str, *options: str) -> None:
    """In a process of its own: it forks, and this one's reaper would take its children."""
    argv: list[str | Path] = [sys.executable, "-m", "bench.state_workspace", what, workspace, *options]
    processes.command(argv, context.place / "workspace.log", timeout_s=MUTATE_S, cwd=ROOT)
    state_peers.give(workspace, AGENT_ID)


def _weigh(workspace: Path) -> Result:
    paths = [path for path in workspace.rglob("*") if path.is_file()]
    return {"files": len(paths), "bytes": sum(path.stat().st_size for path in paths)}


def _compare(workspace: Path, target: Path) -> None:
    """Whatever was restored is the workspace, but for the databases, which Holdfast writes anew from their pages."""
    (found,) = [path.parent for path in target.rglob("notes") if path.is_dir()]
    for path in workspace.rglob("*"):
        if not path.is_file() or path.name.startswith(("state.db", "memory.db")):
            continue
        if (found / path.relative_to(workspace)).read_bytes() != path.read_bytes():
            raise RuntimeError(f"{path} was restored as something else")


def report(result: Result) -> Section:
    """Tables of all archives, and the goals."""
    return Section(state_tables.lines(result, OPERATIONS), state_tables.goals(result))
