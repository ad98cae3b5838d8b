"""Remembers what the last proven good instance of each agent ran with, and tells what differs now.

Invariant: proof is in the ledger (`agent.proven`), once for each instance that was good for PROVEN_AFTER_S; a file that
was changed after the instance began is not part of its proof. Called by the keeper (a slow timer) and, after a fault,
by evidence.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import to_builtins

from holdfast import __version__, limits
from holdfast.clock import Clock
from holdfast.healing.model import Phase
from holdfast.incidents import changes
from holdfast.incidents.changes import FileSeen, Proven, Told
from holdfast.incidents.facts import Change
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.errands import Errands, HeldUp
from holdfast.spec.model import AgentSpec

_GOOD = frozenset({Phase.HEALTHY, Phase.DEGRADED})
_TOLD = frozenset({"fleet.applied", "keeper.started"})

Found = tuple[tuple[Change, ...], float, str]
"""Changes, when the compared instance was proven (0: none was), and why they could not be listed."""


class ProvenRuns:
    """`begin` starts the timer; `close` ends it."""

    def __init__(
        self,
        agents: dict[str, Agent],
        recorder: Recorder,
        tasks: Tasks,
        clock: Clock,
        boot_id: str,
        salt: str,
        changed: Callable[[Agent], None],
    ) -> None:
        self._agents = agents
        self._recorder = recorder
        self._tasks = tasks
        self._clock = clock
        self._boot_id = boot_id
        self._salt = salt
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self._errands = Errands()

    def begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(limits.PROVEN_LOOK_S, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.begin()
        due = [agent for agent in self._agents.values() if self._is_due(agent)]
        if due:
            self._tasks.spawn(self._prove(due))

    def _is_due(self, agent: Agent) -> bool:
        ladder, proven = agent.ladder, agent.memory.proven
        if ladder.phase not in _GOOD or ladder.good_since_mono is None:
            return False
        if proven is not None and proven.instance == ladder.instance:
            return False
        return self._clock.now_mono() - ladder.good_since_mono >= limits.PROVEN_AFTER_S

    async def _prove(self, due: Sequence[Agent]) -> None:
        """Files may be on a disk that hangs: the look is given up then, and holds up no other agent's."""
        for agent in due:
            instance, began_at, spec = agent.ladder.instance, agent.world.spawned_at, agent.spec
            try:
                files = await self._errands.run(agent.name, partial(_files_of, spec), limits.FILE_LOOK_TIMEOUT_S)
            except HeldUp:
                continue  # again with a later look
            if agent.ladder.instance != instance or self._agents.get(agent.name) is not agent:
                continue
            before = agent.memory.proven.files if agent.memory.proven is not None else {}
            kept = {
                path: before.get(path, seen) if began_at and seen.changed_at > began_at else seen
                for path, seen in files.items()
            }
            agent.memory.proven = self._now(spec, instance, kept)
            self._recorder.record(
                "agent.proven",
                agent.name,
                f"instance {instance} is proven good",
                {"proven": to_builtins(agent.memory.proven)},
            )
            self._changed(agent)

    def _now(self, spec: AgentSpec, instance: int, files: dict[str, FileSeen]) -> Proven:
        return Proven(
            at=self._clock.now_at(),
            instance=instance,
            seq=self._recorder.ledger.head.seq,
            version=__version__,
            boot_id=self._boot_id,
            keys=changes.keys_of(spec, self._salt),
            files=files,
        )

    def changes(self, agent: Agent) -> Callable[[], Found]:
        """The function compares and belongs into a thread: it stats files and reads the ledger behind the proof."""
        proven, spec, instance = agent.memory.proven, agent.spec, agent.ladder.instance
        if proven is None:
            return lambda: ((), 0.0, "")

        def look() -> Found:
            now = self._now(spec, instance, _files_of(spec))
            if now.keys == proven.keys and now.version == proven.version and now.boot_id == proven.boot_id:
                return changes.compare(proven, now, (), spec.name), proven.at, ""
            try:
                told = list(self._told(proven.seq))
            except OSError as error:
                gap = f"when it changed is not known: the ledger could not be read ({error.strerror})"
                return changes.compare(proven, now, (), spec.name), proven.at, gap
            return changes.compare(proven, now, told, spec.name), proven.at, ""

        return look

    def _told(self, after: int) -> Iterator[Told]:
        for number, record in enumerate(self._recorder.ledger.records(after)):
            if record.kind in _TOLD:
                yield Told(record.at, record.kind, record.body)
            if number >= limits.CHANGES_RECORDS_READ:
                return


def _files_of(spec: AgentSpec) -> dict[str, FileSeen]:
    """The program, the scripts on its command line, and what is guarded. May block."""
    found: dict[str, FileSeen] = {}
    program = shutil.which(spec.command[0], path=spec.env.get("PATH", os.environ.get("PATH")))
    names = [program or spec.command[0], *spec.command[1:10], *spec.guarded_files]
    for name in names:
        if name.startswith("-") or len(name) > 1000:
            continue
        path = os.path.join(spec.working_dir, name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        if os.path.isfile(path):
            found[path] = FileSeen(changed_at=status.st_mtime, size_bytes=status.st_size, inode=status.st_ino)
    return found
