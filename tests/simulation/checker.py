"""What must hold whatever happens: the invariants, by name. Watches the world and the rules; knows the truth.

one_instance            a start never reaches an agent that lives
budget                  tier-1 restarts that happened in any window never exceed the budget
backoff                 the k-th restart in a row waits its delay; init and keeper together never hasten it
spacing                 unplanned starts keep the recipe's spacing, the first restart excepted
prompt                  a healthy agent that dies is restarted by the permit init held, at once and without asking
counted                 every unplanned start is counted exactly once
recreate_once           tier 2 (and 3) at most once per incident and window
one_alert               one alert per incident, for an incident that is open
escalated_tries         tier 4 always has a next look within the longest pause
starved                 starvation never leads to an act; a start deadline does not run while starved
degraded                degraded never leads to an act
damaged                 damaged state leads to a restore alone, and never to one of an agent that runs well
innocent                an agent that never misbehaved is never restarted by a tier
planned                 a planned stop, or an order, never opens an incident, and only misbehaviour does
stop_wins               after a stop nothing starts until a person says so
never_silent            wanted and down: something is due or under way; an act under way has a due time
at_rest                 once nothing goes wrong any more, the agent is as a person wants it
forgiven                after a healthy window the budget is whole and nothing counts
recovered               an incident closes as recovered only after gate and confirmation
incident_order          incidents open once, close once, in order
stale                   news of a former instance change nothing
remembered              what is acted upon was stored first; tier 2 and above durably
round_trip              the state survives JSON
deterministic           the same arguments give the same answer
table                   phases change only as the table says; the tier never falls inside an incident
permit                  a permit holds no more than the budget left and none where none is due
bounded                 an episode comes to an end
aside, called_back, ... see aside_checks.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.healing import actions
from holdfast.healing import model as m
from holdfast.healing.model import ASIDE_PHASES, Ladder, Phase, Policy, Tier
from holdfast.healing.table import TRANSITIONS
from holdfast.health.model import Verdict
from tests.simulation import aside_checks

if TYPE_CHECKING:
    from tests.simulation.world import World

EPS = 1e-6
ENCODE = msgspec.json.Encoder().encode
DECODE = msgspec.json.Decoder(Ladder).decode
STARTS = (actions.Start, actions.RestartTree, actions.Recreate, actions.Restore)
INIT_ACTS = (*STARTS, actions.StopTree)
UP = (Phase.HEALTHY, Phase.DEGRADED)
BAD = (Verdict.SLOW, Verdict.FAILING, Verdict.REFUSED, Verdict.FOREIGN)
STALE = (m.Exited, m.Spawned, m.GatePassed, m.Checked, m.StartProgressed, m.SpawnFailed, m.Asked, m.Down, m.Adopted)


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant, self.text = invariant, text

    def __reduce__(self) -> tuple[type[Violation], tuple[str, str]]:
        """Campaigns hand it from process to process."""
        return Violation, (self.invariant, self.text)


class Checker:
    def __init__(self, policy: Policy, world: World) -> None:
        self.policy = policy
        self.world = world
        self.turn = 0
        self.transitions: dict[tuple[Phase, Phase], int] = {}
        self.lost = False
        self.wild = False  # orders or reboots happened: exact counting has races nobody can decide
        self.restarts: list[float] = []  # true tier-1 restarts since a person took over
        self.last_spawn: float | None = None
        self.last_end: float | None = None
        self.unplanned = 0
        self.misbehaved = 0  # reasons for an incident since the last one was opened
        self.recreated: dict[str, set[tuple[int, int]]] = {"Recreate": set(), "Restore": set()}
        self.recreated_at: dict[str, float] = {}
        self.alerts: set[int] = set()
        self.opened: set[int] = set()
        self.closed: set[int] = set()
        self.born = 0.0
        self.bad_seen: float | None = None
        self.stopped_by_order = False
        self.starved_told = False
        self.window_since = policy.window_s

    def fail(self, invariant: str, text: str) -> None:
        raise Violation(invariant, f"{text} (at {self.world.now:.3f})")

    # --- what the rules answered --------------------------------------------------------------------------
    def decided(self, old: Ladder, seen: Any, new: Ladder, acts: tuple[Any, ...], roll: float, decide: Any) -> None:
        self.turn += 1
        policy, now = self.policy, self.world.now
        kind = type(seen)
        if old.phase is not new.phase:
            step = (old.phase, new.phase)
            self.transitions[step] = self.transitions.get(step, 0) + 1
            if new.phase not in TRANSITIONS[old.phase]:
                self.fail("table", f"{old.phase} -> {new.phase} on {seen!r}")
        if self.turn % 8 == 0:
            if DECODE(ENCODE(new)) != new:
                self.fail("round_trip", repr(new))
            if decide(old, seen, policy, now, roll) != (new, acts):
                self.fail("deterministic", repr(seen))
        if kind in STALE and 0 < seen.instance < old.instance and (new is not old or acts):
            self.fail("stale", f"{seen!r} changed {old.phase} of instance {old.instance}")
        if new is not old:
            self._state(old, seen, new, now)
        if new is not old or kind in aside_checks.WORDS:
            aside_checks.decided(old, seen, new, acts, policy, now, self.fail)
        if kind is m.Checked and seen.verdict in BAD and seen.instance == old.instance and old.running:
            self.bad_seen = now
        if acts:
            self._acts(old, seen, new, acts, now)

    def _state(self, old: Ladder, seen: Any, new: Ladder, now: float) -> None:
        phase, due = new.phase, new.due_mono
        if new.wanted and not new.running and due is None and phase not in ASIDE_PHASES:
            self.fail("never_silent", f"{phase} after {seen!r}")
        if due is None and (
            phase in (Phase.UNHEALTHY, Phase.STOPPING, Phase.BACKOFF, Phase.QUEUED)
            or (phase is Phase.RECOVERING and new.pending is not Tier.NONE)
            or (phase is Phase.STARTING and not new.starved)
        ):
            self.fail("never_silent", f"{phase} without a due time after {seen!r}")
        if phase is Phase.ESCALATED:
            longest = max(self.policy.retry_max_s, self.policy.spacing_s, self.policy.start_deadline_s)
            if new.deadline_mono is not None:
                longest = max(longest, new.deadline_mono - now)
            if due is None or due > now + longest + EPS:
                self.fail("escalated_tries", f"due {due} at {now} after {seen!r}")
        if new.incident and new.incident == old.incident and new.tier < old.tier:
            kind = type(seen)
            if kind is not m.NodeBooted and not (kind is m.Commanded and old.tier is Tier.ALERT):
                self.fail("table", f"tier fell from {old.tier} to {new.tier} on {seen!r}")
        # Set aside when escalated, it is escalated again as soon as it runs.
        resting = phase in (Phase.STOPPING, Phase.STOPPED, Phase.QUEUED) or phase in ASIDE_PHASES
        resting = resting or (phase is Phase.STARTING and not new.running)
        if (phase is Phase.ESCALATED and new.tier is not Tier.ALERT) or (
            new.tier is Tier.ALERT and phase is not Phase.ESCALATED and not resting
        ):
            self.fail("table", f"{phase} at tier {new.tier} after {seen!r}")
        if new.wanted is not old.wanted and type(seen) is not m.Commanded and phase is not Phase.FINISHED:
            self.fail("stop_wins", f"wanted became {new.wanted} on {seen!r}")
        if phase is Phase.RECOVERING and not new.incident:
            self.fail("incident_order", f"recovering without an incident after {seen!r}")

    def _acts(self, old: Ladder, seen: Any, new: Ladder, acts: tuple[Any, ...], now: float) -> None:
        kind = type(seen)
        stored = acts[0].level if type(acts[0]) is actions.Remember else ""
        for act in acts:
            what = type(act)
            if what is actions.Remember or what is actions.Arm:
                continue
            if what in INIT_ACTS:
                self._reason(kind, seen, old, act)
                if what is not actions.StopTree and not new.wanted:
                    self.fail("stop_wins", f"{act!r} of an unwanted agent on {seen!r}")
                first = new.quiet_tries != old.quiet_tries or new.recreated_mono != old.recreated_mono
                durable = what is actions.StopTree and (old.wanted is not new.wanted or old.aside != new.aside)
                if (first or durable) and stored != "durable":
                    self.fail("remembered", f"{act!r} before it was stored durably")
            if new is not old and new.phase is not old.phase and not stored:
                self.fail("remembered", f"{act!r} before anything was stored")
            if what is actions.Alert and stored != "durable":
                self.fail("remembered", "an alert before it was stored durably")

    def _reason(self, kind: type, seen: Any, old: Ladder, act: Any) -> None:
        if kind is m.Degraded:
            self.fail("degraded", repr(act))
        if kind is m.Starved:
            self.fail("starved", repr(act))
        if kind is m.StateDamaged and (type(act) is not actions.Restore or (old.running and old.gate_passed)):
            self.fail("damaged", f"{act!r} of {old!r}")
        if kind is m.Checked:
            verdict = seen.verdict
            if verdict is Verdict.STARVED or (old.starved and verdict in (Verdict.SLOW, Verdict.FAILING)):
                self.fail("starved", f"{act!r} on {seen!r}")
        unproven = old.running and not old.gate_passed and self.policy.has_gate
        awaited = old.phase is Phase.STARTING or (old.phase is Phase.ESCALATED and old.deadline_left_s is not None)
        if kind is m.Timer and old.starved and unproven and awaited:
            self.fail("starved", f"{act!r} of a start that is starved")

    def _recreate(self, name: str, old: Ladder, new: Ladder, now: float) -> None:
        spent = new.recreated_mono if name == "Recreate" else new.restored_mono
        before = old.recreated_mono if name == "Recreate" else old.restored_mono
        if spent == before:
            return  # the same act once more
        last = self.recreated_at.get(name)
        if last is not None and now < last + self.policy.window_s - EPS:
            self.fail("recreate_once", f"{name} {now - last:.1f} s after the last one")
        if any(incident == new.incident for incident, _ in self.recreated[name]):
            self.fail("recreate_once", f"{name} twice in incident {new.incident}")
        self.recreated[name].add((new.incident, new.instance))
        self.recreated_at[name] = now

    def stored(self, old: Ladder, seen: Any, new: Ladder, acts: tuple[Any, ...]) -> None:
        """The keeper stored this decision: what it tells is told now, even if the keeper dies before it acts."""
        for act in acts:
            what = type(act)
            if what is actions.Recreate or what is actions.Restore:
                self._recreate(what.__name__, old, new, self.world.now)
            elif what is actions.Alert or what is actions.OpenIncident or what is actions.CloseIncident:
                self._told(act, seen)

    def rolled_back(self, state: Ladder) -> None:
        """A power loss took the last plain writes: incidents opened since are unknown again."""
        self.opened = {number for number in self.opened if number <= state.incidents_seen}
        self.closed &= self.opened
        self.closed.discard(state.incident)

    def _told(self, act: Any, seen: Any) -> None:
        what = type(act)
        if what is actions.Alert:
            if act.incident in self.alerts:
                self.fail("one_alert", f"a second alert for incident {act.incident}")
            if act.incident not in self.opened or act.incident in self.closed:
                self.fail("one_alert", f"an alert for incident {act.incident}, which is not open")
            self.alerts.add(act.incident)
        elif what is actions.OpenIncident:
            if act.incident in self.opened:
                self.fail("incident_order", f"incident {act.incident} opened twice")
            self._justified(act, seen)
            self.opened.add(act.incident)
        else:
            if act.incident not in self.opened or act.incident in self.closed:
                self.fail("incident_order", f"incident {act.incident} closed, but not open")
            if act.outcome == "recovered":
                self._recovered(seen)
            self.closed.add(act.incident)

    def _justified(self, act: Any, seen: Any) -> None:
        kind = type(seen)
        if kind is m.SetAside or kind is m.CalledBack:
            self.fail("planned", f"{act!r} on {seen!r}")
        if kind is m.Commanded or kind is m.Starved or kind is m.Degraded or kind is m.NodeBooted:
            self.fail("planned", f"{act!r} on {seen!r}")
        if kind is m.Exited and seen.expected:
            self.fail("planned", f"{act!r} on a stop that was asked for")
        if not self.misbehaved:
            self.fail("planned", f"{act!r} though nothing went wrong")
        if len(self.world.unacked) <= 1:
            self.misbehaved = 0  # else more is known to the world than to the keeper

    def _recovered(self, seen: Any) -> None:
        world, now = self.world, self.world.now
        if type(seen) in (m.Exited, m.Down, m.NodeBooted):
            if not self.policy.once or (type(seen) is m.Exited and seen.code != 0):
                self.fail("recovered", f"closed on {seen!r}")
            return
        current = world.alive and world.ladder.running and world.epoch == world.ladder.instance
        if current and self.policy.has_gate and not world.gated:
            self.fail("recovered", "before the gate passed")
        if current and now < self.born + self.policy.confirm_s - EPS:
            self.fail("recovered", f"{now - self.born:.1f} s after the start")
        if self.bad_seen is not None and now < self.bad_seen + self.policy.confirm_s - EPS:
            self.fail("recovered", f"{now - self.bad_seen:.1f} s after a bad check")

    def permitted(self, state: Ladder, terms: m.PermitTerms) -> None:
        policy, now = self.policy, self.world.now
        left = len(terms.delays_s)
        if not left:
            return
        aside_checks.permitted(state, policy, now, self.fail)
        if not state.wanted or state.phase in (Phase.STOPPING, Phase.STOPPED, Phase.FINISHED, Phase.ESCALATED):
            self.fail("permit", f"{left} restarts permitted in {state.phase}")
        if state.tier > Tier.RESTART or state.pending > Tier.RESTART:
            self.fail("permit", f"{left} restarts permitted at tier {state.tier}")
        window_s = policy.window_s
        used = len(state.restarts_mono) if state.incident else sum(at + window_s > now for at in state.restarts_mono)
        taken = state.phase is Phase.RECOVERING and state.pending is Tier.RESTART
        if left > len(policy.backoff_s) - used - taken:
            self.fail("permit", f"{left} restarts permitted though {used} are used")
        for index in range(left):
            base = policy.backoff_s[len(policy.backoff_s) - left + index]
            first = index == 0 and left == len(policy.backoff_s)
            floor = base if index == 0 else max(base, policy.spacing_s)
            if terms.delays_s[index] < floor - EPS:
                self.fail("permit", f"delay {index} is {terms.delays_s[index]}, less than {floor}")
            spaced = index == 0 and not first and policy.spacing_s and state.last_start_mono is not None
            if spaced and terms.not_before_mono < (state.last_start_mono or 0.0) + policy.spacing_s - EPS:
                self.fail("permit", "the spacing is missing")

    # --- what really happened -----------------------------------------------------------------------------
    def ordered(self, what: str) -> None:
        self.wild = True
        self.stopped_by_order = what == "stop"
        if self.world.ladder.tier is Tier.ALERT:
            self.restarts.clear()
            self.recreated_at.clear()
            self.recreated = {"Recreate": set(), "Restore": set()}
            self.misbehaved += 1  # what it was escalated for may go on: after an order that is a new incident

    def rebooted(self) -> None:
        self.wild = True
        self.restarts.clear()
        self.recreated_at.clear()
        self.recreated = {"Recreate": set(), "Restore": set()}
        self.last_spawn = None

    def judged(self, promised: float | None, delay_s: float | None) -> None:
        """init decided on a death: it had been promised a restart after `promised`; asks when `delay_s` is None."""
        if promised is not None and (delay_s is None or delay_s > promised + EPS):
            self.fail("prompt", f"promised {promised:.3f} s, got {delay_s}")

    def start_arrives(self, living: bool) -> None:
        if living:
            self.fail("one_instance", "a start reached an agent that lives")

    def restart_arrives(self, act: Any, living: bool, spoilt: bool) -> None:
        if living and not spoilt and act.tier is not Tier.NONE:
            self.fail("innocent", f"{act!r} of an agent that never misbehaved")

    def misbehaves(self) -> None:
        self.misbehaved += 1

    def spawn_failed(self, cause: str, tier: Tier) -> None:
        self.misbehaved += 1
        if cause == "permit" or tier is Tier.RESTART:
            self.unplanned += 1

    def ended(self, expected: bool) -> None:
        self.last_end = self.world.now
        if not expected:
            self.misbehaved += 1

    def spawning(self, cause: str, tier: Tier) -> None:
        """init is about to spawn."""
        now, policy = self.world.now, self.policy
        if self.world.ladder.phase is Phase.STOPPED and cause == "permit":
            self.fail("stop_wins", "init restarted a stopped agent by its permit")
        if cause == "permit":
            aside_checks.by_permit(self.world.ladder.phase, self.fail)
        if cause != "permit" and tier is Tier.NONE:
            return
        if self.lost and self.wild:
            return  # an event was lost while an order was under way: nobody can tell whose start it was
        since = now - policy.window_s
        self.restarts = [at for at in self.restarts if at > since]
        if cause == "permit" or tier is Tier.RESTART:
            if len(self.restarts) >= len(policy.backoff_s):
                self.fail("budget", f"restart {len(self.restarts) + 1} in a window of {policy.window_s:.0f} s")
            base = policy.backoff_s[len(self.restarts)]
            if self.last_end is not None and cause == "permit" and now < self.last_end + base - EPS:
                self.fail("backoff", f"{now - self.last_end:.3f} s after the death, not {base:.3f}")
            first = not self.restarts
            self.restarts.append(now)
        else:
            first = False
        if not first and self.last_spawn is not None and now < self.last_spawn + policy.spacing_s - EPS:
            self.fail("spacing", f"{now - self.last_spawn:.3f} s after the last start, not {policy.spacing_s:.3f}")

    def spawned(self, cause: str, tier: Tier) -> None:
        self.last_spawn = self.born = self.world.now
        self.bad_seen = None
        if cause == "permit" or tier is not Tier.NONE:
            self.unplanned += 1

    # --- the end ------------------------------------------------------------------------------------------
    def at_rest(self, ladder: Ladder, alive: bool, init_state: str) -> None:
        if aside_checks.at_rest(ladder, alive, init_state, self.fail):
            return
        if ladder.wanted:
            if ladder.phase not in UP or not alive:
                self.fail("at_rest", f"{ladder.phase}, alive={alive}, init {init_state}, due {ladder.due_mono}")
        elif ladder.phase not in (Phase.STOPPED, Phase.FINISHED) or alive:
            self.fail("at_rest", f"{ladder.phase}, alive={alive}, init {init_state}")
        if ladder.wanted and ladder.instance != self.world.epoch:
            self.fail("at_rest", f"instance {ladder.instance} is not {self.world.epoch}")
        if ladder.wanted and ladder.incident:
            self.fail("at_rest", "an incident is still open")
        if not self.wild and not self.lost and ladder.restarts_total != self.unplanned:
            self.fail("counted", f"{ladder.restarts_total} counted, {self.unplanned} happened")

    def forgiven(self, ladder: Ladder, terms: m.PermitTerms | None) -> None:
        if ladder.phase not in UP or terms is None:
            return
        if ladder.restarts_mono or ladder.recreated_mono is not None or ladder.restored_mono is not None:
            self.fail("forgiven", f"{ladder.restarts_mono} still count")
        if ladder.memory_deaths_mono:
            self.fail("forgiven", f"deaths for memory still count: {ladder.memory_deaths_mono}")
        if len(terms.delays_s) != len(self.policy.backoff_s):
            self.fail("forgiven", f"only {len(terms.delays_s)} restarts permitted")
        if ladder.due_mono is not None:
            self.fail("forgiven", f"a timer is left at {ladder.due_mono}")
