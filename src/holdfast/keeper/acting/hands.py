"""Carries out what triage decided: words to init, preceded by what has to be prepared on the machine.

Invariant: every act names the instance it was decided about and may be sent twice; an act that cannot be prepared
becomes an observation (the spawn failed, and why), never an exception. Called by the healer and the keeper.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec

from holdfast import limits
from holdfast.errors import HoldfastError
from holdfast.healing.actions import Recreate, RestartTree, Restore, Start, StopTree
from holdfast.healing.model import Tier
from holdfast.init.protocol import AgentDef
from holdfast.keeper.acting import permits
from holdfast.keeper.acting.fold import world_of
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.acting.preparing import Asking, Holding, Keeping, Looking, Places, Settling
from holdfast.keeper.agent import LIVING, Agent
from holdfast.keeper.tasks import Tasks


class InitHands:
    """See healer.Hands."""

    def __init__(
        self,
        link: InitLink,
        places: Places,
        tasks: Tasks,
        looking: Looking,
        now_mono: Callable[[], float],
        failed: Callable[[Agent, str], None],
        not_there: Callable[[Agent], None],
        changed: Callable[[Agent], None],
    ) -> None:
        self._link = link
        self._places = places
        self._tasks = tasks
        self._looking = looking
        self._now_mono = now_mono
        self._failed = failed
        self._not_there = not_there
        self._changed = changed
        self.settling: Settling | None = None
        self.holding: Holding | None = None
        self.keeping: Keeping | None = None
        self.asking: Asking | None = None
        self.rouse: Callable[[Agent], None] = lambda agent: None  # before its processes are acted upon: see sleeping.py
        self.before_spawn: Callable[[Agent], None] = lambda agent: None  # its ports have to be free
        self.ending: dict[str, int] = {}  # the instance of an agent that was told to end, by name

    # --- acts ----------------------------------------------------------------------------------------------------
    def start(self, agent: Agent, act: Start) -> None:
        self._when_free(agent, act.instance, lambda: self._when_settled(agent, act))

    def _when_free(self, agent: Agent, instance: int, go_on: Callable[[], object]) -> None:
        """At once when nothing holds it. An order given meanwhile takes its place, as for the other delays."""
        holding = self.holding
        if holding is None or not holding.waits(agent):
            go_on()
            return
        number = agent.stops

        async def wait_then_go_on() -> None:
            why = await holding.settle(agent)
            if agent.stops != number or agent.ladder.instance != instance or not agent.ladder.wanted:
                return
            if why:
                self._failed(agent, why)
            else:
                go_on()

        self._tasks.spawn(wait_then_go_on())

    def _when_settled(self, agent: Agent, act: Start) -> None:
        if self.settling is None or not self.settling.waits(agent):
            self._start(agent, act)
            return
        settling, number = self.settling, agent.stops

        async def settle_then_start() -> None:
            await settling.settle(agent)
            if agent.stops == number and agent.ladder.instance == act.instance and agent.ladder.wanted:
                self._start(agent, act)

        self._tasks.spawn(settle_then_start())

    def _start(self, agent: Agent, act: Start) -> None:
        def define_then_start() -> None:
            if self._define_now(agent):
                self.before_spawn(agent)
                self._link.send("start", agent=agent.name, cause="start", instance=act.instance)

        self._when_its_files_answer(agent, act.instance, define_then_start)

    def restart(self, agent: Agent, act: RestartTree) -> None:
        self._when_free(
            agent,
            act.instance,
            lambda: self._when_its_files_answer(agent, act.instance, lambda: self._restart(agent, act)),
        )

    def _when_its_files_answer(self, agent: Agent, instance: int, go_on: Callable[[], object]) -> None:
        """At once when its files are local. An order given meanwhile takes its place, as for the other delays."""
        asking = self.asking
        if asking is None or not asking.in_doubt(agent.spec):
            go_on()
            return
        number = agent.stops

        async def ask_then_go_on() -> None:
            why = await asking.unanswered(agent.spec)
            if agent.stops != number or agent.ladder.instance != instance or not agent.ladder.wanted:
                return
            if why:
                self._failed(agent, why)
            else:
                go_on()

        self._tasks.spawn(ask_then_go_on())

    def _restart(self, agent: Agent, act: RestartTree) -> None:
        self.rouse(agent)
        if not self._define_now(agent):
            return
        fields = {
            "signal": agent.spec.stop.signal,
            "grace_s": act.grace_s,
            "cause": "restart",
            "instance": act.instance,
        }
        if act.tier is Tier.NONE and not act.hung:
            self._planned("restart", agent, fields)
        else:
            self._when_looked_into(agent, act.instance, act.hung, lambda: self._say("restart", agent, fields))

    def recreate(self, agent: Agent, act: Recreate) -> None:
        self._when_looked_into(
            agent,
            act.instance,
            True,
            lambda: self._when_free(
                agent,
                act.instance,
                lambda: self._when_its_files_answer(agent, act.instance, lambda: self._recreate(agent, act)),
            ),
        )

    def restore(self, agent: Agent, act: Restore) -> None:
        holding = self.holding
        if holding is None:
            self._failed(agent, "nothing can be restored")
            return
        self._when_looked_into(agent, act.instance, True, lambda: holding.by_ladder(agent, act))

    def start_again(self, agent: Agent, instance: int) -> None:
        """The next instance after `instance`, which is down. May be said twice."""
        self._when_its_files_answer(agent, instance, lambda: self._start_again(agent, instance))

    def _start_again(self, agent: Agent, instance: int) -> None:
        if self._define_now(agent):
            self.before_spawn(agent)
            fields = {"signal": agent.spec.stop.signal, "grace_s": agent.spec.stop.hung_grace_s, "cause": "restart"}
            self._link.send("restart", agent=agent.name, instance=instance, **fields)

    def _when_looked_into(self, agent: Agent, instance: int, hung: bool, go_on: Callable[[], object]) -> None:
        """Do it once the evidence is taken or its time is over; at once when there is none to take.

        An order given meanwhile takes its place. A keeper that dies in between does the act again, as every act is.
        """
        agent.stops += 1
        if not hung or not self._looking.wanted(agent, instance):
            go_on()
            return
        number = agent.stops

        async def look_then_go_on() -> None:
            await self._looking.look(agent, instance)
            if agent.stops == number and agent.ladder.instance == instance and agent.ladder.wanted:
                go_on()

        self._tasks.spawn(look_then_go_on())

    def _recreate(self, agent: Agent, act: Recreate) -> None:
        """The number of the place was raised before (it is in the ledger); making it twice gives the same one."""
        try:
            definition = self._places.recreate(agent)
        except (HoldfastError, OSError) as error:
            self._failed(agent, str(error))
            return
        if not self._define(agent, definition):
            return
        self.rouse(agent)
        self.before_spawn(agent)
        fields = {"signal": agent.spec.stop.signal, "grace_s": act.grace_s, "cause": "restart"}
        self._say("restart", agent, {**fields, "instance": act.instance})

    def stop(self, agent: Agent, act: StopTree) -> None:
        self.rouse(agent)
        if self._link.connected and agent.world.state == "unknown":
            self._not_there(agent)
            return
        fields = {"signal": agent.spec.stop.signal, "grace_s": act.grace_s, "cause": "stop"}
        if (
            agent.ladder.aside == "shed"
        ):  # memory is needed now: nothing is kept first, and who has no grace is not told
            agent.stops += 1
            say = self._say if act.grace_s == 0 else self._announce_then_say
            say("stop", agent, fields)
        else:
            self._planned("stop", agent, fields)

    def kill(self, agent: Agent) -> None:
        """The whole tree at once, frozen or not; it stays down. May be said twice."""
        self._say("kill", agent, {"instance": agent.world.epoch, "cause": "its memory is needed"})

    def _say(self, op: str, agent: Agent, fields: dict[str, Any]) -> None:
        """Tell init to end the running instance."""
        if self._link.send(op, agent=agent.name, **fields):
            self.ending[agent.name] = agent.world.epoch

    def _planned(self, op: str, agent: Agent, fields: dict[str, Any]) -> None:
        """A planned stop or restart: its state is kept first, as it is while the agent works."""
        agent.stops += 1
        keeping, number, instance = self.keeping, agent.stops, agent.world.epoch
        if keeping is None or not keeping.wanted(agent):
            self._announce_then_say(op, agent, fields)
            return

        async def keep_then_say() -> None:
            await keeping.before_stop(agent)
            if agent.stops == number and agent.world.epoch == instance:
                self._announce_then_say(op, agent, fields)

        self._tasks.spawn(keep_then_say())

    def _announce_then_say(self, op: str, agent: Agent, fields: dict[str, Any]) -> None:
        """Tell the agent by its recipe's files that a stop is planned, then say so to init."""
        if agent.world.pid:
            self._places.announce(agent, op, float(fields["grace_s"]))
        if not agent.world.pid or not self._places.stop_writes(agent):
            self._say(op, agent, fields)
            return
        number, instance = agent.stops, agent.world.epoch

        async def write_then_say() -> None:
            await self._write_stop_files(agent)
            if agent.stops == number and agent.world.epoch == instance:
                self._say(op, agent, fields)

        self._tasks.spawn(write_then_say())

    async def announce_stop(self, agent: Agent, what: str = "down") -> None:
        """Tell a running agent that its stop is planned: with all of Holdfast, or another. Bounded, never raises."""
        if agent.world.pid:
            self._places.announce(agent, what, agent.spec.stop.grace_s)
        await self._write_stop_files(agent)

    async def _write_stop_files(self, agent: Agent) -> None:
        """What its recipe knows as the announcement of a stop. Bounded, never raises."""
        writes = self._places.stop_writes(agent) if agent.world.pid else ()
        if not writes:
            return
        try:
            async with asyncio.timeout(limits.STOP_FILES_TIMEOUT_S):
                await self._places.write_as_agent(agent, writes)
        except (HoldfastError, OSError, TimeoutError):
            return  # an unannounced stop is still the stop that was asked for

    # --- what init has to know -----------------------------------------------------------------------------------
    def define(self, agent: Agent) -> None:
        """Make sure that init has the agent's present definition, as soon as its files answer."""
        self._when_its_files_answer(agent, agent.ladder.instance, lambda: self._define_now(agent))

    def _define_now(self, agent: Agent) -> bool:
        """False (and said so) when there can be none."""
        try:
            definition = self._places.definition(agent)
        except (HoldfastError, OSError) as error:
            self._failed(agent, str(error))
            return False
        return self._define(agent, definition)

    def _define(self, agent: Agent, definition: AgentDef) -> bool:
        body = asdict(definition)
        digest = hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()[:32]
        if digest == agent.memory.defined and agent.world.state != "unknown":
            self.renew_permit(agent)
            return True
        permit = self._permit(agent)
        if permit is None:
            permit = agent.permit_held or permits.Permit(ask_codes=agent.spec.ask_codes)
        sent = self._send_definition(agent, body, permit, digest)
        agent.permit_held = permit if sent else None
        return sent

    def _send_definition(self, agent: Agent, body: dict[str, Any], permit: permits.Permit, digest: str) -> bool:
        """init works in order, so what follows on the line already finds the definition."""
        if not self._link.connected:
            return False
        agent.memory.defined = ""

        def answered(future: asyncio.Future[dict[str, Any]]) -> None:
            if future.cancelled() or future.exception() is not None:
                return  # the next hello finds it missing
            answer = future.result()
            if not answer.get("ok"):
                self._failed(agent, f"init refused its definition: {answer.get('error')}")
                return
            agent.memory.defined = digest
            self._changed(agent)
            told = world_of(answer)
            if told.epoch > agent.world.epoch or agent.world.state == "unknown":
                agent.world = told

        self._link.request(
            "define",
            agent=agent.name,
            **{"def": body},
            permit=permits.message(permit),
            epoch=agent.ladder.instance,
        ).add_done_callback(answered)
        return True

    def renew_permit(self, agent: Agent) -> None:
        """Tell init when what it may do alone has changed."""
        if not self._link.connected or agent.world.state == "unknown":
            return
        wanted = self._permit(agent)
        if wanted is None or permits.same(agent.permit_held, wanted):
            return
        fence = {"instance": wanted.instance, "while_running": wanted.while_running}
        if self._link.send("permit", agent=agent.name, permit=permits.message(wanted), **fence):
            agent.permit_held = wanted

    def _permit(self, agent: Agent) -> permits.Permit | None:
        asking, guarded = self.asking, agent.spec.guarded_files
        may_look = asking is None or not guarded or asking.is_local(guarded)
        return permits.compute(agent.spec, agent.policy, agent.ladder, self._now_mono(), may_look=may_look)

    def stop_stranger(self, name: str, state: str) -> None:
        """An agent that is in no fleet: stop it by its own definition's signal and grace, or forget it when down."""
        if state in LIVING or state in ("sweeping", "waiting"):
            self._link.send("stop", agent=name, cause="not in the fleet")
        else:
            self._link.send("forget", agent=name)
