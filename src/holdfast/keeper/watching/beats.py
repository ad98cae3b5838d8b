"""The shell around health/beats.py: takes in what init gathered, minds the deadlines, reports to behaviour.

Invariant: silence is called a failure only if we, init and the machine were able to hear all the time; else a whole
new deadline runs. A deadline costs nothing while beats come: each agent has one entry in the heap, which is looked at
anew when it rings. Called by the intake (events, hello, loss of init) and by the health loop when an agent changes.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable
from typing import Any

from holdfast import limits
from holdfast.evidence import secrets
from holdfast.healing.model import StartProgressed
from holdfast.health import beats as rule
from holdfast.health.beats import Beats, Rules, Told
from holdfast.health.model import Judgement, Observed
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.telling.collecting import secret_values
from holdfast.keeper.watching.behaviour import Behaviour
from holdfast.keeper.watching.starvation import Starvation

SOURCE = "beat"
DOUBT_EVERY_S = 1.0
SLOT_S = 0.25


class BeatsLoop:
    """`changed(agent)` when something durable of it changed."""

    def __init__(
        self,
        agents: dict[str, Agent],
        healer: Healer,
        behaviour: Behaviour,
        recorder: Recorder,
        starvation: Starvation,
        *,
        changed: Callable[[Agent], None],
    ) -> None:
        self._agents = agents
        self._healer = healer
        self._behaviour = behaviour
        self._recorder = recorder
        self._host = starvation
        self._changed = changed
        self.queue_said: Callable[[Agent, str], None] = lambda agent, depth: None  # it told how much work waits
        self._hearing = False
        self._listening_mono = 0.0  # since when
        self._socket: int | None = None
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}  # the one entry of each agent that counts
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._offsets = _offsets()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # --- what comes in -------------------------------------------------------------------------------------------
    def told(self, event: dict[str, Any], now: float) -> None:
        """Beats of one instance, as init gathered them. Of another instance than the running one they are dropped."""
        agent = self._agents.get(str(event.get("agent", "")))
        fields = event.get("fields")
        if agent is None or not isinstance(fields, dict):
            return
        ladder = agent.ladder
        if event.get("epoch") != ladder.instance or not ladder.running:
            return
        rules = rules_of(agent)
        was = self._known(agent, now)
        said = _masked(rule.read(fields, min(now, float(event.get("mono") or now)), *_more(event)), was, agent)
        known = rule.hear(was, said, rules)
        if event.get("held") or not self._hearing:
            known = rule.gap(known, now)  # said before this keeper came, or while init was away: nobody watched
        elif said.extend_s:
            self._extend(agent, said, now)
        agent.beats = known
        if "X_QUEUE" in fields and not event.get("held"):
            self.queue_said(agent, str(fields["X_QUEUE"]))
        if known.begun and agent.memory.beat_instance != ladder.instance:
            agent.memory.beat_instance = ladder.instance
            body = {"beat_instance": ladder.instance}
            self._recorder.record("agent.beats", agent.name, "its first beat was heard", body)
            self._changed(agent)
        self._judge(agent, known, rules, now)

    def _known(self, agent: Agent, now: float) -> Beats:
        known = agent.beats
        if known is None or known.instance != agent.ladder.instance:
            known = Beats(instance=agent.ladder.instance, since_mono=self._since(agent, now))
        return known

    def _since(self, agent: Agent, now: float) -> float:
        return max(agent.world.spawned_mono or now, self._listening_mono)

    def _extend(self, agent: Agent, said: Told, now: float) -> None:
        """It asks for more time to start: granted up to the most that a start may take."""
        gate = agent.gate
        if gate is None or agent.ladder.gate_passed or gate.instance != agent.ladder.instance:
            return
        last = gate.started_mono + agent.spec.health.start_period_s * limits.START_STRETCH_MAX
        until = min(last, said.mono + (said.extend_s or 0.0))
        if until > gate.deadline_mono:
            agent.gate = gate._replace(deadline_mono=until)
            self._healer.observe(agent, StartProgressed(instance=gate.instance, until_mono=until), now)

    def resume(self, agent: Agent, now: float) -> None:
        """It was asleep, paused, throttled or starved until now: a whole new deadline runs."""
        if agent.beats is not None and agent.ladder.running:
            agent.beats = rule.gap(agent.beats, now)
            self._judge(agent, agent.beats, rules_of(agent), now)

    def follow(self, agent: Agent, now: float) -> None:
        """The agent, its instance or its spec changed: what is due may have, too. Idempotent."""
        if not agent.ladder.running:
            agent.beats = None
            self._at.pop(agent.name, None)
            return
        rules = rules_of(agent)
        if agent.beats is None and rules.beat_s is None:
            return
        agent.beats = known = self._known(agent, now)
        self._judge(agent, known, rules, now)

    # --- gaps of ours --------------------------------------------------------------------------------------------
    def lost(self) -> None:
        """Init is away: nothing is heard."""
        self._hearing = False

    def back(self, socket: int | None, now: float) -> None:
        """Init is there, and what it had to tell was heard. `socket`: names the one that agents send to."""
        anew = self._socket is not None and socket != self._socket
        self._hearing, self._socket, self._listening_mono = True, socket, now
        self._gap(now, rule.deafened if anew else rule.gap)

    def _gap(self, now: float, how: Callable[[Beats, float], Beats] = rule.gap) -> None:
        for agent in list(self._agents.values()):
            if agent.beats is not None and agent.ladder.running:
                agent.beats = how(agent.beats, now)
                self._judge(agent, agent.beats, rules_of(agent), now)

    # --- judging -------------------------------------------------------------------------------------------------
    def _judge(self, agent: Agent, known: Beats, rules: Rules, now: float) -> None:
        if agent.is_frozen:
            return  # its silence says nothing, and is looked at anew when it wakes
        before = agent.memory.beat_instance > 0
        judgement, detail = rule.judge(known, rules, now, beat_before=before)
        if judgement is Judgement.UNKNOWN and not detail:
            self._behaviour.withdraw(agent, SOURCE, now)
        else:
            if judgement is Judgement.FAILING and agent.fault_mono is None:
                agent.fault_mono = known.counted_mono
            seen = Observed(
                agent=agent.name, instance=known.instance, source=SOURCE, judgement=judgement, detail=detail
            )
            self._behaviour.report(seen, now)
        due = rule.due_mono(known, rules, beat_before=before)
        if due is not None and now < due:
            self._watch(agent.name, max(now, due - _doubt_s(rules)))

    def _look(self, agent: Agent, now: float) -> None:
        known, rules = agent.beats, rules_of(agent)
        if known is None or not agent.ladder.running or not self._hearing or agent.is_frozen:
            return  # looked at anew when it runs, when init is back, or when it wakes
        due = rule.due_mono(known, rules, beat_before=agent.memory.beat_instance > 0)
        if due is None:
            return
        if now < due - _doubt_s(rules):
            self._watch(agent.name, due - _doubt_s(rules))
        elif self._host.feel(now) or agent.ladder.starved:
            agent.beats = rule.gap(known, now)
            self._judge(agent, agent.beats, rules, now)
        elif now < due:
            self._watch(agent.name, min(due, now + DOUBT_EVERY_S))
        else:
            self._judge(agent, known, rules, now)

    # --- time ----------------------------------------------------------------------------------------------------
    def _watch(self, name: str, at: float) -> None:
        at = math.ceil(at / SLOT_S) * SLOT_S  # one wake-up serves all agents of a slot
        held = self._at.get(name)
        if held is not None and held <= at:
            return  # rings sooner, and finds then what is due
        self._at[name] = at
        heapq.heappush(self._heap, (at, name))
        if self._timer is None or at < self._timer_due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer_due = self._heap[0][0]
            self._timer = asyncio.get_running_loop().call_at(self._timer_due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        offsets = _offsets()
        moved = any(abs(new - old) > limits.CLOCK_JUMP_S for new, old in zip(offsets, self._offsets, strict=True))
        self._offsets = offsets
        if moved or now - self._timer_due > limits.OWN_LATE_S:
            self._gap(now)  # a clock was set, the machine slept, or we were held up
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._at.get(name) != at:
                continue
            del self._at[name]
            agent = self._agents.get(name)
            if agent is not None:
                self._look(agent, now)
        self._set_timer()


def _masked(said: Told, was: Beats, agent: Agent) -> Told:
    """Its own words without its secrets: they are shown, and may end in the ledger and in alerts."""
    values = secret_values(agent.spec)
    if said.status and said.status != was.status:  # the same words again hold none
        said = said._replace(status=secrets.mask(said.status, values))
    if said.degraded and said.degraded != was.degraded:
        said = said._replace(degraded=secrets.mask(said.degraded, values))
    return said


def rules_of(agent: Agent) -> Rules:
    return rule.rules_of(agent.spec.health, agent.spec.stop.grace_s, notify=agent.spec.notify)


def idle(agent: Agent) -> bool | None:
    """Whether it says that it has nothing to do; None: it never said."""
    known = agent.beats
    if known is None or not agent.ladder.running:
        return None
    if known.busy_until_mono is not None and known.busy_until_mono > time.monotonic():
        return False
    return known.idle if known.idle_said else None


def excuse(agent: Agent, now: float) -> str:
    """What it said that makes silence elsewhere no failure: "busy", "idle", or "" for nothing."""
    known = agent.beats
    return "" if known is None or not agent.ladder.running else rule.excuse(known, rules_of(agent), now)


def _doubt_s(rules: Rules) -> float:
    """How long before a deadline the machine's pressure begins to be read."""
    return min(limits.BEAT_DOUBT_S, rules.beat_s or limits.BEAT_DOUBT_S)


def _more(event: dict[str, Any]) -> tuple[float, tuple[str, ...], float]:
    cycles = tuple(map(str, event.get("cycles") or ()))
    return float(event.get("busy_mono") or 0.0), cycles, float(event.get("cycle_mono") or 0.0)


def _offsets() -> tuple[float, float]:
    """Wall clock and time since boot, against the monotonic clock: they move when a clock is set or we slept."""
    mono = time.monotonic()
    return time.time() - mono, time.clock_gettime(time.CLOCK_BOOTTIME) - mono
