"""Names who takes what agents suffer for: looks at all processes twice a second apart, only while something is short.

Invariant: nothing is looked at on a machine that has enough; one look at a time, at most one each NEIGHBOUR_EVERY_S,
in a thread. A change of who it is goes into the ledger, and into the open incident of the node; numbers alone do not.
Called by keeper.node_watch at each of its looks; read by the views (`names`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple

from holdfast import limits
from holdfast.correlation import neighbours as rule
from holdfast.correlation.neighbours import Known, Neighbour
from holdfast.density.model import Reading
from holdfast.density.node_memory import Node
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.node import takers
from holdfast.node.pressure import Pressure

LOOK_S = 1.0  # between the two looks


class Parts(NamedTuple):
    """`known()`: who is who. `node_bytes()`: memory of the node. `told(text)`: others who have to hear of a change.

    `outside_bytes(short)`: memory that who is no agent takes it from; 0: agents alone are short of it. `short`: the
    machine is. `short_of_memory()`: some agent waits for memory, whatever the machine feels.
    """

    recorder: Recorder
    tasks: Tasks
    known: Callable[[], Known]
    node_bytes: Callable[[], int]
    outside_bytes: Callable[[bool], int]
    told: Callable[[str], None]
    short_of_memory: Callable[[], bool]


class Neighbours:
    """See the module."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.found: tuple[Neighbour, ...] = ()
        self._looking = False
        self._looked_mono = float("-inf")
        self._short_mono = float("-inf")
        self._recorded: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """One clause for each, the largest first; [] when nobody suffers."""
        return [one.words for one in self.found]

    def look(self, pressure: Pressure, now: float) -> None:
        """Of what is there too little now, for the machine or for the agents' part of its memory? Never waits."""
        short_of = pressure.short_of if pressure.starved else ()
        machine = "memory" in short_of
        if not machine and self._parts.short_of_memory():
            short_of = (*short_of, "memory")
        if short_of:
            self._short_mono = now
        elif now - self._short_mono > limits.NEIGHBOUR_KEPT_S:
            self.found, self._recorded = (), frozenset()
        if short_of and not self._looking and now - self._looked_mono >= limits.NEIGHBOUR_EVERY_S:
            self._looking, self._looked_mono = True, now
            self._parts.tasks.spawn(self._find(short_of, machine))

    async def _find(self, short_of: tuple[str, ...], machine: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            before = await asyncio.to_thread(takers.read, with_io="io" in short_of)
            began = loop.time()
            await asyncio.sleep(LOOK_S)
            after = await asyncio.to_thread(takers.read, with_io="io" in short_of)
            found = rule.uses(before, after, loop.time() - began, self._parts.known())
        except OSError:
            return  # no /proc to be read: nobody is named
        finally:
            self._looking = False
        cores = float(len(os.sched_getaffinity(0)))
        node, outside = self._parts.node_bytes(), self._parts.outside_bytes(machine)
        self.found = rule.named(found, short_of, cores, node, outside)
        who = frozenset(one.who.name for one in self.found)
        if who and who != self._recorded:
            self._recorded = who
            text = "; ".join(self.names)
            body = {"short_of": list(short_of), "agents": [one.who.agent for one in self.found if one.who.agent]}
            self._parts.recorder.record("node.neighbours", "", text, body)
            self._parts.told(text)


def known(agents: dict[str, Agent], cgroups_of: Callable[[Agent], tuple[str, ...]], own_place: str) -> Known:
    """Whose process is whose, as the keeper knows it now."""
    places = {}
    for agent in agents.values():
        for directory in cgroups_of(agent):
            parts = directory.rstrip("/").rsplit("/", 2)
            places[parts[-2], parts[-1]] = agent.name
    roots = {agent.world.pid: agent.name for agent in agents.values() if agent.world.pid > 0}
    return Known(places, roots, frozenset({os.getpid(), os.getppid()}), own_place)


def machine_bytes() -> int:
    """All memory of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def outside_bytes(node: Node | None, reading: Reading | None) -> int:
    """Memory that who is no agent takes it from, while agents are short of it; 0 when they cannot be the reason. Pure.

    A declared node is held by agents alone until the rest of the machine has taken a part of it.
    """
    if node is None or reading is None:
        return machine_bytes()
    others = reading.node_bytes - sum(one.usage_bytes for one in reading.agents) - reading.available_bytes
    if others < reading.node_bytes * limits.NEIGHBOUR_SHARE:
        return 0
    return machine_bytes() if node.kind == "declared" else reading.node_bytes
