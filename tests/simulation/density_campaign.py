"""Random fleets on random nodes under the RAM semaphore: the shell of the simulation, and what must always hold."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from holdfast import limits
from holdfast.density import admission, leases, semaphore
from holdfast.density.model import (
    MB,
    Action,
    ComeBack,
    Freeze,
    Kill,
    Phase,
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
from tests.simulation.density_world import STEP_S, Plan, World, draw, need_of

SETTLE_S = limits.BACK_MAX_S + 100.0
INIT_FREES_S = 5.0
FROZEN_MAX_S = limits.PAUSE_MAX_S + 1.5  # a lost act is asked for again after a second
BLOCKED_MAX_S = limits.STARVED_LAST_S + 3.0  # and half a second for each who goes then
SHEDS_A_MINUTE = 6


@dataclass
class Tally:
    episodes: int = 0
    decisions: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    failure: tuple[str, Violation] | None = None


class Episode:
    """One seed, from an empty node to the end of all trouble and after."""

    def __init__(self, plan: Plan, trace: list[str] | None = None) -> None:
        self.plan = plan
        self.world = World(plan)
        self.state = State()
        self.roll = random.Random(plan.seed + "acts")
        self.trace = trace
        self.tally = Tally(episodes=1)
        self.want: Want | None = None
        self.away = False
        self.began = 0.0  # of the present keeper
        self.safe = self._safe()

    # --- who must never suffer -----------------------------------------------------------------------------------
    def _safe(self) -> set[str]:
        """All whose worst moments fit together, from the most important level down: nobody of them may die."""
        plan = self.plan
        least = leases.slack_bounds(plan.node, plan.reserve).least_bytes
        left = plan.node - plan.reserve - sum(size for _, _, size in plan.others)
        names: set[str] = set()
        for level in sorted({body.priority for body in plan.bodies}, reverse=True):
            there = [body for body in plan.bodies if body.priority == level]
            left -= sum(max(need_of(body), body.spike) + 2 * least for body in there)
            if left < 0:
                break
            names |= {body.name for body in there}
        return names

    # --- the run -------------------------------------------------------------------------------------------------
    def run(self) -> Tally:
        world = self.world
        due, end = 0.0, self.plan.calm_at + SETTLE_S
        while world.now < end:
            self.away = any(begin <= world.now < until for begin, until in self.plan.deaths)
            if self.away:
                self.state, self.began = State(), world.now
                for body in world.bodies.values():
                    if body.frozen_since is not None and world.now - body.frozen_since > INIT_FREES_S:
                        world.thaw(body)
            elif world.now >= due or world.woken:
                world.woken = False
                self._decide()
                due = self.state.due_mono + self.roll.random() * self.plan.late_s
            self._bounds()
            busy = self.away or any(
                body.dying_since is not None
                or body.frozen
                or body.term_at is not None
                or body.phase is Phase.STARTING
                or (body.alive and body.usage != body.demand(world.now, self.plan.calm_at))
                for body in world.bodies.values()
            )
            before = len(world.killed)
            world.step(STEP_S if busy or world.now < self.plan.calm_at else max(STEP_S, due - world.now))
            self._kernel_killed(before)
        self._in_the_end()
        return self.tally

    def _decide(self) -> None:
        world, plan = self.world, self.plan
        reading = world.reading(self.want)
        before = self.state
        self.state, actions = semaphore.decide(before, reading, world.now)
        self.tally.decisions += 1
        for act in actions:
            self.tally.seen[type(act).__name__] += 1
            if isinstance(act, Shed):
                self._check_shed(act, reading, before)
            if self.trace is not None and not isinstance(act, SetCeiling):
                self.trace.append(f"{world.now:8.3f} free {self.state.free_bytes // MB:6d} MB  {act}")
        self._check_leases(reading)
        for act in actions:
            if self.roll.random() >= plan.lost:
                self._act(act)
        if not any(self.roll.random() < plan.lost for _ in actions):
            self._check_ceilings(reading)
        self._admit(reading)

    def _act(self, act: Action) -> None:
        body = self.world.bodies.get(getattr(act, "agent", ""))
        if body is None:
            return
        match act:
            case SetCeiling():
                body.ceiling = act.bytes
            case Freeze():
                self.world.freeze(body)
            case Thaw():
                self.world.thaw(body)
            case Stop():
                self.world.thaw(body)
                body.phase, body.term_at = Phase.LEAVING, self.world.now + self.roll.choice([0.2, 1.0, 99.0])
            case Kill():
                if body.phase is not Phase.SHED and body.phase is not None:
                    self.world.kill(body)
            case ComeBack():
                if body.phase is Phase.SHED:
                    body.phase, body.queued_since = None, self.world.now
            case _:
                pass

    def _admit(self, reading: Reading) -> None:
        world = self.world
        queued = [body for body in world.bodies.values() if body.phase is None]
        waiting = [
            admission.Waiting(
                name=body.name,
                priority=body.priority,
                since_mono=body.queued_since,
                slots=0.5,
                need_bytes=need_of(body),
            )
            for body in queued
        ]
        starting = [
            admission.Starting(name=body.name, slots=0.5, since_mono=body.born)
            for body in world.bodies.values()
            if body.phase is Phase.STARTING
        ]
        room = semaphore.room(self.state)
        budget = reading.node_bytes - reading.reserve_bytes
        done = admission.admit(waiting, starting, room, budget, self.plan.cores, "", world.now)
        granted = sum(need_of(world.bodies[name]) for name in done.names)
        if granted > room:
            raise Violation("starts_fit", f"{granted // MB} MB of starts were let in, {room // MB} MB were free")
        pending = sum(max(0, need_of(world.bodies[one.name]) - world.bodies[one.name].usage) for one in starting)
        used = sum(seen.usage_bytes for seen in reading.agents)
        if done.names and used + pending + granted > self.state.budget_bytes:
            raise Violation("starts_fit", f"{granted // MB} MB of starts beside {pending // MB} MB of others under way")
        if len(done.names) * 0.5 + len(starting) * 0.5 > max(1, self.plan.cores):
            raise Violation("starts_fit", f"{len(done.names)} starts beside {len(starting)} on {self.plan.cores} cores")
        for name in done.names:
            body = world.bodies[name]
            for other in queued:
                passed = other.priority > body.priority and other.name not in done.names
                if passed and need_of(other) <= room - granted and world.now - other.queued_since < 5.0:
                    raise Violation("queue_order", f"{name} was let in before {other.name}")
            world.start(body)
            world.woken = True
        self.want = done.want

    # --- what must hold ------------------------------------------------------------------------------------------
    def _check_leases(self, reading: Reading) -> None:
        held = list(self.state.leases.values())
        used = sum(lease.usage_bytes for lease in held)
        total = used + sum(lease.slack_bytes for lease in held)
        others = max(0, self.plan.node - reading.available_bytes - used)
        budget = self.plan.node - self.plan.reserve - others
        if total > max(budget, used):
            raise Violation("leases_fit", f"leases are {total // MB} MB, the budget is {budget // MB} MB")

    def _check_ceilings(self, reading: Reading) -> None:
        if not reading.ceilings or self.plan.lost:
            return
        used = total = 0
        levels = {seen.priority for seen in reading.agents if seen.phase is not Phase.SHED}
        for seen in reading.agents:
            body = self.world.bodies[seen.name]
            if seen.phase is Phase.SHED:
                continue
            used += seen.usage_bytes
            lease = self.state.leases[seen.name]
            top = seen.priority == max(levels) and len(levels) > 1
            if top and body.ceiling is not None and body.alive:
                raise Violation("important_free", f"{seen.name} holds a ceiling while less important agents live")
            if not top and body.ceiling is None and body.alive:
                raise Violation("others_held", f"{seen.name} holds no ceiling")
            total += lease.lease_bytes if body.ceiling is None else max(body.ceiling, seen.usage_bytes)
        if total > max(self.state.budget_bytes, used):
            budget = self.state.budget_bytes
            raise Violation("ceilings_fit", f"ceilings allow {total // MB} MB, the budget is {budget // MB} MB")

    def _check_shed(self, act: Shed, reading: Reading, before: State) -> None:
        now, victim = self.world.now, self.world.bodies[act.victim]
        for seen in reading.agents:
            held = self.state.held[seen.name]
            stays = seen.phase in (Phase.STARTING, Phase.RUNNING) and held.step is Step.NONE
            if stays and seen.priority < act.victim_priority:
                raise Violation("shed_in_order", f"{act.victim} was shed while {seen.name} stays")
        if act.victim in self.safe:
            raise Violation("safe_never_shed", f"{act.victim} was shed for {act.needer}, yet its level fits")
        if self.plan.calm and self._all_fit():
            raise Violation("no_shed_without_cause", f"{act.victim} was shed for {act.needer} in a calm fleet")
        needer = before.held.get(act.needer)
        if needer is not None and act.needer in {seen.name for seen in reading.agents}:
            since = needer.starved_mono
            if since is None or now - since < limits.STARVED_S - 1e-9:
                raise Violation("patience", f"{act.victim} was shed for {act.needer} before it starved long enough")
        dying = sum(
            body.usage
            for body in self.world.bodies.values()
            if body.dying_since is not None and now - body.dying_since < 0.45
        )
        most = leases.slack_bounds(self.plan.node, self.plan.reserve).most_bytes
        starved = sum(1 for held in self.state.held.values() if held.starved_mono is not None) + 1
        enough = max(starved * most + max(0, -self.state.free_bytes), 2 * act.short_bytes)
        if act.needer in self.state.held and dying >= enough:
            raise Violation("one_is_enough", f"{act.victim} was shed while {dying // MB} MB are on their way")
        victim.sheds.append(now)
        recent = [at for at in victim.sheds if now - at < 60.0 and at >= self.began]
        if len(recent) > SHEDS_A_MINUTE:
            raise Violation("no_flapping", f"{act.victim} was shed {len(recent)} times within a minute")

    def _all_fit(self) -> bool:
        least = leases.slack_bounds(self.plan.node, self.plan.reserve).least_bytes
        total = sum(need_of(body) + 2 * least for body in self.plan.bodies)
        return total <= self.plan.node - self.plan.reserve

    def _bounds(self) -> None:
        away = max((until - begin for begin, until in self.plan.deaths), default=0.0)
        slow = self.plan.late_s * 4 + away + (3.0 if self.plan.lost else 0.0)
        for body in self.world.bodies.values():
            frozen, blocked = body.frozen_since, body.blocked_since
            if frozen is not None and self.world.now - frozen > FROZEN_MAX_S + slow:
                raise Violation("pause_bounded", f"{body.name} is frozen for {self.world.now - frozen:.1f} s")
            if blocked is not None and self.world.now - blocked > BLOCKED_MAX_S + slow:
                raise Violation(
                    "pause_bounded", f"{body.name} stands at its ceiling for {self.world.now - blocked:.1f} s"
                )

    def _kernel_killed(self, before: int) -> None:
        for name, forced in self.world.killed[before:]:
            self.tally.seen[f"kernel kill ({self.plan.kernel})"] += 1
            if self.trace is not None:
                self.trace.append(f"{self.world.now:8.3f} the kernel kills {name}")
            if name in self.safe and not forced:
                raise Violation("important_lives", f"the kernel killed {name}, whose level fits")
            if self.plan.kernel != "none" and not self.plan.others and not self.plan.deaths and not self.plan.lost:
                raise Violation("kernel_never_kills", f"{name} was killed by the kernel ({self.plan.kernel})")

    def _in_the_end(self) -> None:
        world = self.world
        budget = self.plan.node - self.plan.reserve
        free = self.state.free_bytes
        spare = int(budget * limits.BACK_SPARE_SHARE) + MB
        for body in world.bodies.values():
            if body.alive:
                if body.phase is Phase.RUNNING and body.usage != body.base:
                    raise Violation("all_well_in_the_end", f"{body.name} holds {body.usage}, wants {body.base}")
                continue
            if need_of(body) + spare <= free:
                raise Violation(
                    "runs_in_the_end", f"{body.name} is out, needs {need_of(body) // MB} of {free // MB} MB"
                )


def lived(seed: str, trace: list[str] | None = None) -> tuple[Tally, Violation | None]:
    episode = Episode(draw(seed), trace)
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
        whole.episodes += 1
        whole.decisions += one.decisions
        whole.seen += one.seen
        if error is not None:
            whole.failure = (f"{seed}:{number}", error)
            break
    whole.seconds = time.perf_counter() - begin
    return whole
