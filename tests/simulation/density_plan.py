"""What one seed of the density campaign draws: a node, agents of every kind, and everything that happens to them.

Agents start heavily, run away, leak into their own limits, crash, idle and sleep, come in replicas, or are larger than
the node; the node changes its size; other software takes memory and gives it back; the keeper dies; acts get lost.
Data and dice only; density_world lets it live.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from holdfast.density import admission, node_memory
from holdfast.density.hibernation import Action as IdleAction
from holdfast.density.hibernation import Rest
from holdfast.density.model import MB, Phase

Kernel = Literal["v2", "v1", "none"]
Place = Literal["queued", "spare", "asleep", ""]
Goal = Literal["shed", "spare", "asleep", "queued", "again"]


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
    slots: float = 0.5
    floor: int = 0
    limit: int | None = None  # declared: the kernel ends it there
    may_shed: bool = True
    group: str = ""  # of replicas
    idle_action: IdleAction = "none"
    idle_after: float = 5.0
    works: list[tuple[float, float]] = field(default_factory=list)  # when it has work, if it may sleep
    crashes: list[float] = field(default_factory=list)
    # what is so now
    instance: int = 0
    phase: Phase | None = None  # None: it holds nothing and is not shed; see `place`
    place: Place = "queued"
    goal: Goal = "shed"  # what becomes of it when it is gone
    usage: int = 0
    swapped: int = 0
    paging: int = 0  # still to be paged out
    ceiling: int | None = None
    kept: tuple[int, int] = (0, 0)  # memory.low and memory.min as written
    hits: int = 0
    frozen: bool = False
    frozen_since: float | None = None  # by the semaphore
    freed_at: float = 0.0  # init frees it then at the latest
    asleep: bool = False  # frozen because it was idle
    rest: Rest = field(default_factory=Rest)
    waits_since: float | None = None  # there is work and it sleeps
    slept_at: float = float("-inf")
    woken_at: float = float("-inf")
    blocked_since: float | None = None
    born: float = 0.0
    flat_since: float = 0.0
    leaving_since: float | None = None
    dying_since: float | None = None
    dying: int = 0  # what it held when it began to die
    term_at: float | None = None
    shed_at: float | None = None
    queued_since: float = 0.0
    softened_at: float = float("-inf")  # the last soft step
    sheds: list[float] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.phase in (Phase.STARTING, Phase.RUNNING)

    @property
    def is_shed(self) -> bool:
        """Down, or on its way down, for another's memory."""
        return self.phase is Phase.SHED or (self.phase is Phase.LEAVING and self.goal == "shed")

    @property
    def waits_for_room_since(self) -> float:
        if not self.is_shed:
            return self.queued_since
        return self.leaving_since or self.shed_at or 0.0

    def busy(self, now: float) -> bool:
        return self.idle_action == "none" or any(begin <= now < end for begin, end in self.works)

    def demand(self, now: float, calm_at: float) -> int:
        """What it would like to hold, paged out or not."""
        age = now - self.born
        if self.spike and now < calm_at and now >= self.spike_at and age > 1.0:
            return self.spike
        if self.phase is Phase.STARTING and age < 2.0:
            return self.peak
        return self.base


@dataclass
class Group:
    """Replicas of one agent, in order. `depths`: from when on its queue is how deep; None: nobody says."""

    name: str
    members: list[str]
    least: int
    per_depth: float
    depths: list[tuple[float, float | None]]

    def depth(self, now: float) -> float | None:
        return next((depth for at, depth in reversed(self.depths) if at <= now), None)


@dataclass
class Plan:
    """What one seed draws. `sizes`: from when on the node has how much, and keeps how much in reserve."""

    seed: str
    kernel: Kernel
    machine: int
    sizes: list[tuple[float, int, int]]
    swap: int
    bodies: list[Body]
    groups: list[Group]
    calm_at: float
    others: list[tuple[float, float, int]]  # from, until, bytes
    deaths: list[tuple[float, float]]  # the keeper is away from, until
    lost: float  # share of acts that get lost
    late_s: float
    cores: int
    calm: bool  # nobody runs away, nobody dies, nobody else takes anything

    def size(self, now: float) -> tuple[int, int]:
        """The node and its reserve, in bytes."""
        _, node, reserve = next(one for one in reversed(self.sizes) if one[0] <= now)
        return node, reserve

    @property
    def least_budget(self) -> int:
        """Of all its sizes."""
        return min(node - reserve for _, node, reserve in self.sizes)


