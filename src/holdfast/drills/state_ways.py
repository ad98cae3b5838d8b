"""Tries the faults of what an agent keeps on disk: hurts it, watches it come back, and looks at what came back.

Invariant: a result is passed only when the state itself was looked at, by the agent at its start or in a copy; a user's
agent is hurt only after a snapshot, and ends with the state of that one. Called by run.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from holdfast import limits
from holdfast.drills import kept, lost_machine
from holdfast.drills.faults import BEHIND_S, EVERY_S
from holdfast.drills.kept import Begun, Count
from holdfast.drills.score import Result
from holdfast.drills.stage import Row, ThrowAwayStage
from holdfast.drills.watch import Watch
from holdfast.state.identity import acting_as
from holdfast.state.looking.choose import KNOWN_GOOD
from holdfast.state.model import Rights

GOOD_MAX_S = limits.PROVEN_AFTER_S + 3 * limits.STATE_UPKEEP_LOOK_S + 30.0  # until there is something to restore
READY_MAX_S = 30.0
MOVED = ".holdfast-drill"  # a user's directory that was "deleted" lies beside its place under this name


def unfit(known: Row | None) -> str:
    """Why the state of a user's agent is not hurt now, by what `describe` says of it; "": it may be."""
    if known is None or not known["spec"]["state"]["paths"]:
        return "it declares no `state: {paths}`, so there is nothing to restore"
    budget = next((one for one in known["outlook"]["budgets"] if one["name"] == "restore"), None)
    if budget is None:
        return "it has no snapshot that could be restored"
    if not budget["left"]:
        again = f", again in {budget['back_in_s']:.0f} s" if budget["back_in_s"] else ""
        return f"it was restored lately, and the ladder restores once in its window{again}"
    return ""


def corrupt_state(watch: Watch) -> Result:
    def hurt(paths: list[str]) -> str:
        if not kept.corrupt(paths):
            return "there is no database and no JSON file in its state"
        return ""

    return _tier_three(watch, hurt, kill=True)


def delete_state(watch: Watch) -> Result:
    def hurt(paths: list[str]) -> str:
        if isinstance(watch.stage, ThrowAwayStage):
            kept.delete(watch.stage.place())
            return ""
        os.rename(paths[0], paths[0] + MOVED)
        return ""

    return _tier_three(watch, hurt, kill=not watch.stage.throw_away)


def _tier_three(watch: Watch, hurt: Callable[[list[str]], str], *, kill: bool) -> Result:
    """Hurt it while it runs; it fails at its start; the ladder restores the last known-good snapshot."""
    stage = watch.stage
    good = stage.wait_for(lambda: _good(stage.snapshots()), GOOD_MAX_S)
    if not good:
        return watch.result(None, None, "no snapshot of it became known-good")
    before = ""
    if not stage.throw_away:
        before = _taken(watch)
        if not before:
            return watch.result(None, None, "no snapshot could be taken first, so it was not hurt")
    good = _good(stage.snapshots()) or good
    last = _count(watch)
    paths = list((stage.detail() or {"spec": {"state": {"paths": []}}})["spec"]["state"]["paths"])
    watch.began = time.monotonic()
    try:
        with acting_as(_rights(watch.row["pid"])):
            broken = hurt(paths)
    except OSError as error:
        broken = f"it could not be hurt: {error}"
    if broken:
        return watch.result(None, None, broken)
    if kill:
        with contextlib.suppress(ProcessLookupError):
            os.kill(watch.row["pid"], 9)
    caught_s = watch.until(watch.new_incident)
    restored_s = watch.until(lambda: watch.new_and_well() or (stage.row() or {}).get("phase") == "escalated")
    by_command = not watch.is_restored(good["id"])  # it happily started on what was left, or did not come back
    if by_command:
        restored_s, why = _by_command(watch, good["id"])
        if why:
            return watch.result(caught_s, None, f"tier 3 did not restore it, and neither did `holdfast restore`: {why}")
    watch.start_s = max(watch.start_s, stage.start_s())
    how = "by `holdfast restore`, since it did not fail at its start" if by_command else "by tier 3"
    if before:
        return _as_before(watch, caught_s, restored_s, before, paths, how)
    return _looked(watch, caught_s, restored_s, last, good["at"], how)


