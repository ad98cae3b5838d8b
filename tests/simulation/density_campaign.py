"""Random fleets on random nodes under the RAM semaphore: the shell of the simulation, which reads, decides and acts.

As in the keeper: one loop that looks when it is due or told, one queue of starts, sleepers, replicas. What must always
hold is in density_checks; what happens is drawn in density_plan.
"""

from __future__ import annotations

import functools
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from holdfast import limits
from holdfast.density import admission, coming_back, hibernation, needs, peek, replicas, semaphore
from holdfast.density.hibernation import Rest, Signs, Sleep
from holdfast.density.model import (
    MB,
    Action,
    ComeBack,
    Freeze,
    Hibernate,
    Kill,
    PageOut,
    Phase,
    Protect,
    Reading,
    SetCeiling,
    Shed,
    State,
    Step,
    Stop,
    Thaw,
    Want,
)
from tests.simulation.checker import Violation
from tests.simulation.density_checks import Checks
from tests.simulation.density_plan import USUAL, Body, Group, Odds, Plan, draw, need_of
from tests.simulation.density_world import STEP_S, World

SETTLE_S = limits.BACK_MAX_S + 100.0
SLEEP_LOOK_S = 0.5
WAKE_LEAD_S = 1.0
REPLICAS_UP_S, REPLICAS_DOWN_S = limits.REPLICAS_UP_S, limits.REPLICAS_DOWN_S  # whatever bug is planted there


@dataclass
class Tally:
    episodes: int = 0
    decisions: int = 0
    steps: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    failure: tuple[str, Violation] | None = None

    def add(self, other: Tally) -> None:
        self.episodes += 1
        self.decisions += other.decisions
        self.steps += other.steps
        self.seen += other.seen