@dataclass(frozen=True)
class Odds:
    """How likely each kind of thing is in a fleet: those of the campaign, or of the ground where one bug lives."""

    calm: float = 0.15
    sizes: float = 0.25  # `node:` is changed while everything runs
    deaths: float = 0.3
    lost: tuple[float, ...] = (0.0, 0.0, 0.1)
    kernels: tuple[Kernel, ...] = ("v2", "v1", "none")
    swap: tuple[float, ...] = (0.0, 0.0, 0.25, 1.0)  # of the node
    levels: tuple[tuple[int, ...], ...] = ((50,), (100, 0), (100, 50, 10), (100, 3, 2, 1, 0), (90, 80, 70, 60))
    shares: tuple[tuple[float, float], ...] = (
        *[(0.1, 0.9)] * 4,
        (0.3, 2.0),
    )  # what agents work with, of an equal share
    floors: float = 0.2
    limits: float = 0.2
    sleepers: float = 0.25
    stays: float = 0.05  # one that may never be shed
    giant: float = 0.1
    crew: float = 0.3
    spikes: float = 0.5
    crashes: float = 0.1
    stalls: tuple[float, ...] = (0.0, 0.0, 0.0, 6.0)


USUAL = Odds()


def draw(seed: str, odds: Odds = USUAL) -> Plan:
    roll = random.Random(seed)
    node = roll.choice([128, 512, 1024, 2048, 2048, 4096, 8192]) * MB
    reserve = node_memory.reserve(node)
    budget = node - reserve
    calm = roll.random() < odds.calm
    levels = roll.choice(odds.levels)
    bodies, groups = _fleet(roll, budget, levels, calm, odds)
    calm_at = roll.uniform(35.0, 60.0)
    if not calm:
        _trouble(roll, bodies, budget, calm_at, odds)
    machine, sizes = node, [(0.0, node, reserve)]
    if not calm and roll.random() < odds.sizes:
        machine = int(node * roll.choice([1.0, 1.3, 3.0]))
        sizes += _sizes(roll, machine, node, calm_at)
    others = []
    for _ in range(0 if calm else roll.choice([0, 0, 0, 1, 1, 4])):
        begin = roll.uniform(0.0, 30.0)
        others.append((begin, min(calm_at, begin + roll.uniform(1.0, 20.0)), int(budget * roll.uniform(0.05, 0.4))))
    deaths = []
    if not calm and roll.random() < odds.deaths:
        begin = roll.uniform(2.0, 40.0)
        deaths.append((begin, begin + roll.choice([0.3, 0.5, 2.0, 8.0])))
    return Plan(
        seed=seed,
        kernel=roll.choice(odds.kernels),
        machine=machine,
        sizes=sizes,
        swap=int(node * roll.choice(odds.swap)),
        bodies=bodies,
        groups=groups,
        calm_at=calm_at,
        others=others,
        deaths=deaths,
        lost=0.0 if calm else roll.choice(odds.lost),
        late_s=roll.choice([0.0, 0.01, 0.05, 0.25]),
        cores=roll.choice([1, 2, 8]),
        calm=calm,
    )


