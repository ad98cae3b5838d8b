"""Tries one fault: injects it, watches as a user would (`ps`, `incidents`), takes it away again, and judges.

Invariant: what was injected is taken back even when the watching fails, and the next fault begins with a well agent.
Times are taken here, by watching from outside; nothing the keeper says of its own speed is used. Called by the command
line, once for each fault.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.drills import memory_ways, score, state_ways
from holdfast.drills.faults import BEAT_S, Fault, for_agent
from holdfast.drills.score import Result
from holdfast.drills.stage import MEMORY_LIMIT_BYTES, NEIGHBOUR, Stage, ThrowAwayStage, tree_of
from holdfast.drills.watch import Watch

ESCALATE_MAX_S = 60.0
LEAK_SHARE = 0.75
DAY_S = 86_400.0


def try_fault(stage: Stage, fault: Fault, start_s: float) -> Result:
    """Inject one fault and judge what follows. Never raises for what the fault itself brings about."""
    if fault.name == "disk-full" and not (isinstance(stage, ThrowAwayStage) and stage.small_disk):
        return score.skipped(fault, stage.agent, "needs root: a small disk of its own cannot be mounted")
    if not stage.begin(fault):
        return score.skipped(fault, stage.agent, "the agent was not well before the fault")
    promised = fault if stage.throw_away else _promised(stage, fault)
    if fault.state and not stage.throw_away and (why := state_ways.unfit(stage.detail())):
        return score.skipped(fault, stage.agent, why)
    if promised is None:
        why = "nothing would notice: it has no endpoint, does not beat and writes no heartbeat file"
        return score.skipped(fault, stage.agent, why)
    return _WAYS[fault.name](Watch(stage, promised, start_s))


def _promised(stage: Stage, fault: Fault) -> Fault | None:
    """What is promised of this agent now: by its own settings, and by how long init may wait before a restart."""
    known = stage.detail()
    if known is None:
        return fault
    permit = known["permit"]
    wait_s = permit["delays_s"][0] if permit and permit["delays_s"] else 0.0
    return for_agent(fault, known["spec"], wait_s, beats=known["beat"] is not None)


# --- by signal ------------------------------------------------------------------------------------------------------
def _kill(watch: Watch) -> Result:
    os.kill(watch.row["pid"], signal.SIGKILL)
    return _healed(watch)


def _hang(watch: Watch) -> Result:
    os.kill(watch.row["pid"], signal.SIGSTOP)
    try:
        return _healed(watch)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(watch.row["pid"], signal.SIGCONT)


def _healed(watch: Watch) -> Result:
    caught_s = watch.until(watch.new_incident)
    restored_s = watch.until(watch.new_and_well)
    if restored_s is not None:  # the agent's own start is not ours: this one may have been slower than the last
        watch.start_s = max(watch.start_s, watch.stage.start_s())
    return watch.result(caught_s, restored_s)


def _kill_own(names: tuple[str, ...], *, up: bool) -> Callable[[Watch], Result]:
    def run(watch: Watch) -> Result:
        for name in names:
            os.kill(watch.own[name], signal.SIGKILL)
        if up:
            stage = watch.stage
            started = stage.up_again() if isinstance(stage, ThrowAwayStage) else stage.cli("up", "-d").returncode == 0
            if not started:
                return watch.result(None, None, "`holdfast up` failed")

        def back() -> bool:
            status = watch.stage.status()
            now = {one["name"]: one["pid"] for one in status["holdfast"]["processes"]} if status else {}
            return all(now.get(name) and now[name] != watch.own[name] for name in names)

        restored_s = watch.until(back)
        healthy = watch.until(watch.stage.well)
        return watch.result(restored_s, restored_s, watch.untouched() or ("" if healthy else "the agent is not well"))

    return run


# --- told to the throw-away agent -------------------------------------------------------------------------------------
def _told(watch: Watch) -> Result:
    """The agent hurts itself once: the fault is gone with the instance."""
    watch.stage.set_fault(watch.fault.name)
    try:
        caught_s = watch.until(watch.new_incident)
        watch.stage.set_fault("")
        return watch.result(caught_s, watch.until(watch.new_and_well))
    finally:
        watch.stage.set_fault("")


def _fork_leak(watch: Watch) -> Result:
    result = _told(watch)
    row = watch.stage.row() or {}
    marker = f":{row.get('instance')}"
    helpers = [
        pid for pid in tree_of(watch.stage.home.home_id(), watch.stage.agent) if not _instance_of(pid).endswith(marker)
    ]
    if helpers:
        return watch.result(result.caught_s, result.restored_s, f"{len(helpers)} helpers are left")
    return result


def _instance_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        for one in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if one.startswith(b"HOLDFAST_INSTANCE="):
                return one.decode("utf-8", "replace")
    return ""


def _exit_loop(watch: Watch) -> Result:
    """Bounded tries, then a person is told; healed when the cause is gone. Restored counts from then."""
    watch.stage.set_fault("exit-loop")
    try:
        os.kill(watch.row["pid"], signal.SIGKILL)
        caught_s = watch.until(watch.new_incident)
        escalated = watch.until(lambda: (watch.stage.row() or {}).get("phase") == "escalated", ESCALATE_MAX_S)
        starts = (watch.stage.row() or {}).get("instance", 0) - watch.row["instance"]
        watch.stage.set_fault("")
        watch.began = time.monotonic() if escalated else watch.began
        restored_s = watch.until(watch.new_and_well)
        broken = "" if escalated else "nobody was told"
        return watch.result(caught_s, restored_s, broken or ("" if starts <= 8 else f"{starts} starts before that"))
    finally:
        watch.stage.set_fault("")


def _log_flood(watch: Watch) -> Result:
    """While one agent floods, the lines of the other are there within the bound."""
    stage = watch.stage
    assert isinstance(stage, ThrowAwayStage)
    stage.set_fault("log-flood")
    try:
        time.sleep(1.0)  # the flood is under way

        def neighbour_heard() -> bool:
            sent_at = time.time()
            done = watch.stage.cli("logs", NEIGHBOUR, "--since", "5s", "-n", "5", "--raw")
            stamps = [float(line.rpartition(" at ")[2]) for line in done.stdout.splitlines() if " at " in line]
            return bool(stamps) and sent_at - max(stamps) < 3.0

        caught_s = watch.until(neighbour_heard)
        over = watch.until((stage.place() / "fault.done").exists)
        return watch.result(caught_s, over, watch.untouched())
    finally:
        watch.stage.set_fault("")


def _leak_slow(watch: Watch) -> Result:
    """Told while it grows, restarted never, well again when it gave the memory back."""
    watch.stage.set_fault(f"leak-slow {int(MEMORY_LIMIT_BYTES * LEAK_SHARE)}")
    try:
        caught_s = watch.until(lambda: "memory" in (watch.stage.row() or {}).get("why", ""))
        watch.stage.set_fault("")
        restored_s = watch.until(lambda: (watch.stage.row() or {}).get("phase") == "healthy")
        return watch.result(caught_s, restored_s, watch.untouched())
    finally:
        watch.stage.set_fault("")


# --- the machine ----------------------------------------------------------------------------------------------------
def _disk_full(watch: Watch) -> Result:
    ballast, kept = watch.stage.home.path / "ballast", state_ways.FullDisk(watch)
    try:
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65_536)
        watch.began = time.monotonic()
        os.kill(watch.row["pid"], signal.SIGKILL)
        result = _healed(watch)
        broken = kept.while_full()
    finally:
        ballast.unlink(missing_ok=True)
    return watch.result(result.caught_s, result.restored_s, broken or kept.with_room())


def _clock_jump(watch: Watch) -> Result:
    stage = watch.stage
    assert isinstance(stage, ThrowAwayStage)
    try:
        stage.set_clock(DAY_S)
        caught_s = watch.until(lambda: stage.has_event("node.away"))
        time.sleep(2 * BEAT_S)  # longer than any deadline of the agent
        stage.set_clock(0.0)
        time.sleep(2 * BEAT_S)
        began, watch.began = watch.began, time.monotonic()
        restored_s = watch.until(lambda: (stage.row() or {}).get("phase") == "healthy")
        watch.began = began
        return watch.result(caught_s, restored_s, watch.untouched())
    finally:
        stage.set_clock(0.0)


_WAYS: dict[str, Callable[[Watch], Result]] = {
    "kill": _kill,
    "hang": _hang,
    "exit-loop": _exit_loop,
    "spin": _told,
    "stop-beats": _told,
    "fake-beats": _told,
    "slow-endpoint": _told,
    "http-200-but-dead": _told,
    "fork-leak": _fork_leak,
    "log-flood": _log_flood,
    "leak-slow": _leak_slow,
    "kill-keeper": _kill_own(("keeper",), up=False),
    "kill-init": _kill_own(("init",), up=False),
    "kill-all": _kill_own(("guard", "init", "keeper", "logger"), up=True),
    "disk-full": _disk_full,
    "clock-jump": _clock_jump,
    "corrupt-state": state_ways.corrupt_state,
    "delete-state": state_ways.delete_state,
    "delete-agent": state_ways.delete_agent,
    "lose-machine": state_ways.lose_machine,
    "leak": memory_ways.leak,
    "spike": memory_ways.spike,
    "fork-memory": memory_ways.fork_memory,
    "start-storm": memory_ways.start_storm,
    "neighbour": memory_ways.neighbour,
}
