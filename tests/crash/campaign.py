"""One campaign: rounds of kills drawn from one seed, each followed by a full look at the world."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.init import procfs
from tests.crash.levels import Level, spawner_of

OWN = ("guard", "init", "keeper", "logger", "spawner")
SETTLE_S = 90.0  # a loaded machine may need most of it; a bug that strands somebody is known sooner


class Broken(AssertionError):
    """An invariant does not hold; the message names it, the round and the seed."""


@dataclass
class Report:
    rounds: int = 0
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest_s: float = 0.0
    lines: int = 0


class Campaign:
    """Kills and checks. `level` is started by the caller of `run`."""

    def __init__(self, level: Level, agents: int, seed: int, settle_s: float = SETTLE_S) -> None:
        self.level = level
        self.settle_s = settle_s
        self.names = [f"agent{number}" for number in range(agents)]
        # Instances killed in the same instant as init and logger: nobody was left who had their FIFO open.
        self.unread: set[tuple[str, int]] = set()
        self.former: list[str] = []  # names of agents that were exchanged
        self.random = random.Random(seed)
        self.seed = seed
        self.report = Report()

    def run(self, rounds: int, progress: bool = False) -> Report:
        self.level.start(self.names)
        before = self._settled({}, set(), "start")
        for number in range(1, rounds + 1):
            victims = self._draw()
            killed = self._kill(victims, before)
            if {"guard", "init", *self.level.waker} <= set(victims):
                self.level.revive()
            started = time.monotonic()
            before = self._settled(before, killed, f"round {number} ({', '.join(victims)})")
            self.report.slowest_s = max(self.report.slowest_s, time.monotonic() - started)
            names = self.level.renew(number)
            if names:
                self.names, self.former = names, [*self.former, *self.names]
                before = self._settled({}, set(), f"exchange after round {number}")
            self.report.rounds = number
            if progress and number % 50 == 0:
                print(f"{number}/{rounds} rounds, slowest {self.report.slowest_s:.2f} s", flush=True)
        return self.report

    # --- the kills -----------------------------------------------------------------------------------------
    def _draw(self) -> list[str]:
        kind = self.random.random()
        everybody = [*OWN, *self.names]
        if kind < 0.4:
            return [self.random.choice(everybody)]
        if kind < 0.65:
            return self.random.sample(everybody, 2)
        if kind < 0.75:
            return [self.random.choice(self.names), "init", "spawner"]  # in the middle of a birth
        if kind < 0.9:
            return [*self.random.sample(self.names, max(2, len(self.names) // 2)), self.random.choice(OWN)]
        return [*OWN, *self.random.sample(self.names, self.random.randint(0, 2))]

    def _kill(self, victims: list[str], before: dict[str, tuple[int, int]]) -> set[str]:
        """SIGKILL in random order with small random pauses; returns the agents that were hit."""
        pids = self.level.processes()
        pids["spawner"] = spawner_of(pids["init"])
        in_a_birth = victims[1:] == ["init", "spawner"]
        if not in_a_birth:
            self.random.shuffle(victims)
        hit: set[str] = set()
        everything_of_ours = {"guard", "init", "keeper", "logger"} <= set(victims)
        for victim in victims:
            pid = before[victim][0] if victim in before else pids.get(victim, 0)
            if not pid:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.report.kills[victim if victim in OWN else "agent"] += 1
            if victim in before:
                hit.add(victim)
            if in_a_birth or self.random.random() < 0.5:
                time.sleep(self.random.random() * (0.004 if in_a_birth else 0.02))
        if everything_of_ours:
            self._finish_off()
            self.unread.update((name, before[name][1]) for name in hit)
        return hit

    def _finish_off(self) -> None:
        """A killed guard is replaced within milliseconds: stop everybody first, so that nobody replaces anybody."""
        stopped: set[int] = set()
        deadline = time.monotonic() + self.settle_s
        while time.monotonic() < deadline:
            found = self._of_ours()
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP if found - stopped else signal.SIGKILL)
            if not found:
                return
            stopped |= found
        raise Broken("Holdfast could not be killed")

    def _of_ours(self) -> set[int]:
        """Living processes of this home's Holdfast; newborn agents before their exec are not among them."""
        wanted = b"--home\0" + os.fsencode(self.level.home.path) + b"\0"
        ours = f"{self.level.home.home_id()}:@"
        found: set[int] = set()
        for pid in procfs.pids():
            process = procfs.read(pid)
            if process is None or process.state in "ZX":
                continue
            instance = procfs.instance_of(pid) or ""
            with contextlib.suppress(OSError):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes() + b"\0"
                newborn = process.session == pid and Path(f"/proc/{pid}/comm").read_text().strip() == "holdfast-spawn"
                if instance.startswith(ours) or (wanted in arguments and b"holdfast" in arguments and not newborn):
                    found.add(pid)
        return found

    # --- the look at the world -----------------------------------------------------------------------------
    def _settled(self, before: dict[str, tuple[int, int]], killed: set[str], when: str) -> dict[str, tuple[int, int]]:
        """Wait until all are up again, then check who was restarted, who is doubled, what is left over."""
        deadline = time.monotonic() + self.settle_s
        why = "nobody answers"
        while time.monotonic() < deadline:
            try:
                why, agents = self._look()
            except (OSError, ValueError, KeyError) as error:
                why = f"nobody answers: {error!r}"
                time.sleep(0.01)
                continue
            changed = {name for name in killed if before.get(name) == agents.get(name)}
            if not why and not changed:
                self._check(before, killed, agents, when)
                return agents
            why = why or f"not restarted: {sorted(changed)}"
            time.sleep(0.01)
        raise Broken(f"stuck after {when}: {why} (seed {self.seed}) {self.level.explain()}")

    def _look(self) -> tuple[str, dict[str, tuple[int, int]]]:
        """("", agents) when everything that should run runs."""
        processes, agents = self.level.processes(), self.level.agents()
        for name in ("guard", "init", "keeper", "logger"):
            process = procfs.read(processes.get(name, 0))
            if process is None or process.state in "ZX":
                return f"{name} does not run", agents
        if set(agents) != set(self.names):
            return f"other agents than declared: {sorted(agents)}", agents
        for name in self.names:
            process = procfs.read(agents.get(name, (0, 0))[0])
            if process is None or process.state in "ZX":
                return f"{name} does not run", agents
            if procfs.instance_of(process.pid) is None:
                return f"{name} is being born", agents
            fifo = str(self.level.home.agent_fifo(name))
            if os.path.exists(fifo) and not procfs.holds_open(processes["logger"], {fifo}):
                return f"the logger does not read {name} yet", agents
        return "", agents

    def _check(
        self, before: dict[str, tuple[int, int]], killed: set[str], agents: dict[str, tuple[int, int]], when: str
    ) -> None:
        doubled = self.level.work / "doubled"
        if doubled.exists():
            raise Broken(f"doubled after {when}: {doubled.read_text()} (seed {self.seed})")
        for name, (pid, epoch) in agents.items():
            if name in before and name not in killed and before[name] != (pid, epoch):
                raise Broken(
                    f"restarted though not killed after {when}: {name} {before[name]} -> {(pid, epoch)} "
                    f"(seed {self.seed}) {self.level.explain()}"
                )
        allowed = {(name, epoch): 2 for name, (_, epoch) in agents.items()}  # main and its helper
        home_id = self.level.home.home_id()
        seen: dict[tuple[str, int], list[procfs.Process]] = collections.defaultdict(list)
        for pid in procfs.pids():
            home, _, rest = (procfs.instance_of(pid) or "").partition(":")
            process = procfs.read(pid)
            if home == home_id and not rest.startswith("@") and process is not None and process.state not in "ZX":
                seen[(rest.rpartition(":")[0], int(rest.rpartition(":")[2]))].append(process)
        for key, found in seen.items():
            if len(found) > allowed.get(key, 0):
                told = f"left over after {when}: {len(found)} processes of {key}: {found} (seed {self.seed})"
                raise Broken(f"{told} {self.level.explain()}")

    def check_lines(self, log_of: dict[str, bytes]) -> int:
        """Every line an instance has counted as printed stands in its agent's log once, in order. Returns lines."""
        total = 0
        for name, log in log_of.items():
            seen: dict[int, int] = {}
            for line in log.split(b"\n"):
                words = line.split()
                if len(words) != 3 or words[0] != name.encode():
                    if line and not line.startswith(b"holdfast:"):
                        raise Broken(f"torn line in the log of {name}: {line[:80]!r} (seed {self.seed})")
                    continue
                epoch, number = int(words[1]), int(words[2])
                if number != seen.get(epoch, 0) + 1:
                    raise Broken(f"{name} {epoch}: line {number} follows {seen.get(epoch, 0)} (seed {self.seed})")
                seen[epoch] = number
                total += 1
            for path in self.level.work.glob(f"{name}.[0-9]*"):
                epoch = int(path.suffix[1:])
                counted = struct.unpack("<Q", path.read_bytes()[:8].ljust(8, b"\0"))[0]
                if seen.get(epoch, 0) < counted and (name, epoch) not in self.unread:
                    raise Broken(f"lost lines: {name} {epoch} printed {counted}, logged {seen.get(epoch, 0)}")
        self.report.lines = total
        return total
