"""The faults about the node's memory: what is done, and what the others may not notice of it.

Invariant: as in run.py: what was injected is taken back whatever happens. Called by run.py.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from holdfast.drills.memory_stage import IMPORTANT, LIMIT_BYTES, MB, MOST_BYTES, MemoryStage, Taker
from holdfast.drills.score import Result, skipped
from holdfast.drills.stage import is_well, python, tree_of
from holdfast.drills.watch import Watch
from holdfast.errors import HoldfastError

STANDSTILL_S = 1.0  # longer, and somebody has noticed
LEAK_BYTES_S = 3_000_000
FORKS, FORK_BYTES = 24, 40 * MB  # each smaller than an important agent, together more than the node
STOPPED_MAX_S = 20.0
RESERVE_LEFT = 0.4  # of the reserve: what the neighbour leaves


class Others:
    """The important agents while something happens: how long they stood still, and whether they are the same."""

    def __init__(self, watch: Watch) -> None:
        assert isinstance(watch.stage, MemoryStage)
        self._watch, self._stage = watch, watch.stage
        self._before = self._places()
        self._kills = self._stage.kernel_kills()
        for name in IMPORTANT:
            (self._stage.directory / name / "gap").unlink(missing_ok=True)
            self._stage.tell(name, "watch")
        self._stage.wait_for(lambda: len(self._gaps()) == len(IMPORTANT), STANDSTILL_S * 5)

    def _places(self) -> dict[str, tuple[Any, Any]]:
        status = self._stage.status() or {"agents": []}
        rows = {row["name"]: (row["pid"], row["instance"]) for row in status["agents"]}
        return {name: rows[name] for name in IMPORTANT if name in rows}

    def _gaps(self) -> list[float]:
        found = []
        for name in IMPORTANT:
            with contextlib.suppress(OSError, ValueError, KeyError):
                found.append(float(json.loads((self._stage.directory / name / "gap").read_bytes())["gap"]))
        return found

    def standstill_s(self) -> float:
        return max(self._gaps(), default=0.0)

    def noticed(self) -> str:
        """What one of them noticed, or what the kernel did; "" when nothing."""
        if self._places() != self._before:
            return f"more important agents were restarted: {self._before}, now {self._places()}"
        hurt = [one["agent"] for one in self._stage.incidents() if one["id"] not in self._watch.known]
        if any(name in IMPORTANT for name in hurt):
            return f"incidents of more important agents: {', '.join(sorted(set(hurt)))}"
        if self._stage.kernel_kills() > self._kills:
            return "the kernel killed for memory in the node"
        if self.standstill_s() > STANDSTILL_S and not self._watch.starved:
            return f"a more important agent stood still for {self.standstill_s():.2f} s"
        return ""

    def end(self) -> None:
        for name in IMPORTANT:
            self._stage.tell(name, "")


@contextlib.contextmanager
def _others(watch: Watch) -> Iterator[Others]:
    others = Others(watch)
    watch.began = time.monotonic()
    try:
        yield others
    finally:
        watch.stage.set_fault("")
        others.end()


def _phase(watch: Watch) -> str:
    watch.new_incident()  # notes a starved machine as well
    return str((watch.stage.row() or {}).get("phase", ""))


def _told(watch: Watch, kind: str) -> dict[str, Any] | None:
    """The newest record of this kind about the agent."""
    with contextlib.suppress(HoldfastError, ValueError):
        for line in watch.stage.client.stream("/v1/events", follow=False, agent=watch.stage.agent, kind=kind, last=1):
            event: dict[str, Any] = json.loads(line)
            return event
    return None


def _said(result: Result, *more: str) -> Result:
    return replace(result, detail="; ".join((result.detail, *filter(None, more))))


def _shed(watch: Watch, text: str) -> Result:
    """It takes what it can, goes whole, and comes back when the cause is gone."""
    stage = watch.stage
    home_id, old = stage.home.home_id(), set(tree_of(stage.home.home_id(), stage.agent))
    with _others(watch) as others:
        stage.set_fault(text)

        def gone() -> bool:
            old.update(tree_of(home_id, stage.agent))
            return _phase(watch) == "shed"

        caught_s = watch.until(gone)
        left = [pid for pid in tree_of(home_id, stage.agent) if pid in old] if caught_s is not None else []
        stage.set_fault("")
        restored_s = watch.until(lambda: watch.new_and_well() and _phase(watch) == "healthy")
        event = _told(watch, "density.shed")
        broken = others.noticed()
        if not broken and left:
            broken = f"{len(left)} of its processes were left"
        if not broken and caught_s is not None and event is None:
            broken = "it was not written down who went for whom"
        result = watch.result(caught_s, restored_s, broken)
        return _said(result, f"the others stood still for {others.standstill_s():.2f} s at most")


def spike(watch: Watch) -> Result:
    return _shed(watch, f"spike {MOST_BYTES}")


def fork_memory(watch: Watch) -> Result:
    return _shed(watch, f"fork-memory {FORKS} {FORK_BYTES}")


def leak(watch: Watch) -> Result:
    """Told on the way, restarted before its limit, and no incident of it."""
    stage = watch.stage
    with _others(watch) as others:
        stage.set_fault(f"leak {LIMIT_BYTES + LIMIT_BYTES // 4} {LEAK_BYTES_S}")
        caught_s = watch.until(lambda: "memory" in (stage.row() or {}).get("why", ""))

        def another() -> bool:
            row = stage.row()
            return row is not None and row["pid"] is not None and row["instance"] != watch.row["instance"]

        watch.until(another)
        stage.set_fault("")
        restored_s = watch.until(watch.new_and_well)
        broken = others.noticed()
        if watch.new_incident():
            broken = broken or "it died at its limit before it was restarted"
        planned = _told(watch, "density.leak")
        if not broken and restored_s is not None and planned is None:
            broken = "it was not restarted for its leak"
        return _said(watch.result(caught_s, restored_s, broken), planned["text"] if planned else "")


def start_storm(watch: Watch) -> Result:
    """All stopped, then all started at once: they queue, and none is late by its own measure."""
    stage = watch.stage
    assert isinstance(stage, MemoryStage)
    names = stage.storm()

    def rows() -> list[dict[str, Any]]:
        status = stage.status()
        return [row for row in status["agents"] if row["name"] in names] if status else []

    stage.cli("stop", *names)
    stage.wait_for(lambda: all(row["phase"] == "stopped" for row in rows() or [{"phase": ""}]), STOPPED_MAX_S)
    most = 0
    with _others(watch) as others:
        for name in names:
            stage.client.post(f"/v1/agents/{name}/start", {"wait": False})

        def waits() -> bool:
            return any(row["queued"] and " MB " in row["queued"]["why"] for row in rows())

        def all_up() -> bool:
            nonlocal most
            found = rows()
            most = max(most, sum(row["phase"] == "starting" for row in found))
            return len(found) == len(names) and all(is_well(row) for row in found)

        caught_s = watch.until(waits)
        restored_s = watch.until(all_up)
        broken = others.noticed()
        late = [one["agent"] for one in stage.incidents() if one["id"] not in watch.known and one["agent"] in names]
        if late:
            broken = broken or f"starts failed or were late: {', '.join(sorted(set(late)))}"
        return _said(watch.result(caught_s, restored_s, broken), f"{most} of {len(names)} at once at most")


def neighbour(watch: Watch) -> Result:
    """Other software takes so much that the reserve is eaten. Restored counts from when it gives it back."""
    stage = watch.stage
    assert isinstance(stage, MemoryStage)
    if stage.group is None:
        return skipped(watch.fault, stage.agent, "needs root and a memory cgroup around all of it (cgroup v1)")
    node = (stage.status() or {}).get("node") or {}
    if node.get("available_bytes") is None:
        return skipped(watch.fault, stage.agent, "the node's memory could not be read")
    take = int(node["available_bytes"] - RESERVE_LEFT * node["reserve_bytes"])
    with _others(watch) as others:
        taker = Taker(stage, python(), take)
        try:
            caught_s = watch.until(lambda: _phase(watch) == "shed")
            lived = taker.lives()
        finally:
            taker.end()
        watch.began = time.monotonic()
        restored_s = watch.until(lambda: watch.new_and_well() and _phase(watch) == "healthy")
        broken = others.noticed() or ("" if lived else "the kernel killed the neighbour")
        result = watch.result(caught_s, restored_s, broken)
        return _said(result, f"the others stood still for {others.standstill_s():.2f} s at most")
