"""The RAM semaphore in the keeper: read when it is due or the kernel tells, decide, begin what follows, never wait.

Invariants: all of it runs in the keeper's loop; nothing here raises for what agents or the kernel do; with nobody
running there is no wake-up. What must survive is in the ledger before the act (acts.py); all else is found again. Made
by the keeper; read by the start queue, the views and whoever wants to know what room there is.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from holdfast import limits
from holdfast.density import peek, semaphore, shedding
from holdfast.density.model import Held, Lease, Phase, Protect, Reading, Seen, State, Want
from holdfast.density.node_memory import Node, Problem
from holdfast.keeper.acting.hands import InitHands
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import Agent
from holdfast.keeper.density import hurry
from holdfast.keeper.density.acts import Acts
from holdfast.keeper.density.asking import Asking
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.density.node_room import NodeRoom
from holdfast.keeper.density.readings import Readings, Sleepers, Starts
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.node import own_memory
from holdfast.pods import groups
from holdfast.spec.model import FleetSpec

GROWS_BYTES_S = 1_000_000.0  # worth a name in the reason for which another goes
COALESCE_S = 0.002  # what the kernel tells of several agents in one moment is one look
REST_SHARE = 9  # a look that was asked for waits so many times what the last one cost: a tenth of a core at most
REST_MAX_S = 0.25  # ... and never longer


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the keeper, as far as the semaphore needs them."""

    agents: dict[str, Agent]
    healer: Healer
    hands: InitHands
    link: InitLink
    places: NodePlaces
    recorder: Recorder
    tasks: Tasks
    home_id: str
    fleet: Callable[[], FleetSpec]


