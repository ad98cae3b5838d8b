"""Asks agents how they are, at the right moment, and tells triage what was heard.

Invariant: silence counts only if we and the machine were able to hear; verdicts about an older instance are
dropped. One timer for everything; with nothing to ask and nobody looking there is no wake-up at all.
Called by the keeper when agents come, go or change; never writes anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from msgspec.structs import replace

from holdfast import limits
from holdfast.healing.model import Checked, GatePassed, Ladder, Phase, StartProgressed
from holdfast.health import gate as gates
from holdfast.health.http import ProbeEngine
from holdfast.health.model import HealthValue, ProbeResult, Verdict
from holdfast.health.schedule import Rota
from holdfast.health.usage import cpu_s
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching import ports
from holdfast.keeper.watching.resources import Resources
from holdfast.keeper.watching.starvation import Starvation

_VALUE_OF = {
    Verdict.OK: HealthValue.OK,
    Verdict.SLOW: HealthValue.SLOW,
    Verdict.FAILING: HealthValue.FAILING,
    Verdict.REFUSED: HealthValue.FAILING,
    Verdict.FOREIGN: HealthValue.FAILING,
    Verdict.STARVED: HealthValue.UNKNOWN,
}


class HealthLoop:
    """The engine, its rota and gates."""

    def __init__(
        self,
        agents: dict[str, Agent],
        healer: Healer,
        cgroups_of: Callable[[Agent], tuple[str, ...]],
        tasks: Tasks,
        resources: Resources,
        starvation: Starvation,
    ) -> None:
        self._agents = agents
        self._tasks = tasks
        self._owner_looks: dict[str, float] = {}  # agents whose port's owner is being looked at, or was found foreign
        self._healer = healer
        self._cgroups_of = cgroups_of
        self._engine = ProbeEngine(self._heard)
        self._rota = Rota()
        self._resources = resources
        self._asked: set[str] = set()  # agents with something to ask
        self._starting: set[str] = set()  # of these, whose gate is awaited
        self._host = starvation
        self.on_bad: Callable[[Agent, str, float], None] = lambda agent, verdict, now: None  # before its ladder hears
        self.deaf: Callable[[], bool] = lambda: (
            False
        )  # all are being stopped: an agent that closes its port is not sick
        self.on_good: Callable[[Agent], None] = lambda agent: None
        self.followers: list[Callable[[Agent, float], None]] = []  # other sources that follow the agent
        self._host.changed = self._host_changed
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._engine.fileno(), self._ready)
        self._host.begin()

    def close(self) -> None:
        self._host.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._engine.fileno())
        self._engine.close()

    # --- who is asked --------------------------------------------------------------------------------------------
    def follow(self, agent: Agent, now: float) -> None:
        """Bring what is asked of an agent in line with its ladder and its spec. Idempotent."""
        for also in self.followers:
            also(agent, now)
        ladder, name = agent.ladder, agent.name
        running = ladder.running and agent.world.pid > 0
        if running and agent.usage_of != agent.world.epoch:
            agent.usage_of = agent.world.epoch
            self._resources.began(agent, now)
        elif not running and agent.usage_of:
            self._resources.ended(name)
            agent.usage_of = 0
        asked = running and not agent.is_frozen
        question = gates.question(agent.spec.health, ladder.gate_passed) if asked else None
        if question is None:
            self.drop(name)
            agent.gate = None
            return
        if not ladder.gate_passed:
            if agent.gate is None or agent.gate.instance != ladder.instance:
                agent.gate = gates.opened(agent.spec.health, ladder.instance, agent.world.spawned_mono or now)
            self._starting.add(name)
        else:
            agent.gate = None
            self._starting.discard(name)
        self._asked.add(name)
        self._rota.set(name, gates.interval_s(agent.spec.health, ladder.gate_passed), now)
        self._wake_at(self._rota.next())

    def drop(self, name: str) -> None:
        """Ask this agent nothing any more."""
        if name in self._asked:
            self._asked.discard(name)
            self._starting.discard(name)
            self._rota.drop(name)
            self._engine.forget(name)
            self._owner_looks.pop(name, None)

    def forget(self, name: str) -> None:
        self.drop(name)
        self._resources.forget(name)

    # --- time ----------------------------------------------------------------------------------------------------
    def _wake_at(self, due: float | None) -> None:
        if due is None or self._loop is None:
            return
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        assert self._loop is not None
        self._timer = None
        now = self._loop.time()
        self._engine.on_time(now, max(0.0, now - self._timer_due))
        if self._asked:
            self._host.feel(now)
        for name in self._rota.due(now):
            self._ask(name, now)
        for name in list(self._starting):
            self._look_at_start(name, now)
        self._wake_at(self._rota.next())
        self._wake_at(self._engine.next_deadline())

    def _ready(self) -> None:
        self._engine.on_ready()
        self._wake_at(self._engine.next_deadline())

    def _ask(self, name: str, now: float) -> None:
        agent = self._agents.get(name)
        if agent is None or not agent.ladder.running:
            self.drop(name)
            return
        passed = agent.ladder.gate_passed
        question = gates.question(agent.spec.health, passed)
        if question is not None:
            age_s = max(0.0, now - agent.world.spawned_mono)
            self._engine.ask(name, agent.ladder.instance, question, agent.spec.health.timeout_s, age_s, gate=not passed)

    # --- what was heard ------------------------------------------------------------------------------------------
    def _heard(self, result: ProbeResult) -> None:
        assert self._loop is not None
        agent = self._agents.get(result.agent)
        if agent is None or result.instance != agent.ladder.instance or not agent.ladder.running or self.deaf():
            return
        now = self._loop.time()
        if result.verdict is Verdict.OK and (port := self._unproven(agent, gate=result.gate)) is not None:
            self._look_at_owner(agent, result, port, now)
            return  # nothing is said of the answer until the look is done
        self._judge(agent, result, now)

    def _judge(self, agent: Agent, result: ProbeResult, now: float) -> None:
        if agent.is_frozen:
            return  # asked before it fell asleep
        agent.checked_mono, agent.detail = now, result.detail
        agent.endpoint = _VALUE_OF[result.verdict]
        if result.verdict is Verdict.OK:
            agent.good_mono = now
            self.on_good(agent)
            if agent.ladder.incident == 0:
                agent.fault_mono = None
            if result.gate and not agent.ladder.gate_passed:
                self._passed(agent, now)
            elif _is_news(agent.ladder):
                self._healer.observe(agent, Checked(instance=result.instance, verdict=result.verdict), now)
            return
        self.on_bad(agent, result.verdict.value, now)
        if result.verdict is Verdict.STARVED:
            return
        if agent.fault_mono is None and agent.ladder.gate_passed:
            agent.fault_mono = agent.good_mono
        if self._host.starved:
            self._host.hold_back(agent, now)
        self._healer.observe(agent, Checked(instance=result.instance, verdict=result.verdict), now)

    def _unproven(self, agent: Agent, *, gate: bool) -> int | None:
        """The port whose owner has to be looked at before a good answer counts: once for each start and port."""
        ladder, health = agent.ladder, agent.spec.health
        started_here = agent.owner is not None and agent.owner[0] == ladder.instance
        if ladder.gate_passed and not started_here:
            return None  # passed before this keeper came
        port = ports.port_of(gates.question(health, passed=not gate))
        return None if port is None or agent.owner == (ladder.instance, port) else port

    def _look_at_owner(self, agent: Agent, result: ProbeResult, port: int, now: float) -> None:
        """Whose answer it was, beside the loop; where it was a stranger's, the next look waits a while."""
        if now < self._owner_looks.get(agent.name, 0.0):
            return
        self._owner_looks[agent.name] = float("inf")
        self._tasks.spawn(self._find_owner(agent, result, port))

    async def _find_owner(self, agent: Agent, result: ProbeResult, port: int) -> None:
        assert self._loop is not None
        own = (agent.world.pid, self._cgroups_of(agent), os.getppid())
        try:
            taken = await asyncio.to_thread(ports.stranger, agent.name, port, *own)
        except (OSError, RuntimeError):
            taken = ""  # not to be found out: the answer is believed
        now = self._loop.time()
        self._owner_looks[agent.name] = now + limits.PORT_LOOK_S if taken else 0.0
        if self._agents.get(agent.name) is not agent or result.instance != agent.ladder.instance:
            return
        if agent.ladder.running:
            if taken:
                agent.taken = taken
                result = replace(result, verdict=Verdict.FOREIGN, detail=taken)
            else:
                agent.owner = (result.instance, port)
            self._judge(agent, result, now)

    def _passed(self, agent: Agent, now: float) -> None:
        used = cpu_s(agent.world.pid, next(iter(self._cgroups_of(agent)), None)) if agent.world.pid else None
        body: dict[str, object] = {}
        if used is not None:
            agent.memory.start_cpu_s = round(used, 3)
            body["start_cpu_s"] = round(used, 3)
        self._healer.observe(
            agent, GatePassed(instance=agent.ladder.instance), now, record="ladder.gatepassed", body=body
        )
        self.follow(agent, now)

    def _look_at_start(self, name: str, now: float) -> None:
        """A start that burns CPU under load gets more time; one that does nothing gets none."""
        agent = self._agents.get(name)
        if agent is None or agent.gate is None or agent.ladder.gate_passed:
            self._starting.discard(name)
            return
        if now - agent.gate.looked_mono < limits.GATE_LOOK_S:
            return
        used = cpu_s(agent.world.pid, next(iter(self._cgroups_of(agent)), None))
        looked = gates.look(agent.gate, agent.spec.health, used or 0.0, now, self._host.starved)
        prolonged = looked.deadline_mono > agent.gate.deadline_mono
        agent.gate = looked
        if prolonged:
            seen = StartProgressed(instance=agent.ladder.instance, until_mono=looked.deadline_mono)
            self._healer.observe(agent, seen, now)

    def _host_changed(self, starved: bool, now: float) -> None:
        self._engine.host_starved = starved
        if starved:
            for name in list(self._starting):
                self._host.hold_back(self._agents[name], now)


def _is_news(ladder: Ladder) -> bool:
    """Whether a good check can change anything."""
    return bool(ladder.strikes) or ladder.good_since_mono is None or ladder.phase is not Phase.HEALTHY
