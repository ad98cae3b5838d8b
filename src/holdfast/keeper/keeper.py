"""The keeper of one home: desired state in, agents kept so. Wires the parts together.

Invariant: everything here runs in one loop, so that each call finds and leaves a consistent state; what must
survive is in the ledger before it is acted upon. Called by main.py (life) and by the API (requests).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from holdfast import errors, limits
from holdfast.alerts.hook import Outcome
from holdfast.clock import Clock
from holdfast.errors import HoldfastError
from holdfast.evidence.model import Bundle
from holdfast.healing.model import Commanded, Phase
from holdfast.home import Home
from holdfast.keeper import fleet as fleets
from holdfast.keeper import taking_up
from holdfast.keeper.acting.answering import Answering
from holdfast.keeper.acting.hands import InitHands
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.acting.intake import Intake
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.acting.maintenance import MaintenanceWatch
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.acting.planned import PlannedRestarts
from holdfast.keeper.acting.queue import StartQueue
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.checkpoint import Checkpoint
from holdfast.keeper.density import growth_wiring, loop_wiring, sleeping_wiring
from holdfast.keeper.density.disk_room import DiskRoom
from holdfast.keeper.density.histories import Histories
from holdfast.keeper.density.scaling import first_ladder
from holdfast.keeper.density.starts import Starts
from holdfast.keeper.density.telling import Telling
from holdfast.keeper.recall import Recalled
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.state import state_wiring
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.alarms import Alarms
from holdfast.keeper.telling.cases import Casebook, Ears
from holdfast.keeper.telling.collecting import Collecting, secret_values
from holdfast.keeper.telling.evidence import AfterFault
from holdfast.keeper.telling.findings import Findings
from holdfast.keeper.telling.outgoing import Outgoing
from holdfast.keeper.watching import beats
from holdfast.keeper.watching.beats import BeatsLoop
from holdfast.keeper.watching.behaviour import Behaviour
from holdfast.keeper.watching.capped_files import CappedFiles
from holdfast.keeper.watching.disk_watch import DiskWatch
from holdfast.keeper.watching.health import HealthLoop
from holdfast.keeper.watching.listening import Listening
from holdfast.keeper.watching.log_settings import LogSettings
from holdfast.keeper.watching.node_watch import NodeWatch, Parts
from holdfast.keeper.watching.proven import ProvenRuns
from holdfast.keeper.watching.resources import Resources
from holdfast.keeper.watching.starvation import Starvation
from holdfast.ledger.chain import Ledger
from holdfast.spec.model import AgentSpec, FleetSpec


class Keeper:
    """See the module. Made inside a running loop by main.py, with what was recalled."""

    def __init__(
        self, home: Home, clock: Clock, ledger: Ledger, places: NodePlaces, recalled: Recalled, boot_id: str
    ) -> None:
        self.home = home
        self.clock = clock
        self.boot_id = boot_id
        self.stopping = False
        self.on_absent: Callable[[float], None] = lambda gone_s: None  # set by main.py, which may wake guard
        self.fleet = recalled.fleet or FleetSpec()
        self.agents: dict[str, Agent] = {}
        self.tasks = Tasks()
        self.places = places
        self.recorder = Recorder(ledger, self._on_record)
        self.outgoing = Outgoing(clock, self.tasks, lambda: self.fleet.alerts, self._alert_changed, self.recorder)
        self.proven = ProvenRuns(
            self.agents, self.recorder, self.tasks, clock, boot_id, home.home_id(), self.agent_changed
        )
        evidence = AfterFault(
            self.agents, home, clock, places.cgroups_of, self.proven, curve=lambda name: self.resources.curve(name)
        )
        self.findings = Findings(self.agents, self.recorder, self.agent_changed)
        ears = Ears(
            lambda incident: self.checkpoint.incident(incident.id), self.findings.explained, self.findings.judged
        )
        self.casebook = Casebook(home, clock, self.tasks, self.outgoing, evidence, ears, self._secrets_of, boot_id)
        self.collecting = Collecting(places.cgroups_of, self._looked_into)
        self.link = InitLink(
            home.init_socket,
            on_hello=lambda state: self.intake.hello(state),
            on_events=lambda batch: self.intake.events(batch),
            on_lost=lambda: self.intake.lost(),
            on_absent=lambda gone_s: self.on_absent(gone_s),
        )
        self.hands = InitHands(
            self.link,
            places,
            self.tasks,
            self.collecting,
            clock.now_mono,
            failed=self._start_failed,
            not_there=self._not_there,
            changed=self.agent_changed,
        )
        places.answering = self.hands.asking = Answering(home.path, self.tasks)
        self.healer = Healer(
            self.agents,
            self.recorder,
            self.hands,
            self.casebook,
            changed=self.agent_changed,
            slots_wanted=lambda: self.queue.look(),
        )
        self.behaviour = Behaviour(self.agents, self.healer)
        self.alarms = Alarms(self.recorder, self.outgoing, clock, home.home_id())
        self.log_settings = LogSettings(home, self.agents, lambda: self.fleet, self.behaviour.report, clock.now_mono)
        self.resources = Resources(
            self.agents, clock, self.tasks, home, self.alarms, places.cgroups_of, self.behaviour.report
        )
        self.capped = CappedFiles(self.agents, home, self.tasks, self.recorder, places.rights, self.behaviour.report)
        self.hands.settling = self.capped
        self.starvation = Starvation(self.agents, self.healer)
        self.health = HealthLoop(
            self.agents, self.healer, places.cgroups_of, self.tasks, self.resources, self.starvation
        )
        self.beats = BeatsLoop(
            self.agents,
            self.healer,
            self.behaviour,
            self.recorder,
            self.starvation,
            changed=lambda agent: self.checkpoint.agent(agent.name),
        )
        self.health.followers.append(self.beats.follow)
        self.healer.let_go = self.beats.resume
        self.listening = Listening(
            self.agents, self.behaviour, home, clock, places, self.tasks, lambda now: self.starvation.feel(now)
        )
        self.health.followers.append(self.listening.follow)
        self.health.followers.append(self.capped.follow)
        self.snapshots, self.upkeep, self.removing = state_wiring.build(self)
        self.restoring, self.faults = state_wiring.join_restores(self)
        disks = DiskWatch(self.agents, home, self.alarms, self.tasks)
        self.node = NodeWatch(
            Parts(
                self.agents,
                home,
                clock,
                self.healer,
                self.starvation,
                self.recorder,
                self.outgoing,
                self.casebook,
                disks,
                boot_id,
            )
        )
        self.health.followers.append(self.node.follow)
        self.node.on_away.append(lambda gap_s: self._look_at_plans())
        self.health.on_bad, self.health.on_good = self.node.heard_bad, self.node.heard_good
        self.health.deaf = lambda: self.stopping
        self.behaviour.heard = self.node.misbehaves
        self.casebook.covered = self.node.covers
        self.semaphore = loop_wiring.build(self)
        self.histories = Histories(self.semaphore.lease, lambda name: self.checkpoint.agent(name))
        self.resources.looked.append(self.histories.looked)
        self.telling = Telling(self.semaphore, self.alarms)
        self.health.followers.append(self.telling.follow)
        self.sleepers = sleeping_wiring.build(self)
        self.growth = growth_wiring.growth(self)
        self.scaler = growth_wiring.scaler(self)
        self.neighbours = growth_wiring.neighbour_watch(self)
        self.starts = Starts(
            self.agents,
            self.recorder,
            changed=lambda agent: self.checkpoint.agent(agent.name),
            settled=lambda: self.queue.lease_back(),
            learned=lambda: self.queue.look(),
            guess_most=lambda: loop_wiring.guess_most(self),
        )
        self.health.followers.append(self.starts.seen)
        self.queue = StartQueue(
            self.agents,
            self._grant,
            lambda: self.intake.is_adopted and not self.stopping,
            self.starts,
            self.semaphore,
            DiskRoom(self.agents, lambda: disks.seen, self.resources.disk_bytes).kept_out,
        )
        self.intake = Intake(
            self.agents,
            self.recorder,
            self.healer,
            self.hands,
            self.health,
            self.beats,
            places,
            adopted=self._adopted,
            gone=self.gone,
            changed=self.agent_changed,
            died=self._died,
            moved_in=self._moved_in,
        )
        loop_wiring.join(self)
        self.intake.link = self.link
        self.maintenance = MaintenanceWatch(self.agents, clock, self.recorder, self.hands.renew_permit)
        self.planned = PlannedRestarts(
            self.agents,
            clock,
            self.recorder,
            idle=beats.idle,
            restart=lambda agent, why: self.command(agent, "restart", why),
            ready=lambda: self.intake.is_adopted and not self.stopping,
            changed=self.agent_changed,
        )
        self.checkpoint = Checkpoint(self, recalled)
        self.listening.expect(self.fleet.agents)
        taking_up.take_up(self, recalled)
        self.maintenance.look()  # before the world is compared: what is held back must stay so

    # --- life ----------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """For ever: hold the line to init; everything else is driven by events and timers."""
        self.health.begin()
        self.node.begin([one for one in self.casebook.known.values() if one.node and one.closed_at is None])
        self.proven.begin()
        self.sleepers.begin()
        self.scaler.begin()
        self.upkeep.begin()
        self.restoring.begin()
        self.outgoing.look()
        self.log_settings.begin()
        try:
            await self.link.run()
        finally:
            self.link.close()

    async def close(self) -> None:
        """Finish what is under way, checkpoint, let go. Agents are not touched."""
        self.scaler.close()
        self.sleepers.close()
        self.semaphore.close()
        self.upkeep.close()
        self.restoring.close()
        self.snapshots.close()
        self.capped.close()
        self.planned.close()
        self.maintenance.close()
        self.proven.close()
        self.healer.close()
        self.outgoing.close()
        self.listening.close()
        await self.tasks.finish(limits.KEEPER_FINISH_S)
        self.health.close()
        self.beats.close()
        self.resources.close()
        self.node.close()
        self.log_settings.close()
        self.recorder.record("keeper.stopped", "", f"keeper stopped (process {os.getpid()})")
        self.checkpoint.close()
        self.recorder.ledger.close()

    def add(self, spec: AgentSpec, memory: Memory | None) -> Agent:
        agent = Agent(spec, fleets.policy_of(spec), memory or Memory(ladder=first_ladder(spec)))
        self.agents[spec.name] = agent
        self.restoring.added(agent)
        return agent

    def _adopted(self) -> None:
        self.semaphore.begin()
        self.sleepers.look()
        self.queue.look()
        self._look_at_plans()
        numbers = {name: agent.memory.pod for name, agent in self.agents.items()}
        self.tasks.spawn(asyncio.to_thread(self.places.tidy, numbers, list(numbers)))

    def _look_at_plans(self) -> None:
        """What stands in the calendar: looked at when all is known, and when the clock has moved."""
        self.maintenance.look()
        self.planned.look()

    def _grant(self, agent: Agent, seen: Any) -> None:
        self.healer.observe(agent, seen, self.clock.now_mono())

    def _start_failed(self, agent: Agent, reason: str) -> None:
        """Called in the middle of an act: the ladder hears of it in the next turn."""
        asyncio.get_running_loop().call_soon(self.intake.could_not_start, agent, reason)

    def _not_there(self, agent: Agent) -> None:
        asyncio.get_running_loop().call_soon(self.intake.not_there, agent)

    def gone(self, agent: Agent) -> None:
        """An agent taken out of the fleet is down: nothing of it is kept but its logs and the ledger."""
        self.link.send("forget", agent=agent.name)
        self.agents.pop(agent.name, None)
        self.health.forget(agent.name)
        self.node.forget(agent.name)
        self.listening.gone(agent.name)
        self.capped.gone(agent.name)
        self.snapshots.gone(agent.name)
        self.faults.gone(agent.name)
        self.collecting.forget(agent.name)
        self.semaphore.gone(agent)
        self.starts.gone(agent)
        self.histories.gone(agent.name)
        self.sleepers.gone(agent.name)
        self.growth.forget(agent.name)
        self.recorder.record("agent.forgotten", agent.name, "was taken out of the fleet", {"forgotten": True})
        self.checkpoint.agent_gone(agent.name)
        self.tasks.spawn(_until_left(lambda: agent.name in self.agents or self.places.forget(agent)))

    def _moved_in(self, agent: Agent) -> None:
        """It runs in a new place: the former ones go when they are empty."""
        number = agent.memory.pod
        self.tasks.spawn(_until_left(lambda: self.places.leave_former(agent, number)))

    # --- what changed --------------------------------------------------------------------------------------------
    def _on_record(self, name: str, at: float, text: str) -> None:
        agent = self.agents.get(name)
        if agent is not None:
            self.checkpoint.agent(name)  # with the record's number stands what it changed: replay begins behind it
            self.casebook.note(agent, at, text)

    def _died(self, agent: Agent) -> None:
        """An end that nobody planned."""
        self.casebook.died(agent)
        self.restoring.died(agent)
        self.faults.died(agent)

    def agent_changed(self, agent: Agent) -> None:
        self.faults.changed(agent)
        self.restoring.changed(agent)
        self.checkpoint.agent(agent.name)
        self.queue.changed(agent)

    def _looked_into(self, agent: Agent, bundle: Bundle | None, why: str) -> None:
        self.findings.looked_into(agent, bundle, why)
        self.casebook.looked_into(agent, bundle, why)

    def _secrets_of(self, name: str) -> tuple[str, ...]:
        agent = self.agents.get(name)
        if agent is None:
            return ()
        token = self.listening.pushes.door.tokens.get(name)
        return (*secret_values(agent.spec), *([token] if token else []))

    def _alert_changed(self, alert_id: str, waiting: object) -> None:
        self.checkpoint.alert(alert_id)

    # --- what people ask for -------------------------------------------------------------------------------------
    def phase(self, name: str) -> Phase:
        return self.agent(name).ladder.phase

    def agent(self, name: str) -> Agent:
        agent = self.agents.get(name)
        if agent is None:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)
        return agent

    def set_wanted(self, name: str, *, up: bool) -> None:
        agent = self.agent(name)
        if up:
            self.sleepers.wake(agent, "a person started it")  # for its ladder a frozen one runs already
        self.command(agent, "start" if up else "stop")

    def restart(self, name: str) -> None:
        self.command(self.agent(name), "restart")

    def command(self, agent: Agent, what: Any, why: str = "a person asked") -> None:
        words = f"{why}: {what}"
        self.healer.observe(
            agent, Commanded(what=what), self.clock.now_mono(), record=f"agent.{what}", text=words, body={}
        )
        self.health.follow(agent, self.clock.now_mono())

    async def test_alerts(self) -> list[Outcome]:
        outcomes = await self.outgoing.test(os.uname().nodename)
        self.checkpoint.meta()
        return outcomes


async def _until_left(leave: Callable[[], bool]) -> None:
    """Have something taken away in a thread, again with growing pauses while it is in use. Bounded."""
    for number in range(limits.LEAVE_POD_TRIES):
        if await asyncio.to_thread(leave):
            return
        await asyncio.sleep(limits.LEAVE_POD_PAUSE_S * 2**number)
