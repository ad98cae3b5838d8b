"""What must always hold under the RAM semaphore, each in its strict form. Every bound here follows from a rule.

Checked against the world, and against what was decided; never against how it was decided. The numbers of the rules
are imported by name, so that a bug planted into one of them does not move its own bound. Called by density_campaign.
"""

from __future__ import annotations

from holdfast.density.admission import PASS_AFTER_S
from holdfast.density.coming_back import room_for
from holdfast.density.leases import slack_bounds
from holdfast.density.model import MB, Hibernate, PageOut, Phase, Reading, Seen, Shed, State, Step
from holdfast.density.needs import NODE
from holdfast.density.needs import missing as missing_bytes
from holdfast.density.semaphore import FASTEST_BYTES_S
from holdfast.density.shedding import FRESH_S, KILL_AGAIN_S
from holdfast.limits import (
    BACK_SPARE_SHARE,
    BREATH_SHARE,
    DYING_STALL_S,
    HIBERNATE_WAKE_S,
    PAUSE_MAX_S,
    SOFT_EVERY_S,
    START_NEED_PATIENCE_S,
    STARVED_LAST_S,
    STARVED_MAX_S,
    STARVED_S,
    TICK_CALM_S,
    TICK_TIGHT_S,
)
from tests.simulation.checker import Violation
from tests.simulation.density_plan import Body, Plan, need_of
from tests.simulation.density_world import INIT_MARGIN_S, STEP_S, World

# Whoever is paused goes on at PAUSE_MAX_S by our hand, as soon as we look. Where we look late, where acts get lost and
# when the keeper is dead, init frees it a second later: so that nothing at all can make a pause longer than this.
FROZEN_MAX_S = PAUSE_MAX_S + INIT_MARGIN_S + 2 * STEP_S
THAWED_IN_S = PAUSE_MAX_S + TICK_TIGHT_S + 2 * STEP_S
# Who stands at a ceiling starves from then on, and at STARVED_LAST_S somebody goes whatever is on its way. Each who
# goes is given FRESH_S to go before the next; the bound is counted from the last of them (see `_blocked`).
GOES_IN_S = FRESH_S + TICK_TIGHT_S + 2 * STEP_S
SHEDS_A_MINUTE = 6  # room lasts 2, 4, 8, 16 ... s before the next return: 2 + 4 + 8 + 16 + 32 > 60
WOKEN_IN_S = 0.6
CALM_S = 3.0  # growth is smoothed over half a second, and has faded away by then
LIVING = (Phase.STARTING, Phase.RUNNING, Phase.HIBERNATING)


def safe(plan: Plan) -> set[str]:
    """All whose worst moments fit together, from the most important level down: nobody of them may ever suffer."""
    least = max(slack_bounds(node, kept).least_bytes for _, node, kept in plan.sizes)
    left = plan.least_budget - sum(size for _, _, size in plan.others)
    largest = max(node - kept for _, node, kept in plan.sizes)
    able = [body for body in plan.bodies if need_of(body) <= largest]
    names: set[str] = set()
    for level in sorted({body.priority for body in able}, reverse=True):
        there = [body for body in able if body.priority == level]
        left -= sum(
            max(need_of(body), min(body.spike, body.limit or body.spike), body.floor) + 2 * least for body in there
        )
        if left < 0:
            break
        names |= {body.name for body in there}
    return names


