"""`python -m bench.memory.stage SPEC`: one run of one scenario, as process 1 of a process namespace of its own.

Whatever kills by looking at /proc sees only the scenario here, and all of it ends with this process. Writes
PLACE/result: who was lost, the longest gap between two beats, the node's peak, what the kernel killed, whom the loop
shed and how.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.memory import scenarios
from bench.memory.ground import Ground
from holdfast.node import oom

SLOT = struct.Struct("=dddQ")
SLOTS_FD = 3
READY_S = 60.0
SETTLE_S = 1.5
SPIKE_S = 3.0  # over which the loop's CPU counts as "during the spike"
LOOP_DEAD_S = 0.5  # a keeper is back within this; promised is one second
BACK_S = 15.0
WHOLE_S = 1.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The run says nothing; the text says why."""


class Stage:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.place = Path(spec["place"])
        self.scenario = scenarios.ALL[spec["scenario"]]
        self.ground = Ground(**spec["ground"])
        self.ours = spec["keeper"].startswith("holdfast")
        fd = os.memfd_create("beats")
        os.ftruncate(fd, 64 * SLOT.size)
        if fd != SLOTS_FD:
            os.dup2(fd, SLOTS_FD)
        self.slots = mmap.mmap(SLOTS_FD, 64 * SLOT.size)
        self.keepers: list[int] = []
        (self.place / "ledger").touch()

    # --- starting ------------------------------------------------------------------------------------------------
    def start_agent(self, name: str, words: list[str], priority: int) -> None:
        adj = oom.score_adj(priority, oom.floor()) if self.ours else None

        def enter() -> None:
            if adj is not None:
                Path("/proc/self/oom_score_adj").write_text(str(adj))
            self.ground.enter(name)

        subprocess.Popen([self.spec["program"], *words], preexec_fn=enter, pass_fds=[SLOTS_FD], start_new_session=True)

    def start_keeper(self) -> None:
        log = open(self.place / "keeper.log", "ab")  # noqa: SIM115
        if self.ours:
            command = [sys.executable, "-m", "bench.memory.loop", str(self.place / "spec")]
            self.keepers.append(subprocess.Popen(command, stdout=log, stderr=log).pid)
            wait_until(lambda: self.ledger("begin") >= len(self.keepers), "the loop begins")
        elif self.spec["keeper"] != "kernel":
            environment = dict(os.environ, LD_PRELOAD=self.spec["shim"], BENCH_NODE=self.ground.node)
            self.keepers.append(subprocess.Popen(self.spec["command"], stdout=log, stderr=log, env=environment).pid)
            wait_until(lambda: (self.place / "keeper.log").stat().st_size > 0, "the killer begins")

    def ledger(self, what: str) -> int:
        return sum(one["what"] == what for one in self.records())

    def records(self) -> list[dict[str, Any]]:
        lines = (self.place / "ledger").read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    # --- the run -------------------------------------------------------------------------------------------------
    def run(self) -> dict[str, Any]:
        self.start_keeper()
        for number, name in enumerate(self.scenario.innocents):
            self.start_agent(name, self.scenario.beat_words(number), scenarios.IMPORTANT)
        count = len(self.scenario.innocents)
        wait_until(lambda: all(self.slot(each)[3] >= 5 for each in range(count)), "all beat")
        time.sleep(SETTLE_S)
        for each in range(count):
            SLOT.pack_into(self.slots, each * SLOT.size, time.monotonic(), 0.0, 0.0, 0)
        begun, cpu = time.monotonic(), self.cpu_s()
        spike, calm = self.drive(begun, cpu)
        result = self.look()
        result |= {"spike_cpu_percent": spike, "calm_cpu_percent": calm}
        result["load"] = os.getloadavg()[0]
        if self.ours:
            result |= self.sheds() | self.returns()
        return result

    def drive(self, begun: float, cpu: float | None) -> tuple[float | None, float | None]:
        """Let them grow, and the loop die when it is to. Its share of a core during the spike and after, in percent."""
        todo: list[tuple[float, Callable[[], object]]] = []
        for number, growth in enumerate(self.scenario.growths):
            name, words = self.scenario.growing[number], self.scenario.growth_words(number)
            todo.append((growth.delay_s, lambda n=name, w=words, p=number: self.start_agent(n, w, p)))  # type: ignore[misc]
        if self.spec.get("kill_loop_s") is not None:
            at = self.spec["kill_loop_s"]
            todo.append((at, lambda: os.kill(self.keepers[-1], signal.SIGKILL)))
            todo.append((at + LOOP_DEAD_S, self.start_keeper))
        found: list[float | None] = []
        todo.append((SPIKE_S, lambda: found.extend((self.share(cpu, begun), self.cpu_s()))))
        todo.append((self.scenario.lasts_s, lambda: None))
        for at, act in sorted(todo, key=lambda one: one[0]):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            act()
        return found[0], self.share(found[1], begun + SPIKE_S)

    def look(self) -> dict[str, Any]:
        now = time.monotonic()
        alive = [n for n, name in enumerate(self.scenario.innocents) if self.ground.living(name)]
        gaps = {n: max(self.slot(n)[1], now - self.slot(n)[0]) for n in alive}
        counts = {name: len(self.ground.living(name)) for name in self.scenario.growing}
        back = {one["agent"] for one in self.records() if one["what"] == "back"}
        half = [
            name
            for number, name in enumerate(self.scenario.growing)
            if name not in back and 0 < counts[name] < self.scenario.processes_of(number)
        ]
        return {
            "lost": len(self.scenario.innocents) - len(alive),
            "gap_ms": round(1000 * max(gaps.values(), default=0.0)),
            "peak_mb": self.ground.peak_mb(),
            "kernel_kills": self.ground.kernel_kills(),
            "half_dead": len(half),
            "growing_left": sum(1 for count in counts.values() if count),
        }

    def sheds(self) -> dict[str, Any]:
        """Whom the loop shed, whether in order and whole."""
        records = self.records()
        chosen, going = [], set()
        for one in records:  # a loop that was killed between choosing and killing chooses again: one shedding
            if one["what"] == "chosen" and one["agent"] not in going:
                chosen.append(one)
                going.add(one["agent"])
            elif one["what"] in ("gone", "spared"):
                going.discard(one["agent"])
        gone = [one for one in records if one["what"] == "gone"]
        killed = {one["agent"]: one["mono"] for one in records if one["what"] in ("kill", "stop")}
        dying = [one["mono"] - killed[one["agent"]] for one in gone if one["agent"] in killed]
        spared = sum(one["what"] == "spared" for one in records)
        return {
            "victims": [one["agent"] for one in chosen],
            "in_order": not any(one["lower"] for one in chosen),
            "whole": not going and max(dying, default=0.0) <= WHOLE_S,
            "spared": spared,
            "gone_s": round(max((one["took_s"] for one in gone), default=0.0), 3),
            "reasons": sorted({one["reason"] for one in chosen}),
            "begins": sum(one["what"] == "begin" for one in records),
        }

    def returns(self) -> dict[str, Any]:
        """How long all that were shed took to be back once there was room: those that still grow end now."""
        records = self.records()
        missing = {one["agent"] for one in records if one["what"] == "gone"}
        back = {one["agent"] for one in records if one["what"] == "back"}
        ended = [name for name in self.scenario.growing if name not in back and self.ground.living(name)]
        room_mono = time.monotonic() if ended else 0.0
        for pid in [pid for name in ended for pid in self.ground.living(name)]:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + BACK_S
        while time.monotonic() < deadline and not all(self.ground.living(name) for name in missing):
            time.sleep(0.05)
        time.sleep(0.3)
        records = self.records()
        last_gone = max([room_mono, *(one["mono"] for one in records if one["what"] == "gone")])
        last_back = max((one["mono"] for one in records if one["what"] == "back"), default=0.0)
        all_back = all(self.ground.living(name) for name in missing)
        lost = sum(not self.ground.living(name) for name in self.scenario.innocents)
        back_s = round(max(0.0, last_back - last_gone), 2) if missing and all_back else None
        return {"all_back": all_back, "back_s": back_s, "lost_in_the_end": lost}

    # --- figures -------------------------------------------------------------------------------------------------
    def slot(self, number: int) -> tuple[float, float, float, int]:
        last, longest, cpu, beats = SLOT.unpack_from(self.slots, number * SLOT.size)
        return last, longest, cpu, beats

    def cpu_s(self) -> float | None:
        if not self.keepers:
            return None
        try:
            fields = Path(f"/proc/{self.keepers[-1]}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def share(self, before_s: float | None, since_mono: float) -> float | None:
        now_s = self.cpu_s()
        if before_s is None or now_s is None or len(self.keepers) > 1:
            return None
        return round(100 * (now_s - before_s) / (time.monotonic() - since_mono), 2)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {READY_S:.0f} s")
        time.sleep(0.02)


def main() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps, orphans too
    spec = json.loads(Path(sys.argv[1]).read_text())
    try:
        result = Stage(spec).run()
    except Failed as reason:
        result = {"failed": str(reason)}
    (Path(spec["place"]) / "result").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