def _by_command(watch: Watch, snapshot: str) -> tuple[float | None, str]:
    done = watch.stage.cli("restore", watch.stage.agent, snapshot, "--yes")
    if done.returncode:
        return None, _said(done.stderr)
    return watch.until(watch.stage.well), ""


def _looked(
    watch: Watch, caught_s: float | None, restored_s: float | None, last: Count | None, at: float, how: str
) -> Result:
    """What the agent found when it began: whole, and not older than one interval before the snapshot it came from."""
    found = _begun(watch)
    if found is None or last is None:
        return watch.result(caught_s, restored_s, "what it keeps could not be looked at")
    broken = found.broken()
    if not broken and not at - BEHIND_S <= found.at <= at + BEHIND_S:
        broken = f"its state is of {abs(found.at - at):.0f} s {'before' if found.at < at else 'after'} that snapshot"
    if not broken and found.n > last.n + kept.AHEAD:
        broken = f"it counts {found.n} after {last.n}: that is not what it was restored from"
    told = f"count {found.n} of {last.n}, {max(0.0, last.at - found.at):.1f} s lost, {how}"
    watch.fault = replace(watch.fault, promise=f"{watch.fault.promise}: {told}")
    return watch.result(caught_s, restored_s, broken)


def _as_before(
    watch: Watch, caught_s: float | None, restored_s: float | None, before: str, paths: list[str], how: str
) -> Result:
    """A user's agent ends with the state it had when the drill began."""
    stage = watch.stage
    done = stage.cli("restore", stage.agent, before, "--yes")
    back = not done.returncode and stage.wait_for(stage.well, watch.patience_s)
    left = [path + MOVED for path in paths if os.path.lexists(path + MOVED)]
    told = f": {how}; then its state of before the drill (snapshot {before[:12]})"
    told += f"; what no snapshot holds lies in {', '.join(left)}" if left else ""
    watch.fault = replace(watch.fault, promise=watch.fault.promise + told)
    broken = "" if back else f"its state of before did not come back: holdfast restore {stage.agent} {before[:12]}"
    return watch.result(caught_s, restored_s, broken)


def delete_agent(watch: Watch) -> Result:
    """Removed, its files deleted too, then brought back with its last state."""
    stage = watch.stage
    assert isinstance(stage, ThrowAwayStage)
    name = stage.agent
    if not stage.wait_for(lambda: len(stage.snapshots()) > 1, READY_MAX_S):
        return watch.result(None, None, "no snapshot of it was made")
    watch.began = time.monotonic()
    done = stage.cli("rm", name, "--yes")
    if done.returncode:
        return watch.result(None, None, f"`holdfast rm` failed: {_said(done.stderr)}")
    last = kept.count(stage.place())
    kept.delete(stage.place())
    caught_s = watch.until(lambda: name in stage.cli("undelete").stdout, READY_MAX_S)
    done = stage.cli("undelete", name)
    if done.returncode:
        return watch.result(caught_s, None, f"`holdfast undelete` failed: {_said(done.stderr)}")
    restored_s = watch.until(stage.well, READY_MAX_S)
    if restored_s is None:
        return watch.result(caught_s, None, f"it is back, but not well: {_said(done.stdout)}")
    watch.start_s = max(watch.start_s, stage.start_s())
    return _as_left(watch, caught_s, restored_s, last, kept.AHEAD * EVERY_S)


def lose_machine(watch: Watch) -> Result:
    """Nothing is left but the second place, the recovery key and holdfast.yaml."""
    stage = watch.stage
    assert isinstance(stage, ThrowAwayStage)
    if not stage.wait_for(lambda: sum(bool(row["remote"]) for row in stage.snapshots()) > 1, READY_MAX_S):
        return watch.result(None, None, f"nothing arrived in {stage.second}")
    key = stage.cli("state", "key").stdout
    last = kept.count(stage.place())
    watch.began = time.monotonic()
    lost_machine.lose(stage)
    caught_s = None
    found = stage.cli("restore", "--from", stage.second)
    if found.returncode == 0 and stage.agent in found.stdout:
        caught_s = watch.since()
    broken = lost_machine.rebuild(stage, key)
    if broken:
        return watch.result(caught_s, None, broken)
    restored_s = watch.until(stage.well)
    watch.start_s = max(watch.start_s, stage.start_s())
    return _as_left(watch, caught_s, restored_s, last, 2 * BEHIND_S)


