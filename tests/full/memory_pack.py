"""A small node full of real agents: three OpenClaw gateways, one Hermes, and two that take memory when they are told.

Invariants: gateways stand highest and alike, as their recipe has it; whoever takes memory does so once for each word
`go` and is calm when it comes back; every turn asked for is kept, with how long it took or why it failed. Used by
test_real_memory.py.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.full.fleet import Fleet
from tests.full.hermes_home import HermesHome
from tests.full.install import Installed
from tests.full.openclaw_home import OpenclawHome
from tests.full.processes import hand_over

CLAWS = ("claw-a", "claw-b", "claw-c")
HERMES = "hermes"
SPIKY, FORKY = "spiky", "forky"
BEAT_MAX_AGE = "40s"  # Hermes writes one each 30 s: one that sleeps longer than this would be late, were it not excused
TURN_S = 300.0  # the first one takes 6 s on an idle machine, and was seen to take a minute on a busy one
PIECE_BYTES = 10 * 1024 * 1024

# The seeds' own spike: about 350 MB/s, up to 2.5 GB, all of it written to.
_SPIKE = """
held = []
for _ in range(250):
    held.append(piece())
    time.sleep(0.025)
"""
# Many processes, none of them larger than the smallest of the others; a fork that fails is tried again.
_FORKS = """
for _ in range(24):
    try:
        child = os.fork()
    except OSError:
        child = -1
    if child == 0:
        held = []
        for _ in range(10):
            held.append(piece())
            time.sleep(0.06)
        time.sleep(1000)
    time.sleep(0.1)
"""
_TAKER = f"""
import os, time
def piece():
    made = bytearray({PIECE_BYTES})
    made[::4096] = b"x" * {PIECE_BYTES // 4096}  # each page written to, as cheaply as can be
    return made
while not os.path.exists("go"):
    time.sleep(0.05)
os.unlink("go")
%s
time.sleep(1000)
"""


@dataclass(slots=True)
class Turns:
    """What became of the turns asked for: seconds each took, by agent, and what failed."""

    took_s: dict[str, list[float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def told(self) -> str:
        """One line for a person."""
        parts = [
            f"{name} {len(times)} ({statistics.median(times):.1f} s, at most {max(times):.1f} s)"
            for name, times in sorted(self.took_s.items())
        ]
        return "; ".join([", ".join(parts), *self.failed])


@dataclass(frozen=True, slots=True)
class Pack:
    """The agents of the fleet and how each is asked for a turn."""

    fleet: Fleet
    folder: Path
    claws: dict[str, OpenclawHome]
    hermes: HermesHome
    agents: dict[str, Any]

    @classmethod
    def create(cls, fleet: Fleet, llm_base_url: str, installed: Installed) -> Pack:
        """Homes and programs of all of them; nothing is declared yet."""
        folder = fleet.folder
        claws = {name: OpenclawHome.create(folder / name, llm_base_url, installed) for name in CLAWS}
        hermes = HermesHome.create(folder / "h", llm_base_url, installed)
        agents: dict[str, Any] = {}
        for name, claw in claws.items():
            recipe: dict[str, Any] = {"install": str(installed.openclaw), "node": str(installed.node)}
            recipe |= {"port": claw.port, "state_dir": str(claw.state_dir)}
            agents[name] = {"recipe": "openclaw", "openclaw": recipe}
        beat = {"path": str(hermes.home / "state" / "gateway.heartbeat"), "max_age": BEAT_MAX_AGE}
        recipe = {"home": str(hermes.home), "venv": str(installed.hermes), "port": hermes.port}
        agents[HERMES] = {"recipe": "hermes", "priority": 60, "hermes": recipe, "health": {"file": beat}}
        for name, act, priority in ((SPIKY, _SPIKE, 10), (FORKY, _FORKS, 5)):
            place = folder / name
            place.mkdir()
            (place / "taker.py").write_text(_TAKER % act)
            hand_over(place)
            command = ["/usr/bin/python3", "-S", str(place / "taker.py")]
            agents[name] = {"command": command, "working_dir": str(place), "priority": priority, "user": "nobody"}
        return cls(fleet, folder, claws, hermes, agents)

    def declare(self, memory: str, **more: dict[str, Any]) -> None:
        """Write holdfast.yaml with so much memory for the node; `more`: further keys of single agents."""
        agents = {name: {**agent, **more.get(name.replace("-", "_"), {})} for name, agent in self.agents.items()}
        self.fleet.declare(agents, node={"memory": memory})

    def go(self, name: str) -> None:
        """Tell one of the takers to begin."""
        (self.folder / name / "go").touch()

    def turn(self, name: str) -> float:
        """One real turn of an agent: the seconds it took. Raises OSError when it failed."""
        began = time.monotonic()
        if name == HERMES:
            self.hermes.turn("say hello", TURN_S)
        else:
            answer = self.claws[name].turn("say hello", TURN_S)
            if answer["completion"]["status"] != "ok":  # HTTP 200 alone is no success here either
                raise OSError(f"the turn ended so: {answer}")
        return time.monotonic() - began

    def one_turn_each(self, names: tuple[str, ...], turns: Turns) -> None:
        for name in names:
            try:
                took_s = self.turn(name)
            except OSError as error:
                turns.failed.append(f"{name}: {error}")
            else:
                turns.took_s.setdefault(name, []).append(took_s)

    @contextmanager
    def working(self, names: tuple[str, ...]) -> Iterator[Turns]:
        """These agents are asked for one turn after the other; each has had one more when it ends."""
        turns, over = Turns(), threading.Event()

        def ask() -> None:
            while not over.is_set():
                self.one_turn_each(names, turns)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield turns
        finally:
            over.set()
            thread.join(len(names) * TURN_S)
        assert not thread.is_alive()


def until(what: str, good: Callable[[], bool], timeout_s: float) -> None:
    """Wait for a condition. Raises AssertionError when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not good():
        assert time.monotonic() < deadline, f"not {what} after {timeout_s:.0f} s"
        time.sleep(0.2)