def _fleet(
    roll: random.Random, budget: int, levels: tuple[int, ...], calm: bool, odds: Odds
) -> tuple[list[Body], list[Group]]:
    count = roll.randint(2, 14)
    share = budget // count
    least, most = (0.1, 0.6) if calm else roll.choice(odds.shares)
    bodies = []
    for index in range(count):
        base = max(MB, int(share * roll.uniform(least, most)))
        body = Body(
            name=f"a{index:02d}",
            priority=roll.choice(levels),
            base=base,
            peak=int(base * roll.uniform(1.0, 1.5)),
            rate=budget * roll.uniform(0.005, 0.4),
            dying_s=roll.choice([0.02, 0.1, 0.1, 0.4, 0.4, 1.5, 10.0]),
            stalls_s=roll.choice(odds.stalls),
            slots=roll.choice([0.0, 0.5, 0.5, 1.0]),
        )
        if roll.random() < odds.floors:
            body.floor = int(base * roll.uniform(0.5, 1.3))
        if roll.random() < odds.limits:
            body.limit = int(body.peak * roll.uniform(1.25, 2.0))
        if roll.random() < odds.sleepers:
            body.idle_action = roll.choice(["freeze", "stop"])
            body.idle_after = roll.choice([1.0, 5.0, 60.0])
            body.works = _works(roll)
        bodies.append(body)
    if roll.random() < odds.stays:
        bodies[-1].may_shed = False
    if roll.random() < odds.giant:  # larger than the node: never starts, and is in nobody's way
        size = int(budget * roll.uniform(1.05, 3.0))
        bodies.append(Body(name="giant", priority=roll.choice([*levels, 100]), base=size, peak=size))
    groups = []
    if roll.random() < odds.crew:
        groups.append(_replicas(roll, bodies, share, levels))
    return bodies, groups


def _works(roll: random.Random) -> list[tuple[float, float]]:
    """Work comes and goes; the last of it long before the end."""
    now, works = 0.0, []
    while now < 90.0:
        now += roll.expovariate(1 / 15.0)
        end = now + roll.expovariate(1 / 6.0)
        works.append((now, end))
        now = end
    return works


def _replicas(roll: random.Random, bodies: list[Body], share: int, levels: tuple[int, ...]) -> Group:
    most, priority = roll.randint(2, 5), roll.choice(levels)
    base = max(MB, int(share * roll.uniform(0.1, 0.5)))
    least = roll.randint(1, 2)
    group = Group("crew", [], least, 10.0, [(0.0, None)])
    for number in range(most):
        body = Body(name=f"crew-{number + 1}", priority=priority, base=base, peak=int(base * 1.3), group="crew")
        body.rate = base * roll.uniform(0.2, 2.0)
        body.place = "queued" if number < least else "spare"
        bodies.append(body)
        group.members.append(body.name)
    at = 0.0
    for _ in range(roll.randint(1, 5)):
        at += roll.uniform(1.0, 25.0)
        group.depths.append((at, roll.choice([None, 0.0, 5.0, 18.0, 33.0, 90.0])))
    return group


def _trouble(roll: random.Random, bodies: list[Body], budget: int, calm_at: float, odds: Odds) -> None:
    top = max(body.priority for body in bodies)
    single = len({one.priority for one in bodies}) == 1
    for body in bodies:
        if body.name == "giant" or not body.may_shed:
            continue
        if (body.priority < top or single) and roll.random() < odds.spikes:
            body.spike = int(budget * roll.uniform(0.2, 2.0))
            body.spike_at = roll.uniform(2.0, 30.0)
            body.rate = budget * roll.uniform(0.01, 0.9)
        if roll.random() < odds.crashes:
            body.crashes = sorted(roll.uniform(3.0, calm_at) for _ in range(roll.randint(1, 4)))


def _sizes(roll: random.Random, machine: int, node: int, calm_at: float) -> list[tuple[float, int, int]]:
    """`node:` is changed while everything runs."""
    sizes = []
    for at in sorted(roll.uniform(1.0, calm_at) for _ in range(roll.randint(1, 3))):
        size = min(machine, int(node * roll.choice([0.4, 0.6, 0.8, 1.0, 1.5])))
        sizes.append((at, size, node_memory.reserve(size, roll.choice([None, None, size // 20]))))
    return sizes


def need_of(body: Body) -> int:
    """Its start was seen before."""
    return admission.start_need(None, max(body.peak, body.base), None, body.limit)