def _as_left(
    watch: Watch, caught_s: float | None, restored_s: float | None, last: Count | None, behind_s: float
) -> Result:
    """What it began with is what it had counted to, at most so much behind."""
    found = _begun(watch)
    if found is None or last is None:
        return watch.result(caught_s, restored_s, "what it keeps could not be looked at")
    behind = last.at - found.at
    broken = found.broken() or ("" if behind <= behind_s else f"its state is {behind:.0f} s old")
    told = f"count {found.n} of {last.n}, {max(0.0, behind):.1f} s lost"
    watch.fault = replace(watch.fault, promise=f"{watch.fault.promise}: {told}")
    return watch.result(caught_s, restored_s, broken)


# --- a full disk ------------------------------------------------------------------------------------------------------
class FullDisk:
    """The snapshots on the disk that is being filled: those that are there stay, and the next one works again."""

    def __init__(self, watch: Watch) -> None:
        self._stage, self._watch = watch.stage, watch
        self._stage.wait_for(lambda: len(self._stage.snapshots()) > 1, READY_MAX_S)
        self._before = [row["id"] for row in self._stage.snapshots()]
        self.said = ""

    def while_full(self) -> str:
        """What is wrong with them now; "": nothing."""
        stage, look = self._stage, Path(self._stage.home.path).parent / "look-full"
        if not self._before:
            return "no snapshot of it was made"
        asked = stage.cli("snapshot", stage.agent, "--label", "full", "--json")
        self.said = _said(asked.stderr) if asked.returncode else ""
        return self._whole(look)

    def with_room(self) -> str:
        stage = self._stage
        done = stage.cli("snapshot", stage.agent, "--label", "room", "--json")
        if done.returncode:
            return f"with room again, no snapshot: {_said(done.stderr)}"
        rows = {row["id"] for row in stage.snapshots()}
        gone = [one for one in self._before if one not in rows]
        if gone:
            return f"{len(gone)} committed snapshots are gone"
        checked = stage.cli("state", "verify", stage.agent, "--all", "--json")
        if checked.returncode:
            return f"the snapshots are not whole: {_said(checked.stderr) or checked.stdout[:200]}"
        return self._whole(Path(stage.home.path).parent / "look-room")

    def _whole(self, look: Path) -> str:
        """The newest of those from before, written to another disk and looked at."""
        stage = self._stage
        done = stage.cli("restore", stage.agent, self._before[-1], "--to", str(look))
        if done.returncode:
            return f"a committed snapshot cannot be read: {_said(done.stderr)}"
        _count, wrong = kept.looked_at(look)
        return f"a committed snapshot is not whole: {wrong}" if wrong else ""


# --- looking ----------------------------------------------------------------------------------------------------------
def _good(rows: list[Row]) -> Row | None:
    return next((row for row in reversed(rows) if KNOWN_GOOD in row["pins"] and row["deleted_until"] is None), None)


def _taken(watch: Watch) -> str:
    """The id of a snapshot that stands for now; "": there is none."""
    done = watch.stage.cli("snapshot", watch.stage.agent, "--label", "before the drill", "--json")
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return ""
    return str(told.get("id", "")) if done.returncode == 0 else ""


def _count(watch: Watch) -> Count | None:
    return kept.count(watch.stage.place()) if isinstance(watch.stage, ThrowAwayStage) else None


def _begun(watch: Watch) -> Begun | None:
    """Of the instance that runs now; it is written before its first beat."""
    stage = watch.stage
    assert isinstance(stage, ThrowAwayStage)
    number = (stage.row() or {}).get("instance")
    found = kept.begun(stage.place())
    return found if found is not None and found.instance == number else None


def _rights(pid: int) -> Rights | None:
    """Whose files these are: the running process tells. None: our own."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(OSError, ValueError):
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        groups = tuple(int(group) for group in lines["Groups"].split())
        return Rights(uid=int(lines["Uid"].split()[1]), gid=int(lines["Gid"].split()[1]), groups=groups)
    return None


def _said(text: str) -> str:
    lines = text.strip().splitlines()
    return next((line for line in lines if line.startswith("HF")), lines[-1] if lines else "no reason was given")