class Checks:
    """Of one episode. `began`: of the present keeper."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.safe = safe(plan)
        self.began = 0.0
        self.last_shed = float("-inf")
        self.chosen: dict[str, float] = {}  # when they were last chosen to go
        self.hungry: dict[str, float] = {}  # since which look their need was not covered, as we saw it
        self.stuck: dict[str, float] = {}

    def watch(self, state: State) -> None:
        """Remember, for ourselves, who is said to starve, and since when they are said to get next to nothing."""
        now = self.world.now
        self.stuck = {name: held.stuck_mono for name, held in state.held.items()}
        starving = {name for name, held in state.held.items() if held.starved_mono is not None}
        since = {name: at for name, at in self.hungry.items() if at >= self.began}
        self.hungry = {name: since.get(name, now) for name in starving}

    # --- leases --------------------------------------------------------------------------------------------------
    def leases(self, state: State, reading: Reading) -> None:
        """The sum of leases is at most the budget, or nobody has any slack."""
        held = list(state.leases.values())
        used, slack = sum(one.usage_bytes for one in held), sum(one.slack_bytes for one in held)
        node, kept = self.plan.size(self.world.now)
        others = max(0, node - reading.available_bytes - used)
        budget = node - kept - others
        if used + slack > budget and slack > 0:
            raise Violation("leases_fit", f"leases are {(used + slack) // MB} MB, the budget is {budget // MB} MB")
        short = False
        for seen in sorted(reading.agents, key=lambda one: (-one.priority, one.name)):
            if seen.phase not in (Phase.STARTING, Phase.RUNNING) or seen.name not in state.leases:
                continue
            lease, step = state.leases[seen.name], state.held[seen.name].step
            floor = min(seen.floor_bytes, seen.limit_bytes or seen.floor_bytes)
            if short and lease.slack_bytes > 0:
                raise Violation("floors_first", f"{seen.name} has slack, a more important one has not its minimum")
            short = short or (step is Step.NONE and lease.lease_bytes < floor)

    def ceilings(self, state: State, reading: Reading) -> None:
        """What the kernel was told allows no more than there is and some of the reserve. Only where no act is lost."""
        if not reading.ceilings or self.plan.lost:
            return
        used = total = 0
        for seen in reading.agents:
            body = self.world.bodies[seen.name]
            if seen.phase is Phase.SHED:
                continue
            used += seen.usage_bytes
            lease = state.leases[seen.name]
            top = self._is_important(seen, reading)
            most = lease.lease_bytes if lease.ceiling_bytes is None else lease.ceiling_bytes
            limited = seen.limit_bytes is not None and most >= seen.limit_bytes
            if top and body.ceiling is not None and body.alive:
                raise Violation("important_free", f"{seen.name} holds a ceiling while less important agents live")
            if not top and body.ceiling is None and body.alive and not limited:
                raise Violation("others_held", f"{seen.name} holds no ceiling")
            total += most if body.ceiling is None else max(body.ceiling, seen.usage_bytes)
            self._protected(body, lease.lease_bytes if top else seen.floor_bytes)
        budget, breath = state.budget_bytes, int(reading.reserve_bytes * BREATH_SHARE)
        if total > max(budget + breath, used):
            raise Violation("ceilings_fit", f"ceilings allow {total // MB} MB, the budget is {budget // MB} MB")
        if used <= budget + breath // 2:
            self._breathing(state, reading)

    def _breathing(self, state: State, reading: Reading) -> None:
        """Nobody stands at a ceiling who takes nothing: v1 fails its sockets and forks there."""
        for seen in reading.agents:
            body, held = self.world.bodies[seen.name], state.held[seen.name]
            calm = held.step is Step.NONE and not held.pressing and self.world.now - body.flat_since >= CALM_S
            if body.alive and body.ceiling is not None and calm and body.ceiling <= seen.usage_bytes:
                raise Violation("innocents_breathe", f"{seen.name} stands at its ceiling, and took nothing for a while")

    def _is_important(self, seen: Seen, reading: Reading) -> bool:
        there = {one.priority for one in reading.agents if one.phase is not Phase.SHED and one.may_shed}
        lower = any(one.may_shed and one.priority < max(there) for one in reading.agents) if there else True
        return not seen.may_shed or not there or (lower and seen.priority >= max(there))

    def _protected(self, body: Body, keep: int) -> None:
        """An eighth more or less is not worth a write."""
        low, least = body.kept
        if self.plan.kernel == "v2" and body.alive and (abs(low - keep) > low // 8 or least != body.floor):
            raise Violation("protected", f"{body.name} has {low // MB} MB protected, it should be {keep // MB} MB")

    # --- shedding ------------------------------------------------------------------------------------------------
    def shed(self, act: Shed, reading: Reading, state: State) -> None:
        now, victim = self.world.now, self.world.bodies[act.victim]
        by_name = {seen.name: seen for seen in reading.agents}
        for seen in reading.agents:
            held = state.held[seen.name]
            stays = seen.phase in LIVING and seen.may_shed and (held.step is Step.NONE or held.braked)
            if stays and seen.priority < act.victim_priority:
                raise Violation("shed_in_order", f"{act.victim} was shed while {seen.name} stays")
            if stays and seen.priority == act.victim_priority and _outgrown(seen) > _outgrown(by_name[act.victim]):
                raise Violation("shed_in_order", f"{act.victim} was shed before {seen.name}, which holds far more")
        if not victim.may_shed:
            raise Violation("shed_in_order", f"{act.victim} may never be shed")
        if act.victim in self.safe:
            raise Violation("safe_never_shed", f"{act.victim} was shed for {act.needer}, yet its level fits")
        if self.plan.calm and self._all_fit():
            raise Violation("no_shed_without_cause", f"{act.victim} was shed for {act.needer} in a calm fleet")
        self._has_reason(act, reading, state)
        self._enough(act, reading, state)
        victim.sheds.append(now)
        self.last_shed = self.chosen[act.victim] = now
        recent = [at for at in victim.sheds if now - at < 60.0 and at >= self.began]
        if len(recent) > SHEDS_A_MINUTE:
            raise Violation("no_flapping", f"{act.victim} was shed {len(recent)} times within a minute")

    def _has_reason(self, act: Shed, reading: Reading, state: State) -> None:
        """For somebody more important who waited; for an equal, or the last level, only when nothing else is left."""
        now = self.world.now
        if act.needer == NODE:
            highest = max(seen.priority for seen in reading.agents if seen.phase is not Phase.SHED)
            if act.victim_priority == highest and reading.available_bytes >= reading.reserve_bytes / 4:
                raise Violation("equals_last", f"{act.victim} was shed for the node, which is not at its end")
            return
        if act.needer_priority < act.victim_priority:
            raise Violation("equals_last", f"{act.victim} was shed for the less important {act.needer}")
        if act.needer not in {seen.name for seen in reading.agents}:
            waited_s = now - self.world.bodies[act.needer].queued_since
            if waited_s < START_NEED_PATIENCE_S - 1e-6 or act.needer_priority == act.victim_priority:
                raise Violation(
                    "patience", f"{act.victim} was shed for the start of {act.needer} after {waited_s:.1f} s"
                )
            return
        held = state.held[act.needer]
        since = held.stuck_mono if act.victim == act.needer else self.hungry.get(act.needer, now)
        if now - since < STARVED_S - 1e-9:
            raise Violation("patience", f"{act.victim} was shed for {act.needer} before it starved long enough")
        patient_s = STARVED_MAX_S if reading.ceilings else PAUSE_MAX_S / 2
        if act.needer_priority == act.victim_priority and now - held.stuck_mono < patient_s - 1e-9:
            raise Violation("equals_last", f"{act.victim} was shed for its equal {act.needer} at once")

    def _enough(self, act: Shed, reading: Reading, state: State) -> None:
        """No second victim for memory that is on its way: for DYING_STALL_S, or FRESH_S when nobody can wait longer."""
        needer = state.held.get(act.needer)
        if needer is None or act.needer not in {seen.name for seen in reading.agents}:
            return
        last = self.world.now - needer.stuck_mono >= STARVED_LAST_S
        trusted_s = (FRESH_S if last else DYING_STALL_S) - 2 * STEP_S
        coming = 0
        for body in self.world.bodies.values():
            if body.leaving_since is None or body.name == act.victim:
                continue
            chosen = self.chosen.get(body.name, float("-inf"))
            since = chosen if body.leaving_since - chosen < DYING_STALL_S else body.leaving_since
            if self.world.now - since < trusted_s:
                coming += body.usage
        bounds = slack_bounds(reading.node_bytes, reading.reserve_bytes, len(reading.agents))
        missing = max(0, -state.free_bytes) + act.short_bytes
        for name, held in state.held.items():
            if held.starved_mono is not None and name in state.leases:
                missing += missing_bytes(held, state.leases[name], bounds)
        if reading.want is not None:
            missing += reading.want.need_bytes
        if coming >= max(1, missing):
            raise Violation("one_is_enough", f"{act.victim} was shed while {coming // MB} MB are on their way")

    def _all_fit(self) -> bool:
        node, kept = self.plan.size(self.world.now)
        least = slack_bounds(node, kept).least_bytes
        able = [body for body in self.plan.bodies if need_of(body) <= node - kept]
        return sum(max(need_of(body), body.floor) + 2 * least for body in able) <= node - kept

    # --- time ----------------------------------------------------------------------------------------------------
    def bounds(self, away: bool) -> None:
        """Nobody stays paused, nobody stays at a ceiling, and whoever has work is awake."""
        now = self.world.now
        for body in self.world.bodies.values():
            frozen = body.frozen_since
            ours = not self.plan.lost and not away and frozen is not None and frozen >= self.began
            if frozen is not None and now - frozen > (THAWED_IN_S + self.plan.late_s if ours else FROZEN_MAX_S):
                raise Violation("pause_bounded", f"{body.name} is frozen for {now - frozen:.1f} s")
            if frozen is not None and frozen < self.began <= now - 2 * STEP_S and not (away or self.plan.lost):
                raise Violation("pause_bounded", f"{body.name} is still frozen as the former keeper left it")
            if body.blocked_since is not None and not away:
                self._blocked(body, body.blocked_since)
            if body.waits_since is not None and not away and now - max(body.waits_since, self.began) > WOKEN_IN_S:
                raise Violation(
                    "woken_for_work", f"{body.name} sleeps for {now - body.waits_since:.1f} s over its work"
                )

    def _blocked(self, body: Body, since: float) -> None:
        now, slow_s = self.world.now, self.plan.late_s + (KILL_AGAIN_S * 3 if self.plan.lost else 0.0)
        since = max(since, self.began)  # a new keeper does not know since when
        stuck = min(self.stuck.get(body.name, since), since + STARVED_LAST_S)  # what it crept since may count as fed
        until = max(since + STARVED_LAST_S, stuck + STARVED_LAST_S, min(self.last_shed, now))
        if now > until + GOES_IN_S + slow_s:
            raise Violation("pause_bounded", f"{body.name} stands at its ceiling for {now - since:.1f} s")

    # --- the kernel ----------------------------------------------------------------------------------------------
    def kernel_killed(self, name: str, forced: bool) -> None:
        plan, now = self.plan, self.world.now
        if name in self.safe and not forced:
            raise Violation("important_lives", f"the kernel killed {name}, whose level fits")
        late_s = TICK_CALM_S + plan.late_s  # until somebody looked again, and killed
        away = any(begin <= now < until + late_s for begin, until in plan.deaths)
        taken = any(begin <= now < begin + late_s for begin, _, _ in plan.others)
        # Where no kernel holds anybody, a pause that got lost holds nobody, nor does one that comes so late that the
        # fastest machine is through with what was left.
        late = FASTEST_BYTES_S * plan.late_s > plan.size(now)[1] // 2
        blind = plan.kernel == "none" and (plan.lost > 0 or late)
        if not forced and not away and not taken and not blind:
            raise Violation("kernel_never_kills", f"{name} was killed by the kernel ({plan.kernel})")

    # --- admission -----------------------------------------------------------------------------------------------
    def admitted(
        self,
        names: tuple[str, ...],
        queued: list[Body],
        starting: list[Body],
        room: int,
        state: State,
        reading: Reading,
    ) -> None:
        bodies, now = self.world.bodies, self.world.now
        granted = sum(need_of(bodies[name]) for name in names)
        if granted > max(0, room):
            raise Violation("starts_fit", f"{granted // MB} MB of starts were let in, {room // MB} MB were free")
        # Who is on its way out for another has given its start lease away; spared, it is the last to be granted one.
        stay = [one for one in starting if (held := state.held[one.name]).step is Step.NONE or held.braked]
        pending = sum(max(0, need_of(one) - one.usage) for one in stay)
        used = sum(seen.usage_bytes for seen in reading.agents)
        if names and used + pending + granted > state.budget_bytes:
            raise Violation("starts_fit", f"{granted // MB} MB of starts beside {pending // MB} MB of others under way")
        slots = sum(bodies[name].slots for name in names) + sum(one.slots for one in starting)
        if slots > max(1, self.plan.cores) + 1e-6 and any(bodies[name].slots for name in names):
            raise Violation("starts_fit", f"starts take {slots} of {self.plan.cores} cores")
        node, kept = self.plan.size(now)
        for name in names:
            body = bodies[name]
            for other in queued:
                if other.name in names or _place(other) > _place(body) or need_of(other) > node - kept:
                    continue
                young = now - other.waits_for_room_since < PASS_AFTER_S
                if young and not other.is_shed and not (body.slots == 0 and other.slots > 0):
                    raise Violation("queue_order", f"{name} was let in before {other.name}")
        able = [body for body in queued if need_of(body) <= node - kept]
        first = min(able, key=_place, default=None)
        cpu = max(1, self.plan.cores) - sum(one.slots for one in starting)
        fits = first is not None and need_of(first) <= room and (first.slots == 0 or first.slots <= cpu)
        if first is not None and fits and not first.is_shed and first.name not in names:
            raise Violation("first_starts", f"{first.name} is the first in line, and fits, and was not let in")
        self._one_line(names, queued, room, state.budget_bytes)

    def _one_line(self, names: tuple[str, ...], line: list[Body], room: int, budget: int) -> None:
        """Whoever waits for room stands in one line, starts and those who were shed: nobody takes what is kept for
        one before it, and nobody passes one for whom there is no room yet, for a while."""
        left, barrier = room, ""
        for body in sorted(line, key=_place):
            need = need_of(body)
            if body.is_shed:
                need = max(need, min(room_for(need, budget), budget))
            if body.name in names:
                if need > left or barrier:
                    raise Violation("queue_order", f"{body.name} took the room of {barrier or 'who comes back'}")
                left -= need
            elif body.is_shed and need <= left:
                left -= need
            elif body.is_shed and need <= budget:
                young = self.world.now - body.waits_for_room_since < PASS_AFTER_S
                barrier = barrier or (body.name if young else "")

    # --- soft steps and sleep ------------------------------------------------------------------------------------
    def soft(self, act: PageOut | Hibernate, swap_free: int) -> None:
        body, now = self.world.bodies[act.agent], self.world.now
        if body.rest.idle_mono is None:
            raise Violation("soft_only_idle", f"{body.name} is not idle: {act}")
        if isinstance(act, Hibernate):
            return  # when it may sleep again, its rest says
        again = body.softened_at > max(self.began, body.born) and now - body.softened_at < SOFT_EVERY_S - 1e-6
        if again:
            raise Violation("soft_only_idle", f"{body.name} again after {now - body.softened_at:.1f} s: {act}")
        if body.usage > swap_free:
            raise Violation("soft_only_idle", f"{body.name} does not fit into swap")
        body.softened_at = now

    def falls_asleep(self, body: Body, looked_at: float) -> None:
        """`looked_at`: when its signs were last read. Whoever got work since then is woken at the next look."""
        now = self.world.now
        if body.busy(looked_at):
            raise Violation("sleeps_only_idle", f"{body.name} has work and is put to sleep")
        if now - body.woken_at < min(HIBERNATE_WAKE_S, body.idle_after) - 1e-6:
            raise Violation(
                "sleeps_only_idle", f"{body.name} is put to sleep {now - body.woken_at:.1f} s after it woke"
            )

    def asleep(self) -> None:
        """Whoever sleeps frozen stands still."""
        for body in self.world.bodies.values():
            if body.asleep and body.phase is Phase.HIBERNATING and not body.frozen:
                raise Violation("sleeps_frozen", f"{body.name} sleeps, and runs")

    # --- the end -------------------------------------------------------------------------------------------------
    def in_the_end(self, state: State) -> None:
        """Everything that fits runs, the important before the less important; nobody is left held or paused."""
        node, kept = self.plan.size(self.world.now)
        spare = int(state.budget_bytes * BACK_SPARE_SHARE) + MB
        for body in self.world.bodies.values():
            if body.phase is Phase.RUNNING and body.usage + body.swapped != body.base:
                raise Violation("all_well_in_the_end", f"{body.name} holds {body.usage}, wants {body.base}")
            if body.alive or body.phase is Phase.HIBERNATING or (body.phase is None and body.place != "queued"):
                continue
            need = need_of(body)
            if need > node - kept:
                continue
            less = [one for one in self.world.bodies.values() if one.priority < body.priority and one.may_shed]
            gives = sum(one.usage for one in less if one.phase in LIVING)
            if need + spare <= state.free_bytes + gives:
                raise Violation(
                    "runs_in_the_end",
                    f"{body.name} is out, needs {need // MB} of {state.free_bytes // MB} MB free, and {gives // MB} MB"
                    " of less important ones",
                )


def _place(body: Body) -> tuple[int, float, str]:
    return -body.priority, body.waits_for_room_since, body.name


def _outgrown(seen: Seen) -> int:
    return max(0, (seen.usage_bytes - seen.floor_bytes) >> 20).bit_length()
