"""Tier 3 at work: stop the agent, put back the last state it was well with, start it.

Invariants: the act may be sent again at any time and does nothing while it is under way; a tree that does not pass the
agent's validators is not put back; when nothing can be restored the ladder hears of a start that failed, and goes on.
Called by restoring.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.healing.actions import Restore
from holdfast.healing.model import Tier
from holdfast.keeper.agent import Agent
from holdfast.keeper.state.restore_course import By, Restoration, Stage, Undone, choices
from holdfast.keeper.state.state_jobs import words
from holdfast.spec.model import AgentSpec
from holdfast.worker.protocol import JobFailed

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper
    from holdfast.keeper.state.courses import Course
    from holdfast.keeper.state.restoring import Restoring


class TierThree:
    """`act` is all of it."""

    def __init__(self, keeper: Keeper, restoring: Restoring) -> None:
        self._keeper = keeper
        self._restoring = restoring
        self._own: dict[str, Course] = {}

    def act(self, agent: Agent, act: Restore) -> None:
        one, other = agent.memory.restoration, self._restoring.under_way(agent.name)
        if other is not None and not other.stuck:
            if other is not self._own.get(agent.name):
                self._keeper.tasks.spawn(self._after(agent, act, other))
            return
        if one is not None and one.stage is Stage.PROBATION and one.instance >= act.instance:
            self._keeper.hands.start_again(agent, act.instance)  # it was done; what followed was not heard
            return
        course = self._own[agent.name] = self._restoring.claim(agent.name, hold=True)
        self._keeper.tasks.spawn(self._carry_out(agent, act, course))

    async def _after(self, agent: Agent, act: Restore, other: Course) -> None:
        """Something else is done to its state just now: what a former keeper left, or a person's restore."""
        await other.done.wait()
        if self._is_wanted(agent) and agent.ladder.instance == act.instance:
            self.act(agent, act)

    async def _carry_out(self, agent: Agent, act: Restore, course: Course) -> None:
        failed, stuck = "", ""
        try:
            failed = await self._restore(agent, act, course)
        except HoldfastError as error:
            stuck = error.summary
        finally:
            self._own.pop(agent.name, None)
            self._restoring.end(agent.name, course, stuck)
        if not self._is_wanted(agent):
            return
        if failed or stuck:
            self._keeper.intake.could_not_start(agent, failed or stuck)
        else:
            self._keeper.hands.start_again(agent, act.instance)

    def _is_wanted(self, agent: Agent) -> bool:
        """No order of a person's has come between."""
        return agent.ladder.wanted and agent.ladder.pending is Tier.RESTORE

    async def _restore(self, agent: Agent, act: Restore, course: Course) -> str:
        """Why nothing was restored; "" when it was. Raises HoldfastError RESTORE_STUCK."""
        restoring, keeper = self._restoring, self._keeper
        former = agent.memory.restoration
        if not await restoring.halt(agent, act.grace_s):
            return "its state cannot be restored: it could not be stopped"
        try:
            if former is not None:
                await restoring.retire(agent, course, former)
            built = await self._build(agent, course)
        except (JobFailed, HoldfastError) as error:
            return f"its state cannot be restored: {words(error)}"
        if not built:
            return "its state cannot be restored: there is no snapshot from before it failed"
        if not self._is_wanted(agent):
            await restoring.dropped(agent.name, course)
            return ""
        now_at = keeper.clock.now_at()
        one = Restoration(
            snapshot=str(built["snapshot"]),
            at=float(built["at"]),
            by=By.LADDER,
            began_at=now_at,
            lost_s=max(0.0, now_at - float(built["at"])),
            damage=keeper.faults.found(agent),
            incident="" if agent.incident is None else agent.incident.id,
        )
        try:
            await restoring.exchange(agent, course, one, grace_s=act.grace_s)
        except Undone as why:
            restoring.undone(agent, one, str(why))
            return f"its state cannot be restored: {why}"
        return ""

    async def _build(self, agent: Agent, course: Course) -> dict[str, Any]:
        """The first of the choices that can be built and passes; {} when there is none. Raises JobFailed, ..."""
        rows = (await self._restoring.ask(agent.name, course, "snapshots"))["snapshots"]
        fault_at = agent.incident.opened_at if agent.incident is not None else self._keeper.clock.now_at()
        last: JobFailed | None = None
        for row in choices(rows, fault_at):
            try:
                return await self._restoring.ask(
                    agent.name,
                    course,
                    "restore-build",
                    snapshot=row["id"],
                    check=True,
                    validators=validators(agent.spec),
                )
            except JobFailed as failed:
                await self._restoring.dropped(agent.name, course)
                last = failed
                if failed.kind not in ("damaged", "faulty", "interrupted", "not-found"):
                    break
        if last is not None:
            raise last
        return {}


def validators(spec: AgentSpec) -> list[dict[str, Any]]:
    """What must be whole for it to start, as jobs are told."""
    found: list[dict[str, Any]] = to_builtins(recipes.find(spec.recipe).state_validators(spec))
    return found
