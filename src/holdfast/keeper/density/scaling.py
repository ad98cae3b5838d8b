"""Replicas that follow a queue: takes in how long it is, asks the rule every few seconds, starts and sets aside.

Invariants: a decision is in the ledger with its numbers before anybody is touched; how many run is read from the
ladders each time, so nothing is lost with the keeper but the reported numbers, and without one nothing changes; what a
person stopped or started counts as it is, and is not undone before the rule's cool-down. Called by the keeper, by the
API (reports, views) and by its own timer, which exists only while there is such a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct, structs

from holdfast import errors, limits
from holdfast.clock import Clock
from holdfast.density import replicas
from holdfast.density.replicas import Bounds, Change, Scale
from holdfast.errors import HoldfastError
from holdfast.healing.model import CalledBack, Ladder, Phase, SetAside
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.watching.beats import idle as says_idle
from holdfast.spec.model import AgentSpec

SPARE: Final = "spare"


class QueueView(Struct, frozen=True, kw_only=True):
    """One group of replicas and its queue. `depth` null: nobody has reported one lately. `why`: of the last change."""

    group: str
    depth: float | None
    reported_at: float | None
    least: int
    most: int
    per_queue_depth: float
    wished: int | None  # what the queue asks for; null without a number
    wanted: int  # how many are to run now
    running: int  # how many of these have passed their gate
    spare: int
    why: str = ""


class Parts(NamedTuple):
    """`fits(agent)`: how many more of it memory allows now. `wake(agent, why)`: it sleeps; get it up."""

    agents: dict[str, Agent]
    clock: Clock
    recorder: Recorder
    healer: Healer
    fits: Callable[[Agent], int]
    asleep: Callable[[Agent], bool]
    wake: Callable[[Agent, str], object]
    ready: Callable[[], bool]


class _Report(NamedTuple):
    depth: float
    mono: float
    at: float


class _Crew(NamedTuple):
    """The members of a group as they are: who counts, by number; who was stopped by a person or is done counts not."""

    on: list[Agent]
    spare: list[Agent]

    @property
    def bounds(self) -> Bounds:
        told = (self.on or self.spare)[0].spec.scaling
        assert told is not None
        able = len(self.on) + len(self.spare)
        return Bounds(least=min(told.least, able), most=min(told.most, able), per_queue_depth=told.per_queue_depth)


def first_ladder(spec: AgentSpec) -> Ladder:
    """Of an agent that never ran: replicas beyond the least begin as spare."""
    if spec.scaling is not None and spec.scaling.number > spec.scaling.least:
        told = spec.scaling
        why = f"replica {told.number} of {told.group} runs when its queue asks for it"
        return Ladder(phase=Phase.SPARE, aside=SPARE, aside_text=why)
    return Ladder()


class Scaler:
    """See the module. `begin` when the keeper's loop runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reports: dict[str, _Report] = {}
        self._scales: dict[str, Scale] = {}
        self._why: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # --- life ----------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        self._arm(0.0)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """The fleet or a number changed: look soon. Many calls in one turn are one look."""
        self._arm(0.0)

    def _arm(self, pause_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        crews = self._crews()
        if crews:
            self._arm(limits.REPLICAS_LOOK_S)  # first: a mistake of ours in one look must not end all that follow
        for known in (self._scales, self._reports, self._why):
            for group in [group for group in known if group not in crews]:
                del known[group]
        if self._parts.ready():
            self._free_former()
            for group, crew in crews.items():
                self._decide(group, crew)

    # --- reports -------------------------------------------------------------------------------------------------
    def report(self, group: str, depth: float) -> QueueView:
        """How many tasks wait now. Raises HoldfastError QUEUE_NOT_FOUND."""
        if self._crew(group) is None:
            raise HoldfastError(errors.QUEUE_NOT_FOUND, group=group)
        before = self._depth(group)
        self._reports[group] = _Report(depth, self._parts.clock.now_mono(), self._parts.clock.now_at())
        if before != depth:
            self.look()
        return self.view(group)

    def said(self, agent: Agent, depth: str) -> None:
        """A replica told with its beats how many tasks wait for its group. What is no such number is not heard."""
        try:
            told = float(depth)
        except ValueError:
            return
        if agent.spec.scaling is not None and 0 <= told <= limits.QUEUE_DEPTH_MAX:
            self.report(agent.spec.scaling.group, told)

    def view(self, group: str) -> QueueView:
        """Raises HoldfastError QUEUE_NOT_FOUND."""
        crew = self._crew(group)
        if crew is None:
            raise HoldfastError(errors.QUEUE_NOT_FOUND, group=group)
        report, depth = self._reports.get(group), self._depth(group)
        told = next(agent.spec.scaling for agent in self._members(group) if agent.spec.scaling is not None)
        able = crew.on or crew.spare
        return QueueView(
            group=group,
            depth=depth,
            reported_at=None if report is None else report.at,
            least=told.least,
            most=told.most,
            per_queue_depth=told.per_queue_depth,
            wished=None if depth is None or not able else replicas.wish(crew.bounds, depth),
            wanted=len(crew.on),
            running=_running(crew),
            spare=len(crew.spare),
            why=self._why.get(group, ""),
        )

    def views(self) -> list[QueueView]:
        """By name of the group."""
        groups = {agent.spec.scaling.group for agent in self._parts.agents.values() if agent.spec.scaling is not None}
        return [self.view(group) for group in sorted(groups) if self._crew(group) is not None]

    def _depth(self, group: str) -> float | None:
        """None: nobody knows."""
        report = self._reports.get(group)
        if report is None or self._parts.clock.now_mono() - report.mono > limits.DEPTH_STALE_S:
            return None
        return report.depth

    # --- who belongs to it ---------------------------------------------------------------------------------------
    def _members(self, group: str) -> list[Agent]:
        found = [
            agent
            for agent in self._parts.agents.values()
            if agent.spec.scaling is not None and agent.spec.scaling.group == group and not agent.leaving
        ]
        return sorted(found, key=_number)

    def _crew(self, group: str) -> _Crew | None:
        members = self._members(group)
        if not members:
            return None
        able = [one for one in members if one.ladder.wanted and one.ladder.phase is not Phase.FINISHED]
        spare = [one for one in able if one.ladder.aside == SPARE]
        return _Crew([one for one in able if one.ladder.aside != SPARE], spare)

    def _crews(self) -> dict[str, _Crew]:
        groups = dict.fromkeys(
            agent.spec.scaling.group for agent in self._parts.agents.values() if agent.spec.scaling is not None
        )
        found = {group: self._crew(group) for group in groups}
        return {group: crew for group, crew in found.items() if crew is not None}

    # --- deciding ------------------------------------------------------------------------------------------------
    def _decide(self, group: str, crew: _Crew) -> None:
        if not crew.on and not crew.spare:
            return  # a person stopped them all
        now, depth, bounds = self._parts.clock.now_mono(), self._depth(group), crew.bounds
        known = self._scales.get(group)
        if known is None:
            known = Scale(count=len(crew.on))
        elif known.count != len(crew.on):  # a person did that: it stands for a cool-down
            known = Scale(count=len(crew.on), changed_mono=now)
        if depth:
            self._wake(crew, replicas.wish(bounds, depth), depth)
        fits = self._parts.fits(crew.spare[0]) if crew.spare else 0
        running = _running(crew)
        scale, changes = replicas.decide(known, bounds, depth, fits, running, now)
        self._scales[group] = scale
        for change in changes:
            after = self._change(group, crew, change, {"depth": depth, "fits": fits, "running": running})
            if after != change.after:  # the others go as soon as they may
                self._scales[group] = structs.replace(scale, count=after, low_mono=known.low_mono)

    def _wake(self, crew: _Crew, wished: int, depth: float) -> None:
        """Work has come: whoever of the crew sleeps is woken before another one is started."""
        for agent in crew.on[:wished]:
            if self._parts.asleep(agent):
                self._parts.wake(agent, f"{depth:g} wait in its queue")

    def _change(self, group: str, crew: _Crew, change: Change, seen: dict[str, float | int | None]) -> int:
        """How many are to run now: more than decided while some of those who would go are at work."""
        more = change.after > change.before
        if more:
            touched = crew.spare[: change.after - change.before]
        else:
            touched = [agent for agent in crew.on if _may_go(agent)][change.after - change.before :]
            left = change.before - change.after - len(touched)
            at_work = f"; {left} more would go, and {'is' if left == 1 else 'are'} at work"
            change = structs.replace(
                change, after=change.before - len(touched), why=change.why + (at_work if left else "")
            )
        if not touched:
            return change.after
        names = [agent.name for agent in touched]
        text = f"{group}: {change.after} instead of {change.before} replicas: {change.why}"
        self._why[group] = change.why
        body = {"group": group, **structs.asdict(change), **seen, "agents": names}
        self._parts.recorder.record("density.scaled", "", text, body, durable=True)
        now = self._parts.clock.now_mono()
        for agent in touched:
            what = f"replica {_number(agent)} of {group}"
            if more:
                self._parts.healer.observe(agent, CalledBack(text=f"{what} is needed: {change.why}"), now)
            else:
                why = f"{what} is not needed: {change.why}"
                self._parts.healer.observe(agent, SetAside(why=SPARE, text=why), now)
        return change.after

    def _free_former(self) -> None:
        """Who was spare and is no replica of a queue any more runs as any other agent."""
        now = self._parts.clock.now_mono()
        for agent in list(self._parts.agents.values()):
            if agent.spec.scaling is None and agent.ladder.aside == SPARE and not agent.leaving:
                self._parts.healer.observe(agent, CalledBack(text="it follows no queue any more"), now)


def _number(agent: Agent) -> int:
    return 0 if agent.spec.scaling is None else agent.spec.scaling.number


def _may_go(agent: Agent) -> bool:
    """Nobody is stopped in the middle of what it says that it does, and in maintenance nothing is done to it."""
    return says_idle(agent) is not False and not agent.policy.hands_off


def _running(crew: _Crew) -> int:
    """Past their gate; who waits for a person is not waited for."""
    return sum(
        1
        for agent in crew.on
        if (agent.ladder.running and agent.ladder.gate_passed) or agent.ladder.phase is Phase.ESCALATED
    )
