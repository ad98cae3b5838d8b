"""Agents that sleep because they have nothing to do: how they fall asleep, what wakes them, and what it saved.

Invariants: the ledger says that an agent sleeps before it is frozen or stopped, so that the next keeper neither takes
it for sick nor forgets to wake it; whoever acts on a sleeper wakes it first; while it sleeps nothing asks it and its
silence says nothing. Who is idle is looked for in idling.py. Made by the keeper; read by the semaphore and the views.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from msgspec import structs, to_builtins

from holdfast import limits
from holdfast.density import hibernation
from holdfast.density.hibernation import Rest
from holdfast.healing.model import CalledBack, Phase, SetAside
from holdfast.keeper.agent import Agent
from holdfast.keeper.density import idling, sockets
from holdfast.keeper.density.asleep import Asleep, How, shown
from holdfast.keeper.density.frozen_watch import FrozenWatch
from holdfast.keeper.density.idling import Idling, Parts, Sleeper
from holdfast.keeper.density.page_outs import PageOuts
from holdfast.keeper.density.port_keeper import PortKeeper
from holdfast.node import processes
from holdfast.pods.memory_bare import MemoryBare
from holdfast.pods.memory_group import MemoryGroup

_DOWN = frozenset({Phase.HIBERNATING, Phase.QUEUED})  # of the stopped kind: its ports are held


class Sleepers:
    """`follow` when an agent, its instance or its spec changed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._agents = parts.agents
        self._watch = FrozenWatch(self._stirred)
        self._ports = PortKeeper(self._called, self._not_held)
        self._page_outs = PageOuts()
        self._known: defaultdict[str, Sleeper] = defaultdict(Sleeper)
        self._idling = Idling(parts, self._known, self, self._ports.passing)

    def begin(self) -> None:
        """Called when the keeper's loop runs: who slept under the last keeper is not asked by this one."""
        for agent in self._agents.values():
            if agent.memory.asleep is not None:
                agent.rest_view = shown(agent.memory.asleep)
        self._idling.plan()

    def close(self) -> None:
        """Sleepers go on sleeping; their ports are free until the next keeper takes them."""
        self._idling.close()
        self._watch.close()
        self._ports.close()

    def look(self) -> None:
        """The world is known, to this keeper or by a new init, which has to hear again who is to stand still."""
        for agent in list(self._agents.values()):
            if agent.memory.asleep is not None:
                self.keep(agent, agent.memory.asleep, again=True)
        self._idling.plan()

    def gone(self, name: str) -> None:
        """It was taken out of the fleet."""
        self._watch.drop(name)
        self._ports.give_up(name)
        self._known.pop(name, None)

    # --- for the semaphore and the views -------------------------------------------------------------------------
    def is_frozen(self, name: str) -> bool:
        """Whether it sleeps and its processes are still there."""
        agent = self._agents.get(name)
        return agent is not None and agent.is_frozen

    def idle(self, name: str) -> bool:
        """Whether it is known to do nothing now."""
        one = self._known.get(name)
        return one is not None and one.rest.asleep_mono is None and one.rest.idle_mono is not None

    def may(self, name: str) -> bool:
        """Whether it may be put to sleep for memory's sake."""
        agent = self._agents.get(name)
        if agent is None or not idling.by_itself(agent) or self.why_not(agent):
            return False
        return hibernation.rested(self._known[name].rest, agent.spec.idle.after_s, self._parts.clock.now_mono())

    def why_not(self, agent: Agent) -> str:
        """Why it cannot be put to sleep now, one clause; ""."""
        return self._idling.why_not(agent)

    # --- who acts ------------------------------------------------------------------------------------------------
    def sleep_now(self, agent: Agent, why: str, *, by_hand: bool = False) -> bool:
        """Put it to sleep in the way it declared; False when that cannot be now. Idempotent."""
        if agent.memory.asleep is not None:
            return True
        if self.why_not(agent) or not (by_hand or idling.by_itself(agent)):
            return False
        how: How = "stop" if agent.spec.idle.action == "stop" else "freeze"
        return self.fall_asleep(agent, how, why, by_hand=by_hand)

    def wake(self, agent: Agent, why: str) -> bool:
        """Wake it; False when it does not sleep. Idempotent."""
        known = agent.memory.asleep
        if known is None:
            return False
        if known.how == "freeze":
            self._thaw(agent, why)
        elif agent.ladder.aside == "hibernating" and not self._is_called(agent):
            now = self._parts.clock.now_mono()
            one = self._known[agent.name]
            one.called_mono, one.rest = now, Rest(woken_mono=now)
            agent.rest_view = structs.replace(agent.rest_view, asleep="", why=why)
            text = f"it is woken: {why}"
            self._parts.healer.observe(agent, CalledBack(text=why), now, record="density.wake", text=text, body={})
        return True

    def rouse(self, agent: Agent, why: str = "it is acted upon") -> None:
        """Before anything is done with its processes: whoever is frozen hears no signal and answers nobody."""
        if agent.is_frozen:
            self._thaw(agent, why)

    def before_spawn(self, agent: Agent) -> None:
        """Its ports are its own again."""
        self._ports.release(agent.name)

    # --- level ---------------------------------------------------------------------------------------------------
    def follow(self, agent: Agent, now: float) -> None:
        """Bring what is held for it in line with its ladder. Level-triggered and cheap."""
        known = agent.memory.asleep
        if known is None:
            if agent.spec.idle.action != "none":
                self._idling.begin()
            return
        ladder = agent.ladder
        if known.how == "freeze":
            if self._parts.ready() and (ladder.instance != known.instance or not ladder.running):
                self._parts.groups.thaw(agent)
                self._watch.drop(agent.name)
                self._awake(agent, "its instance is gone")
            return
        if (ladder.aside == "hibernating" and not ladder.running) or ladder.phase in _DOWN:
            self._ports.hold(agent.name, known.addresses)
        elif ladder.running and ladder.instance != known.instance:
            if ladder.gate_passed:
                self._ports.deliver(agent.name)
                self._awake(agent, agent.rest_view.why if self._is_called(agent) else "it was started")
        elif ladder.phase in (Phase.STOPPED, Phase.FINISHED, Phase.SHED, Phase.SPARE):
            self._ports.give_up(agent.name)
            self._awake(agent, "it is down for another reason now")
        elif ladder.phase is Phase.HEALTHY and not ladder.aside and not ladder.planned_stop and self._parts.ready():
            self._awake(agent, "its stop did not come to be")

    # --- falling asleep ------------------------------------------------------------------------------------------
    def fall_asleep(self, agent: Agent, how: How, why: str, *, by_hand: bool = False) -> bool:
        """False when it cannot be frozen, or somebody came meanwhile."""
        now = self._parts.clock.now_mono()
        group = self._parts.groups.of(agent)
        if group is None:
            return False
        pids = {agent.world.pid, *self._parts.groups.members(agent.name)}
        known = Asleep(
            how=how,
            instance=agent.ladder.instance,
            at=self._parts.clock.now_at(),
            why=why,
            before_bytes=group.read().usage_bytes,
            by_hand=by_hand,
            addresses=sockets.listened_on(pids)[: limits.SLEEP_PORTS_MAX] if how == "stop" else (),
        )
        agent.memory.asleep = known
        self._known[agent.name].rest = Rest(asleep_mono=now, how=how)
        body = {"asleep": to_builtins(known)}
        if how == "stop":
            text = f"it goes to sleep, stopped: {why}"
            agent.rest_view = shown(known, agent.rest_view.wake_s)
            seen = SetAside(why="hibernating", text=why)
            self._parts.healer.observe(agent, seen, now, record="density.sleep", text=text, body=body)
            return True
        text = f"it goes to sleep, frozen: {why}"
        self._parts.recorder.record("density.sleep", agent.name, text, body, durable=True)
        agent.rest_view = shown(known, agent.rest_view.wake_s)
        self._parts.quiet(agent, True)  # our own connections are closed before its sockets are looked at
        if not self._parts.groups.freeze(agent, None):
            self._thaw(agent, "it could not be frozen")
            return False
        if self._keep_watch(agent) and not by_hand:
            self._thaw(agent, "somebody connected while it fell asleep")
            return False
        self._parts.tasks.spawn(self._page_out(agent, known))
        self._idling.begin()  # it may be the only one that ever sleeps
        return True

    def _keep_watch(self, agent: Agent) -> bool:
        """True: somebody is connected to it."""
        pids = {agent.world.pid, *self._parts.groups.members(agent.name)}
        return self._watch.add(agent.name, pids, self._ports.passing())

    async def _page_out(self, agent: Agent, known: Asleep) -> None:
        """To swap or zram, where there is some; what it saved is read afterwards."""
        group = self._parts.groups.of(agent)
        if group is None or agent.memory.asleep is not known:
            return
        await self._page_outs.of(agent.name, group)
        if agent.memory.asleep is known:
            agent.rest_view.saved_bytes = max(0, known.before_bytes - group.read().usage_bytes)

    # --- waking --------------------------------------------------------------------------------------------------
    def _thaw(self, agent: Agent, why: str) -> None:
        began = self._parts.clock.now_mono()
        self._parts.groups.thaw(agent)
        self._awake(agent, why)
        self._parts.tasks.spawn(self._time_waking(agent, began))
        self._parts.quiet(agent, False)

    async def _time_waking(self, agent: Agent, began: float) -> None:
        """Until whoever woke it was taken out of its queue."""
        loop = asyncio.get_running_loop()
        while self._watch.waits(agent.name) and loop.time() - began < limits.SLEEP_WAKE_LOOK_S:
            await asyncio.sleep(limits.SLEEP_WAKE_TICK_S)
        if not agent.is_frozen:
            self._watch.drop(agent.name)
        agent.rest_view.wake_s = round(self._parts.clock.now_mono() - began, 4)

    def _awake(self, agent: Agent, why: str) -> None:
        """It sleeps no more: said in the ledger, and shown."""
        known = agent.memory.asleep
        if known is None:
            return
        agent.memory.asleep = None
        now = self._parts.clock.now_mono()
        one = self._known[agent.name]
        one.rest = Rest(woken_mono=now)
        slept_s = max(0, round(self._parts.clock.now_at() - known.at))
        since, one.called_mono = one.called_mono, None
        agent.rest_view = structs.replace(agent.rest_view, asleep="", since_at=None, why=why)
        if since is not None:
            agent.rest_view.wake_s = round(now - since, 3)
        body = {"asleep": None, "slept_s": slept_s, "saved_bytes": agent.rest_view.saved_bytes}
        self._parts.recorder.record("density.awake", agent.name, f"it is awake after {slept_s} s: {why}", body)

    def _is_called(self, agent: Agent) -> bool:
        return self._known[agent.name].called_mono is not None

    def _stirred(self, name: str, why: str) -> None:
        agent = self._agents.get(name)
        if agent is not None and agent.is_frozen:
            self._thaw(agent, why)

    def _called(self, name: str) -> None:
        agent = self._agents.get(name)
        if agent is not None:
            self.wake(agent, "somebody connects")

    def _not_held(self, name: str, words: str) -> None:
        self._parts.recorder.record("density.port", name, words)

    # --- staying asleep ------------------------------------------------------------------------------------------
    def keep(self, agent: Agent, known: Asleep, *, again: bool = False) -> None:
        """A frozen one has to be frozen, and watched: after a keeper's death init may have let it go on."""
        if known.how != "freeze":
            self.follow(agent, self._parts.clock.now_mono())
            return
        group = self._parts.groups.of(agent)
        if group is None or not group.read().frozen or _goes_on(group, agent.world.pid):
            self._thaw(agent, "it was let go on")
            return
        if again:
            self._parts.groups.freeze(agent, None)  # it stands still already
        if not self._watch.watches(agent.name):
            self._keep_watch(agent)


def _goes_on(group: MemoryGroup, pid: int) -> bool:
    """Without cgroups a group knows only what it did itself: whether somebody else let it go on, its process tells."""
    found = processes.stat(pid) if isinstance(group, MemoryBare) else None
    return found is not None and found.state not in "TtZX"
