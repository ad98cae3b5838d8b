"""Jobs about one agent's state: who may ask for which, what each is told, and how many run at once.

Invariants: one writer per agent at a time; those who only read wait for no writer; the agent's files are named together
with the rights they are touched with, or the job does not begin. Called by snapshots.py, state_upkeep.py, removing.py
and, through Snapshots, by the API.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.keeper import fleet as fleets
from holdfast.keeper.agent import Agent
from holdfast.keeper.state.worker_link import Message, WorkerLink
from holdfast.spec.model import AgentSpec
from holdfast.worker.protocol import JobFailed

Rights = tuple[int, int, tuple[int, ...]]
WRITERS = frozenset(
    {
        "snapshot",
        "tidy",
        "gc",
        "delete-snapshot",
        "undelete-snapshot",
        "pin",
        "mark-good",
        "remove",
        "bring-back",
        "clear-removed",
        "restore-build",
        "restore-exchange",
        "restore-settle",
        "restore-back",
        "restore-recover",
    }
)
_NEED_NOTHING = frozenset(
    {"snapshots", "remove", "bring-back", "clear-removed"}
)  # answer "none" where nothing was ever kept
FOR_ALL = "@"  # the name of no agent: jobs about this machine


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that was taken out of the fleet: all that is needed to work on its state, and to have it back."""

    spec: AgentSpec
    rights: Rights | None
    removed_at: float
    until: float


class StateJobs:
    """`rights_of`: user, group and groups for work on the agent's files, None for our own."""

    def __init__(
        self,
        agents: dict[str, Agent],
        home: Home,
        link: WorkerLink,
        rights_of: Callable[[Agent], Rights | None],
        cgroups_of: Callable[[Agent], tuple[str, ...]],
    ) -> None:
        self._agents = agents
        self._home = home
        self._rights_of = rights_of
        self._cgroups_of = cgroups_of
        self._writing: dict[str, asyncio.Lock] = {}
        self._looking = asyncio.Semaphore(limits.STATE_LOOKS_AT_ONCE)
        self.link = link
        self.mended: Callable[[str, list[str]], None] = lambda name, said: None  # objects that were put right
        self.gone: Callable[[str], Gone | None] = lambda name: None  # set by the wiring: agents that were removed

    # --- what is where -------------------------------------------------------------------------------------------
    @property
    def root(self) -> Path:
        return self._home.path / "state"

    def directory(self, name: str) -> Path:
        return self.root / name

    def has_repository(self, name: str) -> bool:
        return (self.directory(name) / "repo" / "config").exists()

    def prepare(self, name: str) -> None:
        """The agent's directory, ours alone. Raises OSError."""
        for path in (self.root, self.directory(name)):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def writing(self, name: str) -> asyncio.Lock:
        """Held by whoever writes into the agent's repository, or replaces its files."""
        return self._writing.setdefault(name, asyncio.Lock())

    def forget(self, name: str) -> None:
        lock = self._writing.get(name)
        if lock is not None and not lock.locked():
            del self._writing[name]

    # --- jobs ----------------------------------------------------------------------------------------------------
    async def job(self, job: str, name: str, *, gentle: bool = False, **more: Any) -> AsyncGenerator[Message, None]:
        """What the job says, the result last. Raises JobFailed and HoldfastError."""
        turn = self.writing(name) if job in WRITERS else self._looking
        async with turn:
            async for message in self.run(job, name, gentle=gentle, **more):
                yield message

    async def run(self, job: str, name: str, *, gentle: bool = False, **more: Any) -> AsyncGenerator[Message, None]:
        """As `job`, for those who hold `writing(name)` already."""
        args = {**self.args(name), **more}
        if name != FOR_ALL and job not in _NEED_NOTHING and not args["paths"] and not self.directory(name).exists():
            raise HoldfastError(errors.STATE_NOT_DECLARED, agent=name)
        async with contextlib.aclosing(self.link.job(job, args, gentle=gentle)) as said:
            async for message in said:
                if "mended" in message:
                    self.mended(name, message["mended"])
                else:
                    yield message

    async def ask(self, job: str, name: str, *, gentle: bool = False, **more: Any) -> dict[str, Any]:
        """The result alone. Raises JobFailed and HoldfastError."""
        return await result_of(self.job(job, name, gentle=gentle, **more))

    def args(self, name: str) -> dict[str, Any]:
        """What every job about this agent is told. Raises HoldfastError."""
        if name == FOR_ALL:
            return {"state_dir": str(self.root)}
        agent = self._agents.get(name)
        if agent is not None and not agent.leaving:
            return {**self._told(agent.spec, self.rights(agent)), **self._alive(agent)}
        gone = self.gone(name)
        if gone is not None:
            return {**self._told(gone.spec, gone.rights), "gone": True}
        if agent is not None:
            return {**self._told(agent.spec, self.rights(agent)), **self._alive(agent)}
        raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)

    def rights(self, agent: Agent) -> Rights | None:
        """Whose rights its files are touched with; None: ours. Raises HoldfastError."""
        try:
            return self._rights_of(agent)
        except OSError as error:
            reason = f"its user is not known: {error.strerror or error}"
            raise HoldfastError(errors.STATE_FAILED, agent=agent.name, what="a job", reason=reason) from error

    def _told(self, spec: AgentSpec, rights: Rights | None) -> dict[str, Any]:
        state = spec.state
        shown = msgspec.json.encode(fleets.masked_agent(spec)).decode()
        return {
            "agent": spec.name,
            "state_dir": str(self.root),
            "directory": str(self.directory(spec.name)),
            "rights": rights,
            "paths": state.paths,
            "exclude": state.exclude,
            "store": state.store,
            "store_every_s": state.store_every_s,
            "encrypt": state.encrypt,
            "capture": state.capture,
            "budget_bytes": state.budget_bytes,
            "recipe": spec.recipe,
            "user": spec.user or "",
            "spec": shown,
        }

    def _alive(self, agent: Agent) -> dict[str, Any]:
        """What is only true of an agent that is in the fleet."""
        alive = {"instance": agent.world.epoch, "pid": agent.world.pid, "cgroups": self._cgroups_of(agent)}
        return {**alive, "asleep": True} if agent.is_frozen else alive


async def result_of(messages: AsyncGenerator[Message, None]) -> dict[str, Any]:
    """The result alone of what a job says. Raises JobFailed."""
    async with contextlib.aclosing(messages) as said:
        async for message in said:
            if "result" in message:
                result: dict[str, Any] = message["result"]
                return result
    raise JobFailed("interrupted", "the job ended without an answer")


def words(failed: JobFailed | HoldfastError) -> str:
    """Why it failed, one clause."""
    kind = failed.kind if isinstance(failed, HoldfastError) else errors.CATALOGUE.get(failed.kind)
    if kind is None or not isinstance(failed.detail, dict):
        return str(failed.detail)
    if kind is errors.RESTORE_FAILED and "reason" in failed.detail:  # who says it says that nothing took place, too
        return str(failed.detail["reason"])
    return HoldfastError(kind, **failed.detail).summary
