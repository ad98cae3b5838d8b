"""Restores that people ask for: in place, also of an agent that was removed.

Invariant: nothing of the agent is touched before what is restored was built and checked whole; what is there is kept as
a snapshot first, and what the agent writes during the build as a second one, when it is down; where one of them fails
the former files are kept instead. Called by restoring.py for the API.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.keeper.agent import Agent
from holdfast.keeper.state import state_paths
from holdfast.keeper.state.restore_course import By, Restoration, Undone, is_well
from holdfast.keeper.state.state_jobs import result_of, words
from holdfast.keeper.state.worker_link import Message
from holdfast.keeper.watching.errands import Errands
from holdfast.state.model import Cause
from holdfast.worker.protocol import JobFailed

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper
    from holdfast.keeper.state.courses import Course
    from holdfast.keeper.state.restoring import Restoring

_LOOK_S = 0.05


@dataclass
class _Kept:
    """What is kept of the former state. `before`: id of its snapshot, "" when there is none."""

    before: str = ""
    unkept: list[str] = field(default_factory=list)  # what that snapshot could not read, and why
    late: str = ""  # why what was written since is in no snapshot, one clause
    warnings: list[str] = field(default_factory=list)

    def took(self, taken: dict[str, Any]) -> None:
        made = taken["snapshot"]
        self.before = str(made["id"] if made else taken["unchanged_since"])
        self.unkept = list(taken.get("unkept", ()))

    def missing(self, path: str) -> list[str]:
        """What lies at `path`, or holds it, and is not in the snapshot; all of a full list, which may end before it."""
        if not path or len(self.unkept) >= limits.SNAPSHOT_LISTED_MAX:
            return self.unkept
        around = (path, *(f"{each}: " for each in PurePath(path).parents))
        return [each for each in self.unkept if each.startswith(around)]

    def told(self, one: Restoration) -> list[str]:
        """What a person has to know of the former files."""
        if not one.trees:
            return []
        trees, missing = ", ".join(one.trees), self.missing(one.path)
        if not self.before:
            return [f"what was there is kept at {trees}"]
        said = []
        if self.late:
            said.append(f"what it wrote while this was built is in no snapshot ({self.late}): it stays at {trees}")
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            said.append(f"not all that was there is in a snapshot ({missing[0]}{more}): it stays at {trees}")
        return said


class Requests:
    """`restore` is all of it."""

    def __init__(self, keeper: Keeper, restoring: Restoring) -> None:
        self._keeper = keeper
        self._restoring = restoring
        self._errands = Errands()

    async def restore(self, name: str, snapshot: str, path: str | None) -> AsyncGenerator[Message, None]:
        """Progress, and last answers.Restored. Raises HoldfastError, JobFailed."""
        began_mono = self._keeper.clock.now_mono()
        async with contextlib.aclosing(self._in_place(name, snapshot, path)) as said:
            async for message in said:
                if "result" in message:
                    message["result"]["took_s"] = round(self._keeper.clock.now_mono() - began_mono, 3)
                yield message

    async def _in_place(self, name: str, snapshot: str, path: str | None) -> AsyncGenerator[Message, None]:
        await self._restoring.after_what_was_left(name)
        course = self._restoring.claim(name)
        stuck, came_back = "", False
        try:
            agent = self._keeper.agents.get(name)
            if agent is None or agent.leaving:
                came_back = True
                self._restoring.hold(name, course)  # it comes back to its restored files, not to what is left of them
                async for message in self._keeper.removing.undelete(name):
                    if "result" not in message:
                        yield message
                agent = self._keeper.agents[name]
                course.args = self._keeper.snapshots.jobs.args(name)
            async for message in self._replace(agent, course, snapshot, path):
                if "result" in message:
                    self._restoring.end(name, course)
                    self._restoring.wake(agent, "its state was restored")
                    await self._answered(agent)
                    message["result"]["phase"] = str(agent.ladder.phase)
                yield message
        except HoldfastError as error:
            stuck = error.summary if error.kind is errors.RESTORE_STUCK else ""
            raise
        finally:
            if not course.done.is_set():
                self._restoring.end(name, course, stuck)
                known = self._keeper.agents.get(name)
                if known is not None and came_back:
                    self._keeper.command(known, "stop", "its state could not be restored")
                elif known is not None and not stuck:
                    self._restoring.wake(known, "its state is as it was")

    async def _replace(
        self, agent: Agent, course: Course, snapshot: str, path: str | None
    ) -> AsyncGenerator[Message, None]:
        name, restoring = agent.name, self._restoring
        yield _stage("keeping what is there now")
        await restoring.recovered(agent, course)
        instance, ran = agent.ladder.instance, agent.ladder.running
        kept = await self._keep(agent)
        former = agent.memory.restoration
        if former is not None:  # a person who restores again has looked at what the former one brought
            await restoring.retire(agent, course, former)
        built: dict[str, Any] = {}
        try:
            async with contextlib.aclosing(
                restoring.job(name, course, "restore-build", snapshot=snapshot, path=path)
            ) as said:
                async for message in said:
                    if "result" in message:
                        built = message["result"]
                    else:
                        yield message
        except JobFailed:
            await restoring.dropped(name, course)
            raise
        yield _stage("stopping it" if agent.ladder.running else "exchanging")
        now_at = self._keeper.clock.now_at()
        path = str(built.get("path", ""))
        again = bool(kept.before) and (ran or agent.ladder.running or agent.ladder.instance != instance)
        one = Restoration(
            snapshot=str(built["snapshot"]),
            at=float(built["at"]),
            by=By.PERSON,
            began_at=now_at,
            path=path,
            before=kept.before,
            lost_s=max(0.0, now_at - float(built["at"])),
            left_behind=again or bool(kept.missing(path)),  # a keeper that dies before `_keep_again` keeps the trees
        )
        last = partial(self._keep_again, agent, kept) if again else None
        try:
            one = await restoring.exchange(agent, course, one, grace_s=agent.spec.stop.grace_s, last=last)
        except Undone as why:
            restoring.undone(agent, one, str(why))
            raise HoldfastError(errors.RESTORE_FAILED, agent=name, reason=why) from None
        stale = await state_paths.stale(self._errands, agent.spec)
        warnings = [*kept.warnings, *built["notes"], *stale, *kept.told(one)]
        if agent.ladder.wanted and not agent.ladder.aside:  # one that was stopped or sleeps stays so: see wake
            yield _stage("starting it")
        yield _result(name, snapshot, built, warnings, kept.before)

    async def _keep(self, agent: Agent) -> _Kept:
        """A snapshot of what is there. Bounded; its failure stops no restore."""
        kept, paths = _Kept(), agent.spec.state.paths
        if await state_paths.missing(self._errands, agent.name, paths) == list(paths):
            return kept
        try:
            async with asyncio.timeout(limits.SNAPSHOT_BEFORE_REMOVAL_S):
                kept.took(await self._keeper.snapshots.take(agent.name, Cause.RESTORE))
        except TimeoutError:
            why = f"it took longer than {limits.SNAPSHOT_BEFORE_REMOVAL_S:.0f} s"
        except (JobFailed, HoldfastError) as failed:
            why = words(failed)
        else:
            return kept
        kept.warnings.append(f"what was there could not be kept as a snapshot first: {why}")
        return kept

    async def _keep_again(self, agent: Agent, kept: _Kept, one: Restoration) -> Restoration:
        """What it wrote since `_keep`, now that it is down. Bounded; where it fails `left_behind` stays."""
        try:
            async with asyncio.timeout(limits.SNAPSHOT_WHILE_DOWN_S):
                kept.took(await result_of(self._keeper.snapshots.taking(agent, Cause.RESTORE, "", rested=False)))
        except TimeoutError:
            kept.late = f"a snapshot of it took longer than {limits.SNAPSHOT_WHILE_DOWN_S:g} s"
        except (JobFailed, HoldfastError) as failed:
            kept.late = words(failed)
        else:
            return replace(one, before=kept.before, left_behind=bool(kept.missing(one.path)))
        return one

    async def _answered(self, agent: Agent) -> None:
        """Until it is up and past its gate, in bounded time."""
        until = self._keeper.clock.now_mono() + limits.RESTORE_ANSWER_S

        def awaited() -> bool:
            return agent.ladder.wanted and not agent.ladder.aside and not is_well(agent.ladder)

        while awaited() and self._keeper.clock.now_mono() < until:
            await asyncio.sleep(_LOOK_S)


def _stage(what: str) -> Message:
    return {"progress": {"done": 0, "total": 0, "what": what}}


def _result(name: str, snapshot: str, built: dict[str, Any], warnings: list[str], before: str) -> Message:
    told = {
        "agent": name,
        "snapshot": snapshot,
        "at": built["at"],
        "files": built["files"],
        "bytes": built["bytes"],
        "path": built.get("path", ""),
        "warnings": warnings,
        "before": before,
    }
    return {"result": told}
