"""A node with agents that allocate, as the kernel of each kind would let them: the world of the density campaign.

Everything is drawn from one seed. Three kernels: v2 (slowed at the ceiling), v1 (held at it), none (not held). When
the node is exhausted the kernel kills by priority, as oom_score_adj makes it. Acts may get lost; the dying take time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from holdfast.density import admission, node_memory
from holdfast.density.model import MB, Phase, Reading, Seen, Want

Kernel = Literal["v2", "v1", "none"]
STEP_S = 0.02
LEAK_OVER_HIGH_BYTES_S = 1 * MB  # v2, measured


@dataclass
class Body:
    """One agent: what it wants, and what it has."""

    name: str
    priority: int
    base: int  # what it holds when it works
    peak: int  # what its start takes for a moment
    spike: int = 0  # what it runs away to; 0: it does not
    spike_at: float = 0.0
    rate: float = 100.0 * MB
    dying_s: float = 0.1
    stalls_s: float = 0.0  # its memory stays this long after the kill
    phase: Phase | None = None  # None: queued or not there
    usage: int = 0
    ceiling: int | None = None
    hits: int = 0
    frozen: bool = False
    frozen_since: float | None = None
    blocked_since: float | None = None
    born: float = 0.0
    flat_since: float = 0.0
    dying_since: float | None = None
    dying: int = 0  # what it held when it began to die
    term_at: float | None = None
    shed_at: float | None = None
    queued_since: float = 0.0
    sheds: list[float] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.phase in (Phase.STARTING, Phase.RUNNING)

    def demand(self, now: float, calm_at: float) -> int:
        """What it would like to hold."""
        age = now - self.born
        if self.spike and now < calm_at and now >= self.spike_at and age > 1.0:
            return self.spike
        if self.phase is Phase.STARTING and age < 2.0:
            return self.peak
        return self.base


@dataclass
class Plan:
    """What one seed draws."""

    seed: str
    kernel: Kernel
    node: int
    reserve: int
    bodies: list[Body]
    calm_at: float
    others: list[tuple[float, float, int]]  # from, until, bytes
    deaths: list[tuple[float, float]]  # the keeper is away from, until
    lost: float  # share of acts that get lost
    late_s: float
    cores: int
    calm: bool  # nobody runs away, nobody dies, nobody else takes anything


def draw(seed: str) -> Plan:
    roll = random.Random(seed)
    node = roll.choice([128, 512, 1024, 2048, 2048, 4096, 8192]) * MB
    reserve = node_memory.reserve(node)
    budget = node - reserve
    calm = roll.random() < 0.15
    count = roll.randint(2, 14)
    levels = roll.choice([[50], [100, 0], [100, 50, 10], [100, 3, 2, 1, 0], [90, 80, 70, 60]])
    bodies = []
    share = budget // count
    for index in range(count):
        base = max(MB, int(share * roll.uniform(0.1, 0.6 if calm else 0.9)))
        body = Body(
            name=f"a{index:02d}",
            priority=roll.choice(levels),
            base=base,
            peak=int(base * roll.uniform(1.0, 1.5)),
            rate=budget * roll.uniform(0.005, 0.4),
            dying_s=roll.choice([0.02, 0.1, 0.1, 0.4, 0.4, 1.5, 10.0]),
            stalls_s=roll.choice([0.0, 0.0, 0.0, 6.0]),
        )
        bodies.append(body)
    top = max(body.priority for body in bodies)
    for body in bodies if not calm else ():
        if (body.priority < top or len({one.priority for one in bodies}) == 1) and roll.random() < 0.5:
            body.spike = int(budget * roll.uniform(0.2, 2.0))
            body.spike_at = roll.uniform(2.0, 30.0)
            body.rate = budget * roll.uniform(0.01, 0.9)
    calm_at = roll.uniform(35.0, 60.0)
    others = []
    if not calm and roll.random() < 0.3:
        begin = roll.uniform(0.0, 30.0)
        others.append((begin, begin + roll.uniform(1.0, 20.0), int(budget * roll.uniform(0.05, 0.6))))
    deaths = []
    if not calm and roll.random() < 0.3:
        begin = roll.uniform(2.0, 40.0)
        deaths.append((begin, begin + roll.choice([0.3, 0.5, 2.0, 8.0])))
    return Plan(
        seed=seed,
        kernel=roll.choice(["v2", "v1", "none"]),
        node=node,
        reserve=reserve,
        bodies=bodies,
        calm_at=calm_at,
        others=others,
        deaths=deaths,
        lost=0.0 if calm else roll.choice([0.0, 0.0, 0.1]),
        late_s=roll.choice([0.0, 0.01, 0.05, 0.25]),
        cores=roll.choice([1, 2, 8]),
        calm=calm,
    )


class World:
    """Moves in steps; the shell in density_campaign reads and acts."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 0.0
        self.bodies = {body.name: body for body in plan.bodies}
        self.killed: list[tuple[str, bool]] = []  # by the kernel; whether nobody could have prevented it
        self.woken = False  # the kernel has something to tell

    # --- what there is -------------------------------------------------------------------------------------------
    def others(self) -> int:
        return sum(size for begin, end, size in self.plan.others if begin <= self.now < end)

    def used(self) -> int:
        return sum(body.usage for body in self.bodies.values()) + self.others()

    def reading(self, want: Want | None) -> Reading:
        agents = []
        for body in self.bodies.values():
            if body.phase is None:
                continue
            agents.append(
                Seen(
                    name=body.name,
                    priority=body.priority,
                    phase=body.phase,
                    usage_bytes=body.usage,
                    start_bytes=need_of(body),
                    ceiling_bytes=body.ceiling,
                    hits=body.hits,
                    frozen=body.frozen,
                    shed_mono=body.shed_at,
                )
            )
        return Reading(
            node_bytes=self.plan.node,
            reserve_bytes=self.plan.reserve,
            available_bytes=max(0, self.plan.node - self.used()),
            agents=tuple(agents),
            ceilings=self.plan.kernel != "none",
            want=want,
        )

    # --- time ----------------------------------------------------------------------------------------------------
    def step(self, dt: float) -> None:
        self.now += dt
        for body in self.bodies.values():
            if body.dying_since is not None:
                self._die(body, dt)
            elif body.term_at is not None:
                if self.now >= body.term_at:
                    self.kill(body)
            elif body.alive:
                self._live(body, dt)
        while self.used() > self.plan.node and any(body.alive for body in self.bodies.values()):
            victim = min(
                (body for body in self.bodies.values() if body.alive), key=lambda one: (one.priority, -one.usage)
            )
            self.killed.append((victim.name, self._forced(victim)))
            victim.usage = 0
            self.gone(victim)

    def _forced(self, victim: Body) -> bool:
        """What is dying already, what others took and the more important fill the node: no rule gets memory sooner."""
        stays = sum(
            body.usage
            for body in self.bodies.values()
            if body.dying_since is not None or (body.alive and body.priority >= victim.priority)
        )
        return self.others() > 0 and stays + self.others() > self.plan.node

    def _live(self, body: Body, dt: float) -> None:
        if body.frozen:
            return
        wish = body.demand(self.now, self.plan.calm_at)
        if wish <= body.usage:
            body.usage = max(wish, body.usage - int(body.rate * dt))
            body.blocked_since = None
        else:
            grown = min(wish, body.usage + max(1, int(body.rate * dt)))
            most = body.ceiling
            if most is not None and grown > most:
                body.hits += 1
                self.woken = True
                extra = int(LEAK_OVER_HIGH_BYTES_S * dt) if self.plan.kernel == "v2" else 0
                grown = max(body.usage + extra, min(grown, most))
                if body.blocked_since is None or grown > body.usage + extra:
                    body.blocked_since = self.now
            else:
                body.blocked_since = None
            body.usage = grown
            body.flat_since = self.now
        if body.phase is Phase.STARTING and admission.settled(
            self.now - body.born > 2.0, self.now - body.flat_since, body.born, self.now
        ):
            body.phase = Phase.RUNNING

    def _die(self, body: Body, dt: float) -> None:
        assert body.dying_since is not None
        age = self.now - body.dying_since
        if age < body.stalls_s:
            return
        body.usage = max(0, body.usage - max(1, int(body.dying * dt / body.dying_s)))
        if body.usage == 0:
            self.gone(body)

    # --- acts ----------------------------------------------------------------------------------------------------
    def start(self, body: Body) -> None:
        body.phase, body.usage, body.born, body.flat_since = Phase.STARTING, MB // 2, self.now, self.now

    def kill(self, body: Body) -> None:
        if body.dying_since is None:
            body.dying_since, body.dying = self.now, body.usage
        body.phase, body.blocked_since = Phase.LEAVING, None
        self.thaw(body)

    def freeze(self, body: Body) -> None:
        if not body.frozen and body.alive:
            body.frozen, body.frozen_since, body.blocked_since = True, self.now, None

    def thaw(self, body: Body) -> None:
        body.frozen, body.frozen_since = False, None

    def gone(self, body: Body) -> None:
        self.thaw(body)
        body.phase, body.ceiling, body.hits = Phase.SHED, None, 0
        body.dying_since = body.term_at = body.blocked_since = None
        body.shed_at = self.now
        self.woken = True


def need_of(body: Body) -> int:
    """Its start was seen before."""
    return admission.start_need(None, max(body.peak, body.base), None, None)
