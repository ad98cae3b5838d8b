"""`python -m bench.memory.stage SPEC`: one run of one scenario, as process 1 of a process namespace of its own.

Whatever kills by looking at /proc sees only the scenario here, and all of it ends with this process. The agents are the
same program in the same node whoever keeps them: started by Holdfast where it keeps them, else by this process. Writes
PLACE/result: who was lost, the longest gap between two beats, the node's peak, what the kernel killed, whom Holdfast
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

from bench import processes
from bench.memory import ground, judging, scenarios
from bench.memory.controls import Controls
from bench.memory.ground import Ground
from bench.memory.kept import Kept
from bench.memory.waiting import NotYet, wait_until
from bench.memory.watching import Watch

SLOT = struct.Struct("=dddQQQQ")  # last, longest, begin; beats, starts, grew, over
BEGIN_AT, OVER_AT = 16, 48  # places within a slot
SLOTS_FD = 3
SLOTS = 128
READY_S = 120.0
SETTLE_S = 1.5
SPIKE_S = 3.0  # over which the keeper's CPU counts as "during the spike"
LOOK_AGAIN_S = 1.0  # after a keeper was killed, the next one is asked for
BACK_S = 15.0


class Stage:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.place = Path(spec["place"])
        self.scenario = scenarios.ALL[spec["scenario"]]
        self.ground = Ground(**spec["ground"])
        fd = os.memfd_create("beats")
        os.ftruncate(fd, SLOTS * SLOT.size)
        if fd != SLOTS_FD:
            os.dup2(fd, SLOTS_FD)
        self.slots = mmap.mmap(SLOTS_FD, SLOTS * SLOT.size)
        self.names = [*self.scenario.innocents, *self.scenario.growing]
        self.kept: Kept | None = None
        if spec["keeper"].startswith("holdfast"):
            self.kept = Kept(self.place, self.ground, tuple(spec["altered"]), spec["bare"])
        self.killer = 0  # process of another keeper
        self.watch = Watch(self.names, ground.living)
        self.controls = Controls(self.ground.node) if self.kept and self.ground.kind == "v2" else None

    # --- starting ------------------------------------------------------------------------------------------------
    def words(self, number: int) -> list[str]:
        """Command of an agent."""
        matter = len(self.scenario.innocents)
        act = self.scenario.beat_words(number) if number < matter else self.scenario.growth_words(number - matter)
        return [self.spec["program"], self.names[number], f"/proc/{os.getpid()}/fd/{SLOTS_FD}", str(number), *act]

    def begin(self) -> None:
        """Whoever keeps the node, and all agents; those that grow wait."""
        commands = [self.words(number) for number in range(len(self.names))]
        if self.kept is not None:
            self.kept.begin()
            self.kept.fleet(self.scenario, commands)
        else:
            if self.spec["keeper"] != "kernel":
                self.start_killer()
            for words in commands:
                subprocess.Popen(words, preexec_fn=self.ground.enter, start_new_session=True)
        count = len(self.scenario.innocents)
        wait_until(lambda: all(self.slot(each)[3] >= 5 for each in range(count)), "all beat", READY_S)
        wait_until(lambda: all(self.slot(each)[4] for each in range(len(self.names))), "all are there", READY_S)

    def start_killer(self) -> None:
        log = open(self.place / "keeper.log", "ab")  # noqa: SIM115
        environment = dict(os.environ, LD_PRELOAD=self.spec["shim"], BENCH_NODE=self.ground.node)
        self.killer = subprocess.Popen(self.spec["command"], stdout=log, stderr=log, env=environment).pid
        wait_until(lambda: (self.place / "keeper.log").stat().st_size > 0, "the killer begins", READY_S)

    # --- the run -------------------------------------------------------------------------------------------------
    def run(self) -> dict[str, Any]:
        self.ground.begin()
        self.begin()
        time.sleep(SETTLE_S)
        self.watch.start()
        if self.controls is not None:
            self.controls.start()
        for each in range(len(self.scenario.innocents)):
            SLOT.pack_into(self.slots, each * SLOT.size, time.monotonic(), 0.0, 0.0, 0, self.slot(each)[4], 0, 0)
        shares = self.drive(time.monotonic())
        result = self.look() | shares
        result["load"] = os.getloadavg()[0]
        if self.kept is not None:
            result |= self.judge()
        return result

    def drive(self, begun: float) -> dict[str, Any]:
        """Let them grow, and the keeper die when it is to. Its share of a core in the spike and after, in percent."""
        matter = len(self.scenario.innocents)
        for number, growth in enumerate(self.scenario.growths):
            at = (matter + number) * SLOT.size + BEGIN_AT
            self.slots[at : at + 8] = struct.pack("=d", begun + growth.delay_s)
        todo: list[tuple[float, Callable[[], object]]] = []
        if self.kept is not None and self.spec["kill_keeper_s"] is not None:
            todo.append((self.spec["kill_keeper_s"], self.kept.kill_keeper))
            todo.append((self.spec["kill_keeper_s"] + LOOK_AGAIN_S, self.kept.followed))
        before = self.spent()
        found: list[dict[str, Any]] = []
        todo.append((SPIKE_S, lambda: found.append(self.shares("spike", before, begun))))
        after: list[tuple[float | None, float | None]] = []
        todo.append((SPIKE_S, lambda: after.append(self.spent())))
        todo.append((self.scenario.lasts_s, lambda: found.append(self.shares("calm", after[0], begun + SPIKE_S))))
        for at_s, act in sorted(todo, key=lambda one: one[0]):
            time.sleep(max(0.0, begun + at_s - time.monotonic()))
            act()
        return found[0] | found[1]

    def look(self) -> dict[str, Any]:
        now, found = time.monotonic(), ground.living()
        alive = [n for n, name in enumerate(self.scenario.innocents) if name in found and self.slot(n)[4] == 1]
        gaps = {n: max(self.slot(n)[1], now - self.slot(n)[0]) for n in alive}
        counts = {name: len(found.get(name, [])) for name in self.scenario.growing}
        matter = len(self.scenario.innocents)
        half = [
            name
            for number, name in enumerate(self.scenario.growing)
            if self.slot(matter + number)[4] == 1 and 0 < counts[name] < self.watch.most(name)
        ]
        return {
            "lost": matter - len(alive),
            "gap_ms": round(1000 * max(gaps.values(), default=0.0)),
            "peak_mb": self.ground.peak_mb(),
            "kernel_kills": self.ground.kernel_kills(),
            "half_dead": len(half),
            "growing_left": sum(1 for count in counts.values() if count),
        }

    def judge(self) -> dict[str, Any]:
        """What Holdfast did; their spike is over, so all who were shed have room now."""
        assert self.kept is not None
        over_mono = time.monotonic()
        for number in range(len(self.scenario.innocents), len(self.names)):
            at = number * SLOT.size + OVER_AT
            self.slots[at : at + 8] = struct.pack("=Q", 1)
        growing = self.scenario.growing
        end = over_mono + BACK_S * self.scenario.patience
        while time.monotonic() < end and not all(name in ground.living() for name in growing):
            time.sleep(0.05)
        time.sleep(0.3)
        self.watch.end()
        lost = sum(self.slot(n)[4] != 1 for n in range(len(self.scenario.innocents)))
        found = judging.judge(self.kept.records(), self.watch, growing, over_mono)
        kept, node = self.kept, self.ground
        again: dict[str, Any] = {
            "lost_in_the_end": lost,
            "peak_mb": node.peak_mb(),
            "kernel_kills": node.kernel_kills(),
        }
        again |= {"keepers": len(kept.seen), "restarted": kept.restarted(self.scenario.innocents)}
        if self.controls is not None:
            again |= {"queued": sorted(kept.queued), "events": kept.told(over_mono), "agents": kept.phases()}
            again |= {"controls": self.controls.end(), "up_s": kept.up_s, "away_s": kept.away_s}
            again |= {"node_full": node.times_full(), "there": sorted(set(growing) & set(ground.living()))}
        return found | again

    # --- figures -------------------------------------------------------------------------------------------------
    def slot(self, number: int) -> tuple[float, float, float, int, int, int, int]:
        found: tuple[float, float, float, int, int, int, int] = SLOT.unpack_from(self.slots, number * SLOT.size)
        return found

    def spent(self) -> tuple[float | None, float | None]:
        """CPU seconds of the keeper so far, and of its memory part where that is weighed."""
        pid = self.killer if self.kept is None else self.kept.seen[-1]
        used = processes.used(pid) if pid else None
        try:
            part = float((self.place / "home" / "weighed").read_text())
        except (OSError, ValueError):
            part = None
        return None if used is None else used.cpu_s, part

    def shares(self, name: str, before: tuple[float | None, float | None], since_mono: float) -> dict[str, Any]:
        took_s, now = time.monotonic() - since_mono, self.spent()
        one_keeper = self.kept is None or (len(self.kept.seen) == 1 and self.spec["kill_keeper_s"] is None)

        def share(then_s: float | None, now_s: float | None) -> float | None:
            known = then_s is not None and now_s is not None and one_keeper
            return round(100 * (now_s - then_s) / took_s, 2) if known else None  # type: ignore[operator]

        return {
            f"{name}_cpu_percent": share(before[0], now[0]),
            f"{name}_memory_cpu_percent": share(before[1], now[1]),
        }


def main() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps, orphans too
    spec = json.loads(Path(sys.argv[1]).read_text())
    stage = Stage(spec)
    try:
        result = stage.run()
    except NotYet as reason:
        result = {"failed": str(reason), "agents": stage.kept.phases() if stage.kept else []}
    (Path(spec["place"]) / "result").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
