"""A node with agents that allocate, as the kernel of each kind would let them: the world of the density campaign.

Three kernels: v2 (slowed at the ceiling), v1 (held at it), none (not held); with or without swap. When the machine is
exhausted the kernel kills by priority, as oom_score_adj makes it. The dying take time. init frees whoever is paused.
"""

from __future__ import annotations

from holdfast.density import admission, hibernation, semaphore
from holdfast.density.model import MB, Phase, Reading, Seen, Want
from tests.simulation.density_plan import Body, Goal, Plan, need_of

STEP_S = 0.02
LEAK_OVER_HIGH_BYTES_S = 1 * MB  # v2, measured
SWAP_BYTES_S = 300 * MB
INIT_MARGIN_S = 1.0  # after `until_mono`, init frees a paused agent itself
INIT_WAITS_S = 4.0  # for a lost keeper; then all are freed and no ceiling holds


class World:
    """Moves in steps; the shell in density_campaign reads and acts."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 0.0
        self.bodies = {body.name: body for body in plan.bodies}
        self.killed: list[tuple[str, bool]] = []  # by the kernel; whether nobody could have prevented it
        self.woken = False  # the kernel has something to tell
        self._can_touch = 0  # bytes, by all, in what is left of this step
        self.deserted_at: float | None = None  # since when init hears no keeper

    # --- what there is -------------------------------------------------------------------------------------------
    def others(self) -> int:
        return sum(size for begin, end, size in self.plan.others if begin <= self.now < end)

    def agents_hold(self) -> int:
        return sum(body.usage for body in self.bodies.values())

    def used(self) -> int:
        return self.agents_hold() + self.others()

    def swap_free(self) -> int:
        return self.plan.swap - sum(body.swapped for body in self.bodies.values())

    def available(self) -> int:
        """What the node could still give: of the machine, and of what was declared."""
        node, _ = self.plan.size(self.now)
        return max(0, min(self.plan.machine - self.used(), node - self.agents_hold()))

    def reading(self, want: Want | None) -> Reading:
        node, reserve = self.plan.size(self.now)
        swap = self.swap_free()
        agents = []
        for body in self.bodies.values():
            if body.phase is None:
                continue
            idle = body.rest.idle_mono is not None and body.phase is Phase.RUNNING
            agents.append(
                Seen(
                    name=body.name,
                    priority=body.priority,
                    phase=body.phase,
                    instance=body.instance,
                    usage_bytes=body.usage,
                    limit_bytes=body.limit,
                    floor_bytes=body.floor,
                    start_bytes=need_of(body) if body.phase in (Phase.STARTING, Phase.SHED) else 0,
                    ceiling_bytes=body.ceiling,
                    hits=body.hits,
                    frozen=body.frozen,
                    idle=idle,
                    can_page=idle and swap > 0,
                    may_hibernate=idle and hibernation.rested(body.rest, body.idle_after, self.now),
                    may_shed=body.may_shed,
                    shed_mono=body.shed_at,
                )
            )
        return Reading(
            node_bytes=node,
            reserve_bytes=reserve,
            available_bytes=self.available(),
            agents=tuple(agents),
            ceilings=self.plan.kernel != "none",
            swap_free_bytes=swap,
            want=want,
        )

    # --- time ----------------------------------------------------------------------------------------------------
    def step(self, dt: float) -> None:
        self.now += dt
        self._can_touch = int(semaphore.FASTEST_BYTES_S * dt)
        self._init()
        for body in self.bodies.values():
            if body.crashes and self.now >= body.crashes[0]:
                body.crashes.pop(0)
                if body.alive and not body.frozen:
                    self.kill(body, "again")
            if body.dying_since is not None:
                self._die(body, dt)
            elif body.term_at is not None:
                if self.now >= body.term_at:
                    self.kill(body, body.goal)
            elif body.alive:
                self._live(body, dt)
            if body.paging > 0:
                self._page(body, dt)
        self._exhausted(dt)

    def is_moving(self) -> bool:
        """Whether small steps are due."""
        return self.deserted_at is not None or any(
            body.dying_since is not None
            or (body.frozen and not body.asleep)
            or body.paging > 0
            or body.term_at is not None
            or body.phase is Phase.STARTING
            or (body.alive and self._wish(body) != body.usage)
            for body in self.bodies.values()
        )

    def _init(self) -> None:
        lost = self.deserted_at is not None and self.now - self.deserted_at >= INIT_WAITS_S
        for body in self.bodies.values():
            if body.frozen and (lost or (not body.asleep and self.now >= body.freed_at)):
                self.thaw(body)
            if lost:
                body.ceiling = None

    def _exhausted(self, dt: float) -> None:
        over = self.used() - self.plan.machine
        if over > 0:  # the kernel pages out whom it finds, before it kills
            for body in sorted(self.bodies.values(), key=lambda one: -one.usage):
                moved = max(0, min(over, self.swap_free(), int(SWAP_BYTES_S * dt), body.usage // 2))
                body.usage, body.swapped, over = body.usage - moved, body.swapped + moved, over - moved
        while self.used() > self.plan.machine:
            there = [body for body in self.bodies.values() if self._may_be_killed(body)]
            if not there:
                return
            victim = min(there, key=lambda one: (one.priority, -one.usage))
            self.killed.append((victim.name, self._forced()))
            victim.usage, victim.goal = 0, victim.goal if victim.phase is Phase.LEAVING else "shed"
            self.gone(victim)

    def _may_be_killed(self, body: Body) -> bool:
        """Whoever has memory, also while it ends by itself; not again who is killed and takes its time."""
        here = body.alive or body.phase in (Phase.HIBERNATING, Phase.LEAVING)
        return here and body.usage > 0 and body.dying_since is None

    def _forced(self) -> bool:
        """Enough was killed already, and its memory comes too slowly: no rule gets it sooner."""
        dying = sum(body.usage for body in self.bodies.values() if body.dying_since is not None)
        return self.used() - dying <= self.plan.machine

    def _wish(self, body: Body) -> int:
        """What it would like to have in memory now."""
        wish = body.demand(self.now, self.plan.calm_at)
        if wish <= body.usage + body.swapped:
            wish = min(wish, body.usage) if not body.busy(self.now) else wish
        return wish

    def _live(self, body: Body, dt: float) -> None:
        if body.frozen:
            return
        surplus = body.usage + body.swapped - body.demand(self.now, self.plan.calm_at)
        if surplus > 0:
            body.swapped -= (freed := min(surplus, body.swapped))
            surplus -= freed
        wish = self._wish(body)
        if wish <= body.usage:
            body.usage = max(wish, body.usage - int(body.rate * dt))
            body.blocked_since = None
        else:
            self._grow(body, min(wish, body.usage + self._touched(max(1, int(body.rate * dt)))), dt)
        if body.limit is not None and body.usage >= body.limit:
            body.spike = 0  # its next process has not leaked yet
            self.kill(body, "again")
            return
        if body.phase is Phase.STARTING and admission.settled(
            self.now - body.born > 2.0, self.now - body.flat_since, body.born, self.now
        ):
            body.phase, self.woken = Phase.RUNNING, True

    def _touched(self, wanted: int) -> int:
        """What it can touch in this step. Where no kernel holds anybody, all together touch no more than the fastest
        machine measured can: that is what the reserve is made for."""
        if self.plan.kernel != "none":
            return wanted
        touched = min(wanted, self._can_touch)
        self._can_touch -= touched
        return touched

    def _grow(self, body: Body, grown: int, dt: float) -> None:
        most, before = body.ceiling, body.usage
        if most is not None and grown > most:
            body.hits += 1
            self.woken = True
            extra = int(LEAK_OVER_HIGH_BYTES_S * dt) if self.plan.kernel == "v2" else 0
            held = max(before + extra, min(grown, most))
            if body.swapped == 0:  # the kernel makes room below the ceiling, slowly
                body.swapped += max(0, min(grown - held, self.swap_free(), int(SWAP_BYTES_S * dt / 8)))
            grown = held
            if body.blocked_since is None or grown > before + extra:
                body.blocked_since = self.now
        else:
            body.blocked_since = None
        body.usage = grown
        body.swapped -= min(body.swapped, grown - before)
        body.flat_since = self.now

    def _page(self, body: Body, dt: float) -> None:
        moved = max(0, min(body.paging, self.swap_free(), int(SWAP_BYTES_S * dt), body.usage))
        body.usage, body.swapped, body.paging = body.usage - moved, body.swapped + moved, body.paging - moved
        if moved == 0 or (body.busy(self.now) and not body.frozen):
            body.paging = 0

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
        body.phase, body.place, body.goal = Phase.STARTING, "", "shed"
        body.instance += 1
        body.usage, body.born, body.flat_since = MB // 2, self.now, self.now

    def stop(self, body: Body, goal: Goal, takes_s: float) -> None:
        """A planned stop, whoever wants it."""
        self.thaw(body)
        body.phase, body.goal, body.term_at = Phase.LEAVING, goal, self.now + takes_s
        body.leaving_since = self.now if body.leaving_since is None else body.leaving_since
        body.blocked_since, body.asleep, body.paging = None, False, 0

    def kill(self, body: Body, goal: Goal) -> None:
        if body.dying_since is None:
            body.dying_since, body.dying = self.now, body.usage
            body.leaving_since = self.now if body.leaving_since is None else body.leaving_since
        body.phase, body.blocked_since, body.goal = Phase.LEAVING, None, goal
        body.asleep, body.paging = False, 0
        self.thaw(body)

    def freeze(self, body: Body, until: float) -> None:
        if body.frozen or not body.alive:
            return
        body.frozen, body.frozen_since, body.blocked_since = True, self.now, None
        body.freed_at = until + INIT_MARGIN_S

    def put_to_sleep(self, body: Body) -> None:
        """Frozen until it is woken; what it holds goes to swap."""
        body.phase, body.frozen, body.asleep = Phase.HIBERNATING, True, True
        body.paging = min(body.usage * 9 // 10, self.swap_free())
        body.blocked_since = None

    def wake(self, body: Body) -> None:
        self.thaw(body)
        if body.asleep:
            body.phase, body.asleep, body.paging = Phase.RUNNING, False, 0

    def thaw(self, body: Body) -> None:
        body.frozen, body.frozen_since = False, None

    def gone(self, body: Body) -> None:
        """Its last process ended."""
        self.thaw(body)
        body.asleep, body.paging, body.swapped, body.ceiling, body.hits = False, 0, 0, None, 0
        body.dying_since = body.term_at = body.blocked_since = body.leaving_since = None
        body.kept = (0, 0)
        self.woken = True
        if body.goal == "again":
            self.start(body)
            return
        if body.goal == "shed":
            body.phase, body.shed_at = Phase.SHED, self.now
        elif body.goal == "queued":
            self.queue(body)
        else:
            body.phase, body.place = None, body.goal
        body.goal = "shed"

    def queue(self, body: Body) -> None:
        body.phase, body.place, body.queued_since = None, "queued", self.now
