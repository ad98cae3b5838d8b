"""Restores of agents' state: stop, exchange, start, and the former state back when the agent does not get well.

Invariants: while the trees change places the agent is down and nothing starts it (`waits` holds back every act that
would); the intent is in the ledger before it is stopped, so a keeper that dies anywhere is followed by one that
finishes or undoes; at any time an agent's state is all old or all new. Who asks: restore_requests.py (people) and
tier_three.py (the ladder). Told of every change of an agent by the keeper.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins
from msgspec.structs import replace

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.healing.actions import Restore
from holdfast.keeper.agent import Agent
from holdfast.keeper.state.courses import Course
from holdfast.keeper.state.halting import Halting
from holdfast.keeper.state.kept_looks import KeptLooks
from holdfast.keeper.state.restore_course import (
    By,
    Restoration,
    Stage,
    Undone,
    Verdict,
    healed,
    judge,
    of_intent,
    restored,
    stamp,
    told,
)
from holdfast.keeper.state.restore_requests import Requests
from holdfast.keeper.state.state_jobs import result_of, words
from holdfast.keeper.state.tier_three import TierThree
from holdfast.keeper.state.worker_link import Message
from holdfast.keeper.telling.cases import case_body
from holdfast.state.restore.intent import INTENT_NAME
from holdfast.worker.protocol import JobFailed

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper

VARIABLE = "HOLDFAST_RESTORED_FROM"
Last = Callable[[Restoration], Awaitable[Restoration]]
STAYS = "the restored state was not taken back before the next restore"


class Restoring:
    """See the module. `close` ends the timer; what is under way is found again by the next keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._jobs = keeper.snapshots.jobs
        self._halting = Halting(keeper.link, keeper.hands)
        self._courses: dict[str, Course] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._kept_looks = KeptLooks(keeper)
        self._tier_three = TierThree(keeper, self)
        self._requests = Requests(keeper, self)

    def begin(self) -> None:
        """Trees that were kept are looked at from now on."""
        self._kept_looks.begin()

    def close(self) -> None:
        self._kept_looks.close()
        if self._timer is not None:
            self._timer.cancel()

    def restore(self, agent: str, snapshot: str, *, path: str | None = None) -> AsyncIterator[Message]:
        """A person's, in place: progress, and last answers.Restored. Raises HoldfastError, JobFailed."""
        return self._requests.restore(agent, snapshot, path)

    # --- the gate of starts --------------------------------------------------------------------------------------
    def waits(self, agent: Agent) -> bool:
        """Whether it must not be started now."""
        course = self._courses.get(agent.name)
        return course is not None and course.hold

    async def settle(self, agent: Agent) -> str:
        """Returns when it may be started, "", or why it cannot be. Never raises."""
        course = self._courses.get(agent.name)
        if course is None or not course.hold:
            return ""
        if course.stuck:
            self._courses.pop(agent.name)
            course = self._take_up(agent)
        await course.done.wait()
        return course.stuck

    async def halt(self, agent: Agent, grace_s: float) -> bool:
        """See it down, whatever it was about to do. Never raises."""
        return await self._halting.halt(agent, grace_s, planned=False)

    def by_ladder(self, agent: Agent, act: Restore) -> None:
        self._tier_three.act(agent, act)

    # --- agents come and change ----------------------------------------------------------------------------------
    def added(self, agent: Agent) -> None:
        """It is in the fleet: what a former keeper left half-way is taken up before it is started."""
        self.follow(agent)
        left = (self._jobs.directory(agent.name) / INTENT_NAME).exists()
        if (agent.memory.restoration is not None or left) and agent.name not in self._courses:
            self._take_up(agent)

    def follow(self, agent: Agent) -> None:
        """Its definition or its snapshots changed: whether the ladder may restore. Idempotent."""
        available = bool(agent.spec.state.paths) and self._has_snapshot(agent.name)
        if agent.policy.restore_available is not available:
            agent.policy = replace(agent.policy, restore_available=available)

    def _has_snapshot(self, name: str) -> bool:
        try:
            with os.scandir(self._jobs.directory(name) / "repo" / "snaps") as found:
                return any(not one.name.startswith(".") for one in found)
        except OSError:
            return False

    def env(self, name: str) -> dict[str, str]:
        """What its next instance is told."""
        agent = self._keeper.agents.get(name)
        return {VARIABLE: agent.memory.restored_from} if agent is not None and agent.memory.restored_from else {}

    def changed(self, agent: Agent) -> None:
        """Its ladder changed. Called before the acts that follow from that."""
        memory = agent.memory
        if agent.policy.restore_available:
            self.follow(agent)  # its last snapshot may have been deleted
        if memory.restored_from and memory.ladder.planned_stop and agent.name not in self._courses:
            memory.restored_from = ""  # it has been told once
        if memory.restoration is not None:
            self._judge(agent)
            self._arm()

    def died(self, agent: Agent) -> None:
        """An end of it that nobody planned."""
        one = agent.memory.restoration
        if one is not None and one.stage is Stage.PROBATION and agent.ladder.instance > one.instance:
            self.note(agent, replace(one, deaths=one.deaths + 1), "", "")
            self._judge(agent)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(limits.RESTORE_LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        waiting = [agent for agent in self._keeper.agents.values() if agent.memory.restoration is not None]
        for agent in waiting:
            self._judge(agent)
        if waiting:
            self._arm()

    def _judge(self, agent: Agent) -> None:
        one = agent.memory.restoration
        if one is None or agent.name in self._courses:
            return
        verdict, why = judge(one, agent.ladder, agent.policy, self._keeper.clock.now_mono())
        if verdict is Verdict.KEEP:
            self._keeper.tasks.spawn(self._kept(agent, self.claim(agent.name)))
        elif verdict is Verdict.BACK:
            self._keeper.tasks.spawn(self._back(agent, self.claim(agent.name, hold=True), why))

    # --- courses -------------------------------------------------------------------------------------------------
    def claim(self, name: str, *, hold: bool = False) -> Course:
        """One restore of an agent at a time. Raises HoldfastError RESTORE_UNDER_WAY."""
        if name in self._courses and not self._courses[name].stuck:
            one = self._keeper.agents[name].memory.restoration if name in self._keeper.agents else None
            shown = one.short if one is not None else "?"
            raise HoldfastError(errors.RESTORE_UNDER_WAY, agent=name, snapshot=shown)
        course = self._courses[name] = Course(self._jobs.args(name))
        if hold:
            self.hold(name, course)
        return course

    def hold(self, name: str, course: Course) -> None:
        """From here on nothing starts the agent: also no act that was on its way, waiting for evidence or files."""
        if not course.hold and name in self._keeper.agents:
            self._keeper.agents[name].stops += 1  # those who wait for `settle` came later, and stay
        course.hold = True
        self._keeper.snapshots.held_back.add(name)

    def end(self, name: str, course: Course, stuck: str = "") -> None:
        """Whoever waits goes on. `stuck`: why the agent cannot be started: it is tried again with its next start."""
        course.stuck = stuck
        course.done.set()
        if self._courses.get(name) is course and not stuck:
            del self._courses[name]
        self._keeper.snapshots.held_back.discard(name)

    async def after_what_was_left(self, name: str) -> None:
        """When a former restore, which only has to come to its end, has done so: no reason to refuse another one."""
        course = self._courses.get(name)
        if course is not None and course.left:
            await course.done.wait()

    def under_way(self, name: str) -> Course | None:
        return self._courses.get(name)

    async def job(self, name: str, course: Course, job: str, **more: Any) -> AsyncGenerator[Message, None]:
        """What a job of it says. Raises JobFailed, HoldfastError."""
        async with self._jobs.writing(name):
            async for message in self._jobs.link.job(job, {**course.args, **more}):
                yield message

    async def ask(self, name: str, course: Course, job: str, **more: Any) -> dict[str, Any]:
        return await result_of(self.job(name, course, job, **more))

    def note(self, agent: Agent, one: Restoration | None, kind: str, text: str, **more: Any) -> None:
        """Remember how far it is; in the ledger, and on the disk, when it has a kind of record."""
        agent.memory.restoration = one
        if "restored_from" in more:
            agent.memory.restored_from = more["restored_from"]
        if kind:
            body = {"restoration": None if one is None else to_builtins(one), **more}
            self._keeper.recorder.record(kind, agent.name, text, body, durable=True)
        self._keeper.checkpoint.agent(agent.name)
        if one is not None:
            self._arm()

    # --- stop, exchange ------------------------------------------------------------------------------------------
    async def exchange(
        self, agent: Agent, course: Course, one: Restoration, *, grace_s: float, last: Last | None = None
    ) -> Restoration:
        """From what is built to the restored state, the agent down. Raises Undone; and HoldfastError RESTORE_STUCK.

        `last`: what is done with the former state when the agent is down; never raises.
        """
        name, planned = agent.name, one.by is By.PERSON
        self.hold(name, course)
        text = f"its state of {stamp(one.at)} (snapshot {one.short}) is put in the place of what is there"
        self.note(agent, one, "state.restoring", text)
        if planned and agent.ladder.running and agent.ladder.wanted:
            self._keeper.command(agent, "restart", f"its state is restored from snapshot {one.short}")
        if not await self._halting.halt(agent, grace_s, planned=planned):
            await self._land(name, course)
            raise Undone("it could not be stopped")
        one = replace(one, instance=agent.ladder.instance)
        if last is not None:
            one = await last(one)
        tell = {
            "snapshot": one.snapshot,
            "at": one.at,
            "lost_s": one.lost_s,
            "reason": one.damage,
            "damaged": not planned,
        }
        try:
            done = await self.ask(name, course, "restore-exchange", tell=tell)
        except (JobFailed, HoldfastError) as failed:
            landed = await self._land(name, course, tell=tell)
            if landed["outcome"] != "new":
                raise Undone(words(failed)) from failed
            done = {**landed["intent"], **landed}
        return self._exchanged(agent, one, done)

    def _exchanged(self, agent: Agent, one: Restoration, done: dict[str, Any]) -> Restoration:
        one = replace(
            one,
            stage=Stage.PROBATION,
            trees=tuple(done.get("old_trees", ())),
            left_behind=one.left_behind or bool(done.get("left_behind")),
        )
        self._keeper.faults.restored(agent)
        incident = agent.incident
        if incident is not None and one.by is By.LADDER:
            incident.restored = healed(one)
            self._keeper.casebook.rewrite(incident)
        more: dict[str, Any] = {"restored_from": told(one)}
        if incident is not None:
            more["case"] = case_body(incident)
        self.note(agent, one, "state.restored", restored(one, done.get("notes") or ()), **more)
        return one

    async def _land(self, name: str, course: Course, **more: Any) -> dict[str, Any]:
        """After a step that failed: all new or all old. Raises HoldfastError when neither could be reached."""
        reason = ""
        for _ in range(limits.RESTORE_RECOVER_TRIES):
            try:
                return await self.ask(name, course, "restore-recover", **more)
            except (JobFailed, HoldfastError) as failed:
                reason = words(failed)
            await asyncio.sleep(1.0)
        raise HoldfastError(errors.RESTORE_STUCK, path=self._jobs.directory(name) / INTENT_NAME, reason=reason)

    async def recovered(self, agent: Agent, course: Course) -> None:
        """What a former restore left half-way is over. Raises HoldfastError RESTORE_STUCK."""
        one = agent.memory.restoration
        half_way = one is not None and one.stage is not Stage.PROBATION
        if half_way or (one is None and (self._jobs.directory(agent.name) / INTENT_NAME).exists()):
            landed = await self._land(agent.name, course)
            if one is not None and landed["outcome"] != "new":
                self.undone(agent, one, "it was interrupted")
            if one is None and landed["outcome"] == "new":  # it was removed before that restore had proved itself
                await self.retire(agent, course, of_intent(landed.get("intent", {})))

    async def dropped(self, name: str, course: Course) -> None:
        """What was built is not wanted any more."""
        try:
            await self._land(name, course)
        except HoldfastError:
            return  # the next build, or the next keeper, clears it

    def undone(self, agent: Agent, one: Restoration, why: str) -> None:
        text = f"the restore of snapshot {one.short} did not take place, all is as it was: {why}"
        self.note(agent, None, "state.restore-undone", text, restored_from="")

    def wake(self, agent: Agent, why: str) -> None:
        """Start it now if it is to run, without the pauses of its ladder."""
        to_run = agent.ladder.wanted and not agent.ladder.aside
        if to_run and not agent.ladder.running and self._keeper.agents.get(agent.name) is agent:
            self._keeper.command(agent, "start", why)

    # --- what a former keeper left -------------------------------------------------------------------------------
    def _take_up(self, agent: Agent) -> Course:
        try:
            course = self.claim(agent.name, hold=True)
        except HoldfastError as error:  # its user is not known: it cannot be started either
            course = self._courses[agent.name] = Course({}, hold=True)
            self.end(agent.name, course, error.summary)
            return course
        course.left = True
        self._keeper.tasks.spawn(self._recover(agent, course))
        return course

    async def _recover(self, agent: Agent, course: Course) -> None:
        """Finish or undo, and only then let it start."""
        one = agent.memory.restoration
        try:
            landed = await self._land(agent.name, course)
        except HoldfastError as error:
            self._keeper.recorder.record("state.restore-stuck", agent.name, error.summary)
            self.end(agent.name, course, error.summary)
            return
        if landed["outcome"] != "new":
            if one is not None:
                self.undone(agent, one, "it was interrupted")
        elif one is None or one.stage is Stage.EXCHANGE:
            done = {**landed.get("intent", {}), **landed}
            one = one or of_intent(done)
            self._exchanged(agent, replace(one, instance=agent.ladder.instance), done)
        elif one.stage is Stage.BACK:
            await self._return(agent, course, one, "it was interrupted on the way back")
            return
        self.end(agent.name, course)

    # --- afterwards ----------------------------------------------------------------------------------------------
    async def _kept(self, agent: Agent, course: Course) -> None:
        """It has proved itself."""
        one = agent.memory.restoration
        assert one is not None
        try:
            await self.retire(agent, course, one, "the restored state has proved itself")
        except (JobFailed, HoldfastError):
            pass  # tried again with the next look
        finally:
            self.end(agent.name, course)

    async def retire(self, agent: Agent, course: Course, one: Restoration, judged: str = STAYS) -> None:
        """The former state is not needed: deleted, or kept for a while to be looked at. Raises JobFailed, ..."""
        keep = one.by is By.LADDER or one.left_behind or not one.before
        if not keep:
            await self.ask(agent.name, course, "restore-settle")
            self.note(agent, None, "state.restore-kept", f"{judged}; the former one is deleted")
            return
        until_at = self._keeper.clock.now_at() + limits.DAMAGED_TREE_KEPT_S
        trees = (await self.ask(agent.name, course, "restore-keep", until_at=until_at))["trees"]
        text = f"{judged}; the former one is kept until {stamp(until_at)}"
        self.note(agent, None, "state.restore-kept", f"{text}: {', '.join(trees)}" if trees else text)

    async def _back(self, agent: Agent, course: Course, why: str) -> None:
        """It does not get well on the restored state."""
        one = agent.memory.restoration
        assert one is not None
        one = replace(one, stage=Stage.BACK)
        text = f"it did not get well on snapshot {one.short} ({why}): its former state returns"
        self.note(agent, one, "state.restore-back", text)
        await self._return(agent, course, one, why)

    async def _return(self, agent: Agent, course: Course, one: Restoration, why: str) -> None:
        stuck = ""
        try:
            if one.by is By.PERSON and agent.ladder.running and agent.ladder.wanted:
                self._keeper.command(agent, "restart", "its former state returns")
            if not await self._halting.halt(agent, agent.spec.stop.hung_grace_s, planned=False):
                stuck = "it could not be stopped, so that its former state could return"
                return
            try:
                await self.ask(agent.name, course, "restore-back")
            except (JobFailed, HoldfastError):
                if (await self._land(agent.name, course))["outcome"] == "new":
                    await self.ask(agent.name, course, "restore-back")
            text = f"the restore of snapshot {one.short} is undone, its former state is back: {why}"
            self.note(agent, None, "state.restore-undone", text, restored_from="")
        except (JobFailed, HoldfastError) as failed:
            stuck = words(failed)
        finally:
            self.end(agent.name, course, stuck)
            if not stuck and one.by is By.PERSON:
                self.wake(agent, "its former state is back")
