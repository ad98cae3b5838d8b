"""Who is idle: looks now and then at all agents that may sleep, and says who is to fall asleep or to wake.

Invariants: nobody who may sleep and nobody asleep, no wake-up; who says that it works is not looked at closely, and
whom nobody may touch falls asleep by a person's word alone. The rule is density/hibernation.py, what is seen is in
signs.py. Made and called by sleeping.py, which acts.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from holdfast import limits
from holdfast.clock import Clock
from holdfast.density import hibernation
from holdfast.density.hibernation import Rest, Signs, Sleep
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import Agent
from holdfast.keeper.density import signs
from holdfast.keeper.density.asleep import Asleep, How
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.density.signs import Sight
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.words import span
from holdfast.keeper.watching.beats import idle as says_idle


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the keeper, as far as sleepers need them."""

    agents: dict[str, Agent]
    clock: Clock
    recorder: Recorder
    healer: Healer
    groups: AgentGroups
    places: NodePlaces
    tasks: Tasks
    scarce: Callable[[], bool]  # memory is short: whoever is idle sleeps at once
    next_at: Callable[[Agent], float | None]  # its next planned restart, wall clock
    quiet: Callable[[Agent, bool], None]  # nothing is asked of the agent from now on, or again
    ready: Callable[[], bool]  # the world is known, and Holdfast stays


@dataclass(slots=True)
class Sleeper:
    """What this keeper knows of one agent that sleeps, or may."""

    rest: Rest = field(default_factory=Rest)
    sight: Sight | None = None  # of the last look, when it was looked at closely
    called_mono: float | None = None  # it sleeps stopped and was called back: since when


class Acting(Protocol):
    """Who carries it out; see sleeping.py."""

    def fall_asleep(self, agent: Agent, how: How, why: str) -> bool: ...

    def wake(self, agent: Agent, why: str) -> bool: ...

    def keep(self, agent: Agent, known: Asleep) -> None: ...


def may_touch(agent: Agent) -> bool:
    """Whether anything may be done to it unasked: not in maintenance, while it leaves or is being restored."""
    return not agent.policy.hands_off and not agent.leaving and agent.memory.restoration is None


def by_itself(agent: Agent) -> bool:
    """Whether it is put to sleep without a person's word."""
    return agent.spec.idle.action != "none" and may_touch(agent)


class Idling:
    """`known` is shared with `acting`; `passing`: see sockets.ours."""

    def __init__(
        self,
        parts: Parts,
        known: defaultdict[str, Sleeper],
        acting: Acting,
        passing: Callable[[], frozenset[int]],
    ) -> None:
        self._parts, self._agents = parts, parts.agents
        self._known, self._acting, self._passing = known, acting, passing
        self._looking = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """There is somebody to look at. Idempotent."""
        if self._timer is None:
            self.plan()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def plan(self) -> None:
        """Set the time of the next look; none while nobody may sleep and nobody sleeps."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait_s = [
            min(limits.SLEEP_LOOK_S, max(limits.SLEEP_LOOK_MIN_S, agent.spec.idle.after_s / 5))
            for agent in self._agents.values()
            if agent.spec.idle.action != "none" or agent.memory.asleep is not None
        ]
        if wait_s:
            self._timer = asyncio.get_running_loop().call_later(min(wait_s), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self._looking and self._parts.ready():
            self._looking = True
            self._parts.tasks.spawn(self.look())
        self.plan()

    async def look(self) -> None:
        """One look at everybody who may sleep."""
        try:
            now = self._parts.clock.now_mono()
            asked = [self._ask(agent) for agent in self._agents.values() if self._is_in_question(agent)]
            found = await asyncio.to_thread(signs.look, asked, self._passing(), now) if asked else {}
            seen = {
                name: signs.followed(self._known[name].sight, one)
                for name, one in found.items()
                if name in self._agents
            }
            for agent in list(self._agents.values()):
                self._decide(agent, seen.get(agent.name), self._parts.clock.now_mono())
            for name, one in self._known.items():
                one.sight = seen.get(name)
        finally:
            self._looking = False

    def why_not(self, agent: Agent) -> str:
        """Why it cannot be put to sleep now, one clause; ""."""
        return signs.why_awake(agent) if self._parts.ready() else "init does not answer yet"

    def _is_in_question(self, agent: Agent) -> bool:
        """Looked at closely only who may sleep and does not say that it works."""
        may = by_itself(agent) and agent.memory.asleep is None
        return may and not self.why_not(agent) and says_idle(agent) is not False

    def _ask(self, agent: Agent) -> signs.Ask:
        name = agent.name
        return signs.Ask(
            name,
            agent.world.pid,
            next(iter(self._parts.places.cgroups_of(agent)), None),
            lambda: self._parts.groups.members(name),
        )

    def _decide(self, agent: Agent, seen: Sight | None, now: float) -> None:
        known = agent.memory.asleep
        if known is None and agent.spec.idle.action == "none":
            agent.rest_view.awake = ""
            self._known.pop(agent.name, None)
            return
        if known is not None:
            self._acting.keep(agent, known)
            known = agent.memory.asleep
        next_at = self._parts.next_at(agent)
        next_s = None if next_at is None or (known and known.how == "stop") else next_at - self._parts.clock.now_at()
        why_not = self.why_not(agent)
        able = not why_not and by_itself(agent)
        told = signs.signs(says_idle(agent), seen, healthy=able, next_s=next_s)
        one = self._known[agent.name]
        rest = one.rest
        if known is not None and rest.asleep_mono is None and one.called_mono is None:
            rest = Rest(asleep_mono=now, how=known.how)  # it slept under the last keeper
        action = known.how if known is not None and known.by_hand else agent.spec.idle.action
        lead_s = agent.rest_view.wake_s or limits.SLEEP_WAKE_LEAD_S
        if known is None:
            agent.rest_view.awake = why_not or _awake(told, seen, lead_s, agent)
        idle_mono = rest.idle_mono
        one.rest, acts = hibernation.decide(
            rest, told, action, agent.spec.idle.after_s, lead_s, self._parts.scarce(), now
        )
        for act in acts:
            if isinstance(act, Sleep):
                how: How = "stop" if act.how == "stop" else "freeze"
                idle_s = round(now - (now if idle_mono is None else idle_mono))
                if not self._acting.fall_asleep(agent, how, f"it had nothing to do for {idle_s} s"):
                    one.rest = Rest(woken_mono=now)
            else:
                self._acting.wake(agent, act.why)


def _awake(told: Signs, seen: Sight | None, lead_s: float, agent: Agent) -> str:
    """Why one that runs well does not sleep yet, one clause. Pure."""
    if not may_touch(agent):
        return "it is in maintenance"
    if seen is None and told.says_idle is None:
        return "it was not looked at closely yet"
    if why := hibernation.keeps_awake(told):
        return why
    if hibernation.soon(told, lead_s):
        return "it is idle, but a planned restart is due soon"
    return f"it is idle, and sleeps when it was so for {span(agent.spec.idle.after_s)}"