class Semaphore:
    """See the module. `starts` and `sleepers` are joined by the keeper; `turned()` is called after each decision."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.groups = AgentGroups(parts.agents, parts.places, parts.link, parts.home_id, self._told)
        self._readings = Readings(parts.agents, self.groups, parts.hands.ending)
        self._acts = Acts(
            parts.agents,
            parts.healer,
            parts.hands,
            self.groups,
            parts.recorder,
            parts.tasks,
            parts.places.cgroups_of,
        )
        self._room = NodeRoom(parts.places.plan)
        self.state = State()
        self.reading: Reading | None = None  # the last one that was decided on
        self.want: Want | None = None  # set by the start queue: the first that only memory keeps out
        self.pressure = 0.0  # share of the last ten seconds in which something waited for memory
        self.node: Node | None = None  # which memory is the node's; None before the first look
        self.problems: tuple[Problem, ...] = ()  # what cannot work on it
        self.turned: Callable[[], None] = lambda: None
        self._told_bytes = 0  # what the node could give, at the last reading
        self._timer: asyncio.TimerHandle | None = None
        self._due_mono = float("inf")
        self._begun = False
        self._asked = False  # a look was asked for and not yet taken
        self._rests_mono = float("-inf")  # until then, who asks for a look waits
        self._shed: set[str] = set()  # whose groups were let go
        self._seen: dict[str, Seen] = {}  # of the last reading
        self._starting = False  # somebody was, at the last look
        self.turns = 0  # looks taken, for who measures

    # --- joined by the keeper ------------------------------------------------------------------------------------
    @property
    def starts(self) -> Starts:
        return self._readings.starts

    @starts.setter
    def starts(self, starts: Starts) -> None:
        self._readings.starts = starts

    @property
    def sleepers(self) -> Sleepers:
        return self._readings.sleepers

    @sleepers.setter
    def sleepers(self, sleepers: Sleepers) -> None:
        self._readings.sleepers = sleepers

    @property
    def asking(self) -> Asking:
        return self._acts.asking

    # --- life ----------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """The world was compared: from now on it is looked at. Starts find their room at once."""
        self._begun = True
        self._cancel()
        self._turn()
        self._parts.link.send("steer")  # what a former keeper held or paused is ours from now on
        hurry.over()

    def close(self) -> None:
        """Agents keep what holds them; init lets them go when nobody comes after us."""
        self._begun = False
        self._cancel()
        self.groups.close()
        self._room.close()

    def look(self) -> None:
        """Look at once; what comes within two milliseconds is one look.

        A thousand agents that start, one after the other, would take a look each, of all of them: unless somebody waits
        for memory, looks that are asked for follow one another only as fast as they are cheap.
        """
        if self._begun:
            self._asked = True  # also a timer that rings before must not find it not worth its price
            soon_mono = asyncio.get_running_loop().time() + COALESCE_S
            self._arm(soon_mono if self.scarce else max(soon_mono, self._rests_mono), self._turn)

    def freshen(self) -> None:
        """Somebody looks at what was read last: what they see next is to be newer."""
        if asyncio.get_running_loop().time() - self.state.read_mono >= limits.TICK_QUIET_S:
            self.look()

    def _told(self) -> None:
        """The kernel says that somebody stands at its ceiling: that waits for nothing."""
        if self._begun:
            self._asked = True
            self._arm(asyncio.get_running_loop().time() + COALESCE_S, self._turn)

    def changed(self, agent: Agent) -> None:
        """Its ladder or what init says of it changed."""
        seen = self._seen.get(agent.name)
        if (None if seen is None else seen.phase) is not self._readings.phase(agent):
            self.look()

    def fleet_changed(self) -> None:
        """What is declared, of the node and of agents, may be another: at once, not with the next calm look."""
        self._room.forget()
        self.look()

    def died(self, agent: Agent) -> None:
        """It is about to be told that it ended by itself, and badly. In v1, forks and writes fail at a ceiling."""
        lease = self.state.leases.get(agent.name)
        if lease is not None and self.holds_back(agent) and self.groups.fails_at_ceiling(agent):
            self._acts.fell(agent, lease.lease_bytes, asyncio.get_running_loop().time())

    def gone(self, agent: Agent) -> None:
        """It was taken out of the fleet."""
        self.groups.drop(agent.name)
        self._acts.gone(agent.name)
        self._shed.discard(agent.name)
        self.look()

    # --- time ----------------------------------------------------------------------------------------------------
    def _arm(self, due_mono: float, ring: Callable[[], None]) -> None:
        """One timer; an earlier one stays."""
        if self._timer is not None and self._due_mono <= due_mono:
            return
        self._cancel()
        self._due_mono = due_mono
        self._timer = asyncio.get_running_loop().call_at(due_mono, ring)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_mono = None, float("inf")

    def _peek(self) -> None:
        """A look is due; whether it is worth its price, one number tells."""
        self._timer, self._due_mono = None, float("inf")
        now, told = asyncio.get_running_loop().time(), self._room.read()
        if told is None or self.reading is None or self._asked:
            self._turn()
            return
        left = self.reading.available_bytes - (self._told_bytes - told.available_bytes)
        if peek.worth_looking(self.state, self.reading, left, now):
            self._turn()
        else:
            self._arm(peek.again_mono(self.state, now), self._peek)

    def _turn(self) -> None:
        """One look, one decision, and what follows from it."""
        self._timer, self._due_mono, self._asked = None, float("inf"), False
        began_s = time.thread_time()
        try:
            self._look_and_decide(asyncio.get_running_loop().time())
        except Exception:  # a mistake of ours must not end the protection of everybody
            traceback.print_exc()
            self._arm(asyncio.get_running_loop().time() + limits.TICK_CALM_S, self._turn)
        rest_s = min(REST_MAX_S, REST_SHARE * (time.thread_time() - began_s))
        self._rests_mono = asyncio.get_running_loop().time() + rest_s

    def _look_and_decide(self, now: float) -> None:
        self.turns += 1
        self._room.look(self._parts.fleet().node, self._readings.declared, now)
        node, told = self._room.node, self._room.read()
        self.node, self.problems = node, self._room.problems
        if node is None or told is None:
            self._arm(now + limits.TICK_CALM_S, self._turn)
            return
        self.pressure = self._room.pressure()
        reading = self._readings.read(self.state, told, node, self.want)
        if self.reading is not None and self.reading.ceilings and not reading.ceilings:
            self.groups.release_ceilings()
        self._told_bytes = told.available_bytes
        self._release_shed(reading)
        self.state, actions = semaphore.decide(self.state, reading, now)
        self.reading, self._seen = reading, {one.name: one for one in reading.agents}
        self._acts.carry_out(actions, self._readings.sleepers, self._growers(), now)
        if any(isinstance(action, Protect) for action in actions):
            self._protect_all(reading)
        self.groups.listen()
        self._readings.follow_starts(reading, self.state, now)
        if reading.agents or reading.want is not None:
            self._arm(self.state.due_mono, self._peek)
        starting = any(one.phase is Phase.STARTING for one in reading.agents)
        if self._starting and not starting:
            own_memory.give_back()  # starts leave behind more than all else we do
        self._starting = starting
        self.turned()

    def _release_shed(self, reading: Reading) -> None:
        """Whose tree is gone after it was shed leaves nothing behind in its group, which waits for it."""
        shed = {one.name for one in reading.agents if one.phase is Phase.SHED}
        for name in shed - self._shed:
            self.groups.release(self._parts.agents[name])
        self._shed = shed

    def _protect_all(self, reading: Reading) -> None:
        """Protection counts only as far as the group that holds all of them has it."""
        keep = sum(one.protected_bytes for one in self.state.held.values())
        floor = sum(one.floor_bytes for one in reading.agents if one.phase is not Phase.SHED)
        groups.protect_root(self._parts.places.plan, keep, floor)

    def _growers(self) -> tuple[str, ...]:
        """Who takes most at present, most first; () when nobody grows."""
        growing = [
            (one.rate_bytes_s, name) for name, one in self.state.held.items() if one.rate_bytes_s > GROWS_BYTES_S
        ]
        return tuple(name for _, name in sorted(growing, reverse=True))

    # --- for others ----------------------------------------------------------------------------------------------
    @property
    def budget_bytes(self) -> int:
        """What all agents together may use at present."""
        return self.state.budget_bytes if self.reading is not None or self.node is None else self.node.budget_bytes

    @property
    def scarce(self) -> bool:
        """Somebody's need is not covered, or the reserve is being eaten."""
        waiting = any(one.starved_mono is not None for one in self.state.held.values())
        return waiting or self.state.over_mono is not None

    def room(self) -> int:
        """Bytes that starts may take now."""
        return semaphore.room(self.state)

    def lease(self, name: str) -> Lease | None:
        return self.state.leases.get(name)

    def held(self, name: str) -> Held | None:
        return self.state.held.get(name)

    def seen(self, name: str) -> Seen | None:
        """The agent in the last reading."""
        return self._seen.get(name)

    def victims(self) -> tuple[str, ...]:
        """Who would go for another's memory, first to last."""
        if self.reading is None:
            return ()
        return tuple(one.name for one in shedding.victims(self.reading, self.state.held))

    def holds_back(self, agent: Agent) -> bool:
        """Whether it was told that it waits for memory: nobody else may say that this is over."""
        held = self.state.held.get(agent.name)
        return (held is not None and held.told_starved) or self._acts.is_relieved(agent.name)