class Episode:
    """One seed, from an empty node to the end of all trouble and after."""

    def __init__(self, plan: Plan, trace: list[str] | None = None) -> None:
        self.plan = plan
        self.world = World(plan)
        self.checks = Checks(plan, self.world)
        self.state = State()
        self.last: Reading | None = None
        self.roll = random.Random(plan.seed + "acts")
        self.trace = trace
        self.tally = Tally()
        self.want: Want | None = None
        self.due = self.sleepers_due = self.scaler_due = 0.0
        self.scales: dict[str, tuple[replicas.Scale, float]] = {}  # and when it was changed
        self.low_since: dict[str, float] = {}

    def told(self, words: object) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.world.now:8.3f} free {self.state.free_bytes // MB:6d} MB  {words}")

    # --- the run -------------------------------------------------------------------------------------------------
    def run(self) -> Tally:
        world, end = self.world, self.plan.calm_at + SETTLE_S
        while world.now < end:
            away = any(begin <= world.now < until for begin, until in self.plan.deaths)
            if away and world.deserted_at is None:
                self._keeper_dies()
            elif not away and world.deserted_at is not None:
                self._keeper_returns()
            if not away:
                self._turn()
            self.checks.bounds(away)
            before, quiet = len(world.killed), world.now >= self.plan.calm_at and not world.is_moving()
            world.step(max(STEP_S, min(self.due, self._next_work()) - world.now) if quiet else STEP_S)
            self.tally.steps += 1
            for name, forced in world.killed[before:]:
                self.tally.seen[f"kernel kill ({self.plan.kernel})"] += 1
                self.told(f"the kernel kills {name}")
                self.checks.kernel_killed(name, forced)
        self.checks.in_the_end(self.state)
        self._scaled_in_the_end()
        return self.tally

    def _turn(self) -> None:
        world = self.world
        if world.now >= self.due or world.woken:
            worth = world.woken or self.last is None
            if worth or peek.worth_looking(self.state, self.last, world.available(), world.now):
                world.woken = False
                self._decide()
                self.due = self.state.due_mono + self.roll.random() * self.plan.late_s
            else:
                self.due = peek.again_mono(self.state, world.now)
        self._sleepers()
        if world.now >= self.scaler_due:
            self.scaler_due = world.now + limits.REPLICAS_LOOK_S
            for group in self.plan.groups:
                self._scale(group)

    def _next_work(self) -> float:
        """When somebody who sleeps or may sleep is looked at again; far away when all work is done."""
        now = self.world.now
        works = any(end > now for body in self.plan.bodies for _, end in body.works[-1:])
        return now + SLEEP_LOOK_S if works else now + limits.REPLICAS_LOOK_S

    def _keeper_dies(self) -> None:
        self.told("the keeper dies")
        self.world.deserted_at = self.world.now
        self.state, self.last, self.want, self.scales = State(), None, None, {}
        for body in self.plan.bodies:
            if not (body.asleep or "asleep" in (body.place, body.goal)):
                body.rest = Rest()

    def _keeper_returns(self) -> None:
        self.told("a new keeper")
        self.world.deserted_at, self.world.woken = None, True
        self.checks.began = self.world.now
        for body in self.plan.bodies:
            if body.asleep and body.busy(self.world.now):
                self._wake(body)
            elif body.asleep:
                body.frozen = True

    # --- the semaphore -------------------------------------------------------------------------------------------
    def _decide(self) -> None:
        world, plan = self.world, self.plan
        reading = world.reading(self.want)
        self.state, actions = semaphore.decide(self.state, reading, world.now)
        self.last = reading
        self.tally.decisions += 1
        self.checks.watch(self.state)
        for act in actions:
            self.tally.seen[type(act).__name__] += 1
            if not isinstance(act, SetCeiling | Protect):
                self.told(act)
            if isinstance(act, Shed):
                self.checks.shed(act, reading, self.state)
            elif isinstance(act, PageOut | Hibernate):
                self.checks.soft(act, world.swap_free())
        self.checks.leases(self.state, reading)
        lost = [act for act in actions if self.roll.random() < plan.lost]
        for act in actions:
            if act not in lost:
                self._act(act)
        self.checks.ceilings(self.state, reading)
        if not lost:
            self.checks.asleep()
        self._admit(reading)

    def _act(self, act: Action) -> None:
        world, body = self.world, self.world.bodies.get(getattr(act, "agent", ""))
        if body is None:
            return
        there = body.phase is not None and body.phase is not Phase.SHED
        match act:
            case SetCeiling(bytes=most):
                body.ceiling = most
            case Protect(bytes=low, floor_bytes=least):
                body.kept = (low, least)
            case Freeze(until_mono=until):
                world.freeze(body, until)
            case Thaw():
                world.thaw(body)
            case Stop() if there:
                world.stop(body, "shed" if body.term_at is None else body.goal, self.roll.choice([0.2, 1.0, 99.0]))
            case Kill() if there:
                world.kill(body, "shed" if body.goal == "again" else body.goal)
            case ComeBack() if body.phase is Phase.SHED:
                world.queue(body)
            case PageOut():
                body.paging = body.usage * 9 // 10
            case Hibernate() if body.phase is Phase.RUNNING and body.rest.idle_mono is not None:
                if hibernation.rested(body.rest, body.idle_after, world.now):
                    self._put_to_sleep(body, self.sleepers_due - SLEEP_LOOK_S)
            case _:
                pass

    # --- the queue -----------------------------------------------------------------------------------------------
    def _admit(self, reading: Reading) -> None:
        world, bodies = self.world, self.world.bodies
        queued = [body for body in bodies.values() if body.phase is None and body.place == "queued"]
        starting = [body for body in bodies.values() if body.phase is Phase.STARTING]
        shed = [body for body in bodies.values() if body.is_shed]
        room, budget = semaphore.room(self.state), self.state.budget_bytes
        done = admission.admit(
            [*(_waiting(body, budget) for body in queued), *(_waiting(body, budget) for body in shed)],
            [admission.Starting(name=body.name, slots=body.slots, since_mono=body.born) for body in starting],
            room,
            reading.node_bytes - reading.reserve_bytes,
            self.plan.cores,
            "",
            world.now,
            functools.partial(needs.could_have, reading, self.state.free_bytes),
        )
        self.checks.admitted(done.names, queued + shed, starting, room, self.state, reading)
        for name in done.names:
            self.told(f"{name} starts")
            world.start(bodies[name])
            world.woken = True
        self.want = done.want

    # --- sleepers ------------------------------------------------------------------------------------------------
    def _sleepers(self) -> None:
        now = self.world.now
        look = now >= self.sleepers_due
        if look:
            self.sleepers_due = now + SLEEP_LOOK_S
        for body in self.plan.bodies:
            if body.idle_action == "none":
                continue
            sleeps = body.asleep or "asleep" in (body.place, body.goal)
            if body.rest.asleep_mono is not None and not sleeps:
                body.rest = Rest(woken_mono=now)  # it is down for another reason
            if sleeps and body.busy(now):
                body.waits_since = now if body.waits_since is None else body.waits_since
            else:
                body.waits_since = None
            if not (look or (sleeps and body.busy(now))):
                continue
            body.rest, acts = hibernation.decide(
                body.rest,
                self._signs(body, sleeps),
                body.idle_action,
                body.idle_after,
                WAKE_LEAD_S,
                self._scarce(),
                now,
            )
            for act in acts:
                if isinstance(act, Sleep):
                    self._put_to_sleep(body, now)
                else:
                    self._wake(body)

    def _scarce(self) -> bool:
        waits = any(one.starved_mono is not None for one in self.state.held.values())
        return waits or self.state.over_mono is not None

    def _signs(self, body: Body, sleeps: bool) -> Signs:
        held = self.state.held.get(body.name)
        calm = held is not None and held.step is Step.NONE and not held.told_starved
        well = sleeps or (body.phase is Phase.RUNNING and calm and not body.frozen)
        busy = body.busy(self.world.now)
        return Signs(says_idle=False if busy else None, connections=int(busy), cpu_share=0.5 * busy, healthy=well)

    def _put_to_sleep(self, body: Body, looked_at: float) -> None:
        self.checks.falls_asleep(body, looked_at)
        self.told(f"{body.name} falls asleep ({body.idle_action})")
        self.tally.seen["asleep"] += 1
        body.rest = Rest(asleep_mono=self.world.now, how=body.idle_action)
        if body.idle_action == "freeze":
            self.world.put_to_sleep(body)
        else:
            self.world.stop(body, "asleep", self.roll.choice([0.1, 1.0]))
        self.world.woken = True

    def _wake(self, body: Body) -> None:
        self.told(f"{body.name} wakes")
        body.rest = Rest(woken_mono=self.world.now)
        body.woken_at, body.waits_since = self.world.now, None
        if body.asleep:
            self.world.wake(body)
        elif body.place == "asleep":
            self.world.queue(body)
        elif body.goal == "asleep":
            body.goal = "queued"
        self.world.woken = True

    # --- replicas ------------------------------------------------------------------------------------------------
    def _crew(self, group: Group) -> tuple[list[Body], list[Body]]:
        """Who counts, and who is spare."""
        members = [self.world.bodies[name] for name in group.members]
        spare = [body for body in members if "spare" in (body.place, body.goal)]
        return [body for body in members if body not in spare], spare

    def _scale(self, group: Group) -> None:
        now, depth = self.world.now, group.depth(self.world.now)
        on, spare = self._crew(group)
        known, changed = self.scales.get(group.name, (replicas.Scale(count=len(on)), float("-inf")))
        bounds = replicas.Bounds(least=group.least, most=len(group.members), per_queue_depth=group.per_depth)
        room = semaphore.room(self.state)
        fits = room // need_of(on[0])
        wished = replicas.wish(bounds, depth) if depth is not None else len(on)
        if wished >= len(on):
            self.low_since.pop(group.name, None)
        low_s = now - self.low_since.setdefault(group.name, now) if wished < len(on) else 0.0
        scale, changes = replicas.decide(
            known, bounds, depth, fits, sum(1 for body in on if body.phase is Phase.RUNNING), now
        )
        for change in changes:
            self.told(change)
            self.tally.seen["Change"] += 1
            if not group.least <= change.after <= len(group.members):
                raise Violation("replicas_bounded", f"{change}")
            if change.after > change.before and (change.after - change.before) * need_of(on[0]) > room:
                raise Violation("replicas_fit", f"{change}, {room // MB} MB are free")
            if change.after > change.before and now - changed < REPLICAS_UP_S - 1e-6:
                raise Violation("replicas_steady", f"{change} after {now - changed:.1f} s")
            if change.after < change.before and low_s < REPLICAS_DOWN_S - 1e-6:
                raise Violation("replicas_steady", f"{change} after {low_s:.1f} s")
            changed = now
            for body in spare[: max(0, change.after - change.before)]:
                if body.place == "spare":
                    self.world.queue(body)
                else:
                    body.goal = "queued"
            for body in on[change.after :] if change.after < change.before else ():
                self._spare(body)
        self.scales[group.name] = (scale, changed)

    def _spare(self, body: Body) -> None:
        if body.phase is None or body.phase is Phase.SHED:
            body.phase, body.place = None, "spare"
        elif body.phase is Phase.LEAVING:
            body.goal = "spare"
        else:
            self.world.stop(body, "spare", 0.5)
        self.world.woken = True

    def _scaled_in_the_end(self) -> None:
        for group in self.plan.groups:
            (on, spare), depth = self._crew(group), group.depth(self.world.now)
            if depth is None:
                continue
            bounds = replicas.Bounds(least=group.least, most=len(group.members), per_queue_depth=group.per_depth)
            wished, fits = replicas.wish(bounds, depth), semaphore.room(self.state) // need_of(on[0])
            ready = all(body.phase is Phase.RUNNING for body in on)
            if len(on) > wished or (len(on) < wished and fits > 0 and ready and spare):
                raise Violation("scaled_in_the_end", f"{len(on)} replicas, {wished} are wished, {fits} more fit")


def _waiting(body: Body, budget: int) -> admission.Waiting:
    """Who was shed stands in the same line, and keeps as much room as it comes back at."""
    need, shed = need_of(body), body.is_shed
    return admission.Waiting(
        name=body.name,
        priority=body.priority,
        since_mono=body.waits_for_room_since,
        slots=0.0 if shed else body.slots,
        need_bytes=max(need, min(coming_back.room_for(need, budget), budget)) if shed else need,
        returns=shed,
    )


def lived(seed: str, trace: list[str] | None = None, odds: Odds = USUAL) -> tuple[Tally, Violation | None]:
    episode = Episode(draw(seed, odds), trace)
    try:
        return episode.run(), None
    except Violation as error:
        return episode.tally, error


def campaign(seed: str, episodes: int) -> Tally:
    """Ends at the first seed that fails."""
    whole = Tally()
    begin = time.perf_counter()
    for number in range(episodes):
        one, error = lived(f"{seed}:{number}")
        whole.add(one)
        if error is not None:
            whole.failure = (f"{seed}:{number}", error)
            break
    whole.seconds = time.perf_counter() - begin
    return whole
