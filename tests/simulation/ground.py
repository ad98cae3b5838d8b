"""The ground of the simulated world: its state and its clock, which jumps from event to event.

Called by the rooms built on it: shell.py (keeper), supervisor.py (init), probes.py, strikes.py; world.py is the house.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, cast

import msgspec

from holdfast.healing import model as m
from holdfast.healing.model import Ladder, Tier
from tests.simulation.checker import Checker
from tests.simulation.faults import Plan

if TYPE_CHECKING:
    from tests.simulation.world import World

ENCODE = msgspec.json.Encoder().encode
DECODE = msgspec.json.Decoder(Ladder).decode
EVENTS_MAX = 20_000

Decide = Callable[[Ladder, Any, m.Policy, float, float], tuple[Ladder, tuple[Any, ...]]]
PermitRule = Callable[[Ladder, m.Policy, float, float], m.PermitTerms | None]


class Ground:
    """What is, and the time it moves in."""

    def __init__(self, plan: Plan, decide: Decide, permit: PermitRule, trace: list[str] | None = None) -> None:
        self.policy = plan.policy
        self.random = Random(plan.seed + "world")
        self.rand = self.random.random
        self.decide, self.permit = decide, permit
        self.trace = trace
        self.now = 1000.0
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.events = 0
        self.check = Checker(plan.policy, cast("World", self))
        self.lossy = 0  # events still to be lost
        self.lose: type | None = None  # the next event of this kind is lost
        # the process
        self.alive = False
        self.bad = ""  # why it answers badly, "" when it does not
        self.spoilt = False  # it gave a reason to be restarted at some time of its life
        self.gated = False  # the gate would answer well
        self.life = 0  # grows with each spawn and each end of a bad spell: stale plans are dropped by it
        self.spell = 0
        self.loop_left = 0
        self.slow_left = 0
        self.start_s = 2.0
        self.spawn_fails = 0
        self.starved = False
        self.died_unseen = False
        self.memory_death = False  # it dies at this moment of what it uses itself
        self.for_memory = 0
        # init
        self.init_up = True
        self.init_run = 0
        self.state = "down"
        self.epoch = 0
        self.delays: list[float] = []
        self.not_before = 0.0
        self.after = ""
        self.expected = False
        self.cause = ""
        self.tier = Tier.NONE
        self.code: int | None = None
        self.guard_changed = False
        self.due_run = 0
        self.promised: float | None = None
        self.seq = 0
        self.unacked: list[tuple[int, Any]] = []
        # the keeper
        self.ladder = Ladder()
        self.stored: bytes = ENCODE(self.ladder)
        self.stored_durable: bytes = self.stored
        self.keeper_up = True
        self.keeper_run = 0
        self.die_at: str = ""
        self.lag_s = 0.0
        self.last_delivery = 0.0
        self.sent: m.PermitTerms | None = None
        self.recreating = -1
        self.booted = False
        self.last_fault = self.now + max((fault.at_s for fault in plan.faults), default=0.0)

    def at(self, delay_s: float, what: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay_s, self.count, what, args))

    def run(self, until: float) -> None:
        heap = self.heap
        while heap and heap[0][0] <= until:
            self.now, _, what, args = heapq.heappop(heap)
            what(*args)
            if self.events > EVENTS_MAX:
                self.check.fail("bounded", f"more than {EVENTS_MAX} events in one episode")
        self.now = until
