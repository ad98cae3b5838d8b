"""Takes an agent out of the fleet so that it can be had back, and brings it back.

Invariants: the definition is on the disk before anything is stopped; the agent's own directories are left where they
are; its snapshots go to the trash only when it is down, and a kill at any step leaves a removal that is repeated or
undone by the same commands. HOME/state/AGENT/deleted.json holds the whole definition, secrets included, for us alone.
Called by the API (DELETE /v1/agents/NAME, undelete, /v1/deleted).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from holdfast import errors, files, limits
from holdfast.errors import HoldfastError
from holdfast.keeper.acting import applying
from holdfast.keeper.state import state_paths
from holdfast.keeper.state.state_jobs import Gone, StateJobs, result_of, words
from holdfast.keeper.state.worker_link import Message
from holdfast.keeper.watching.errands import Errands
from holdfast.spec.model import FleetSpec
from holdfast.state.answers import Deleted
from holdfast.state.model import Cause
from holdfast.worker.protocol import JobFailed

if TYPE_CHECKING:
    from holdfast.keeper.agent import Agent
    from holdfast.keeper.keeper import Keeper

FILE = "deleted.json"
_DOWN_LOOK_S = 0.1


class Removing:
    """One for each keeper."""

    def __init__(self, keeper: Keeper, jobs: StateJobs) -> None:
        self._keeper = keeper
        self._jobs = jobs
        self.errands = Errands()
        jobs.gone = self.find

    # --- what was removed ----------------------------------------------------------------------------------------
    def find(self, name: str) -> Gone | None:
        """An agent that was removed and can be had back; None: there is no such one."""
        return None if self._is_in_fleet(name) else self._read(name)

    def _is_in_fleet(self, name: str) -> bool:
        return name in self._keeper.agents and not self._keeper.agents[name].leaving

    def told(self, name: str) -> list[str]:
        """Of an agent that was declared anew after it was removed: where its former snapshots are."""
        gone = self._read(name) if self._is_in_fleet(name) else None
        if gone is None or self._keeper.clock.now_at() >= gone.until:
            return []
        return [f"{name} was removed once, and its snapshots of that time with it: `holdfast undelete {name}`"]

    def listed(self) -> list[Deleted]:
        """All of them, the last one first."""
        found = [gone for name in self._removed() if (gone := self.find(name)) is not None]
        found.sort(key=lambda gone: gone.removed_at, reverse=True)
        return [
            Deleted(agent=gone.spec.name, removed_at=gone.removed_at, until=gone.until, paths=gone.spec.state.paths)
            for gone in found
        ]

    def _removed(self) -> list[str]:
        """Names of all that were removed, and of agents that are there."""
        try:
            return sorted(os.listdir(self._jobs.root))
        except OSError:
            return []

    def _path(self, name: str) -> Path:
        return self._jobs.directory(name) / FILE

    def _read(self, name: str) -> Gone | None:
        if not name or "/" in name or name.startswith("."):
            return None
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=Gone)
        except (OSError, msgspec.DecodeError):
            return None

    # --- removing ------------------------------------------------------------------------------------------------
    async def remove(self, name: str) -> AsyncGenerator[Message, None]:
        """Progress, and last {"result": {"agent", "until", "paths", "snapshots", "trouble"}}. Raises HoldfastError."""
        keeper, agent, trouble = self._keeper, self._keeper.agent(name), []
        if agent.spec.state.paths:
            yield _stage("the last snapshot")
            if why := await self._last_snapshot(agent):
                trouble.append(f"no last snapshot could be made: {why}")
        yield _stage("stopping it")
        now_at = keeper.clock.now_at()
        gone = Gone(
            spec=agent.spec,
            rights=self._jobs.rights(agent),
            removed_at=now_at,
            until=now_at + limits.TRASH_AGENT_S,
        )
        self._keep(name, gone)
        keeper.recorder.record(
            "agent.removed", name, "a person asked: remove it", {"until": gone.until, "removed": True}, durable=True
        )
        rest = tuple(spec for spec in keeper.fleet.agents if spec.name != name)
        applying.put(keeper, structs.replace(keeper.fleet, agents=rest), merge=False)
        if not await self._is_down(name, agent):
            trouble.append("it is still being stopped; its snapshots stay where they are until the command is repeated")
            yield _result(gone, 0, trouble)
            return
        yield _stage("putting its snapshots aside")
        count = 0
        try:
            if gone.spec.state.paths or self._jobs.directory(name).joinpath("repo").exists():
                count = int((await self._jobs.ask("remove", name))["snapshots"])
        except (JobFailed, HoldfastError) as failed:
            trouble.append(f"its snapshots could not be put aside: {words(failed)}")
        yield _result(gone, count, trouble)

    async def _last_snapshot(self, agent: Agent) -> str:
        """Why there is none; "": it was made, or nothing had changed. Bounded."""
        try:
            async with asyncio.timeout(limits.SNAPSHOT_BEFORE_REMOVAL_S):
                await self._keeper.snapshots.take(agent.name, Cause.REMOVE)
        except TimeoutError:
            return f"it took longer than {limits.SNAPSHOT_BEFORE_REMOVAL_S:.0f} s"
        except (JobFailed, HoldfastError) as failed:
            return words(failed)
        return ""

    def _keep(self, name: str, gone: Gone) -> None:
        """Raises HoldfastError; nothing was changed then."""
        try:
            self._jobs.prepare(name)
            files.write_atomic(self._path(name), msgspec.json.encode(gone))
        except OSError as error:
            raise HoldfastError(errors.DISK_FULL, path=self._path(name), what=f"removing {name}") from error

    async def _is_down(self, name: str, agent: Agent) -> bool:
        """Wait for it, in bounded time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(agent.spec.stop.grace_s + limits.SNAPSHOT_BEFORE_STOP_S + limits.ACT_PATIENCE_S):
                while name in self._keeper.agents:
                    await asyncio.sleep(_DOWN_LOOK_S)
        return name not in self._keeper.agents

    async def clear(self) -> None:
        """What was removed so long ago that it cannot be had back goes for good. Never raises."""
        for name in self._removed():
            if name in self._keeper.agents or self._read(name) is None:
                continue
            async with self._jobs.writing(name):
                gone = self._read(name)
                if gone is None or name in self._keeper.agents:
                    continue
                try:
                    clearing = self._jobs.run("clear-removed", name, gentle=True, until_at=gone.until)
                    over = (await result_of(clearing))["over"]
                except (JobFailed, HoldfastError):
                    continue  # again the next time
            if over:
                text = "it was removed long ago: its definition and its snapshots are deleted"
                self._keeper.recorder.record("agent.cleared", name, text)
                self._jobs.forget(name)

    # --- bringing back -------------------------------------------------------------------------------------------
    async def undelete(self, name: str) -> AsyncGenerator[Message, None]:
        """Back into the fleet with its snapshots, and started. The last message: {"result": {"agent", "snapshots",
        "missing": state paths that are not there any more}}. Raises HoldfastError.

        One that was declared anew meanwhile is left as it is ("was_there") and gets its former snapshots back.
        """
        keeper, gone = self._keeper, self._read(name)
        if gone is None:
            raise HoldfastError(errors.NOT_DELETED, what=f"agent {name}")
        was_there = self._is_in_fleet(name)
        yield _stage("bringing its snapshots back")
        try:
            back = await self._jobs.ask("bring-back", name)
        except JobFailed as failed:
            raise HoldfastError(
                errors.STATE_FAILED, agent=name, what="bringing it back", reason=words(failed)
            ) from None
        missing: list[str] = []
        if was_there:
            keeper.recorder.record("agent.undeleted", name, "a person asked: have its former snapshots back")
            keeper.snapshots.changed(name)
        else:
            missing = await state_paths.missing(self.errands, name, gone.spec.state.paths)
            yield _stage("starting it")
            applying.put(keeper, FleetSpec(agents=(gone.spec,)), merge=True)
            keeper.recorder.record(
                "agent.undeleted", name, "a person asked: have it back", {"removed": False}, durable=True
            )
        with contextlib.suppress(OSError):
            self._path(name).unlink()
            files.sync_directory(self._path(name).parent)
        told = {"agent": name, "snapshots": back["snapshots"], "newest": back["newest"], "missing": missing}
        yield {"result": {**told, "was_there": was_there}}


def _stage(what: str) -> Message:
    return {"progress": {"done": 0, "total": 0, "what": what}}


def _result(gone: Gone, snapshots: int, trouble: list[str]) -> Message:
    told = {
        "agent": gone.spec.name,
        "until": gone.until,
        "paths": gone.spec.state.paths,
        "snapshots": snapshots,
        "trouble": trouble,
    }
    return {"result": told}
