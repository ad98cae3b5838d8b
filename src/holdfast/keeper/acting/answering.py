"""Whether the file systems that an agent's start touches still answer, asked before the keeper touches them.

Making a place looks at the agent's working directory, its state, its program and its guarded files. Where they lie
behind a network or in another program (node/mounts.py), that may never return, and the keeper's loop with it. So these
mounts are asked in a thread first. Invariants: the loop enters no such mount that did not answer a moment ago; agents
whose files are local are never asked about and lose no time. Called by hands.py, places.py and commands.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast import limits
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.errands import Errands, HeldUp
from holdfast.keeper.watching.file_looks import NO_ANSWER
from holdfast.node import mounts
from holdfast.pods.environment import DEFAULT_PATH
from holdfast.spec.model import AgentSpec


class Answering:
    """`read`: the table of mounts, for tests."""

    def __init__(self, home: Path, tasks: Tasks, read: Callable[[], dict[str, str]] = mounts.read) -> None:
        self._home = home
        self._tasks = tasks
        self._read = read
        self._errands = Errands()
        self._table: tuple[float, dict[str, str], frozenset[str]] | None = None
        self._good: dict[str, float] = {}  # mount -> when it last answered

    def in_doubt(self, spec: AgentSpec) -> str:
        """A path of the agent's start whose mount has to be asked first; "" when there is none."""
        return next(iter(self._doubtful(paths_of(spec)).values()), "")

    def is_local(self, paths: Sequence[str]) -> bool:
        """Whether none of them lies in a file system that may stop answering."""
        remote, trusted = self._mounts()
        return not any(mounts.entered(path, remote, trusted) for path in paths)

    async def unanswered(self, spec: AgentSpec) -> str:
        """Why the agent cannot be started now, in a clause; "" when all of its file systems answer."""
        for mount, path in self._doubtful(paths_of(spec)).items():
            try:
                await self._errands.run(mount, lambda path=path: _ask(path), limits.MOUNT_ANSWER_TIMEOUT_S)  # type: ignore[misc]
            except (HeldUp, OSError):
                return f"{NO_ANSWER} ({path})"
            self._good[mount] = asyncio.get_running_loop().time()
        return ""

    def before_touching(self, spec: AgentSpec, then: Callable[[], object] = lambda: None) -> None:
        """Raises OSError when the loop may be held up; the mount is asked then, and `then` called when it answers."""
        path = self.in_doubt(spec)
        if not path:
            return

        async def ask() -> None:
            if not await self.unanswered(spec):
                then()

        self._tasks.spawn(ask())
        raise OSError(f"{NO_ANSWER} ({path})")

    def _doubtful(self, paths: Sequence[str]) -> dict[str, str]:
        """Mounts that did not answer a moment ago, each with the path that leads there."""
        remote, trusted = self._mounts()
        if not remote:
            return {}
        oldest = asyncio.get_running_loop().time() - limits.MOUNT_ANSWER_GOOD_S
        found: dict[str, str] = {}
        for path in paths:
            mount = mounts.entered(path, remote, trusted)
            if mount and self._good.get(mount, float("-inf")) < oldest:
                found.setdefault(mount, path)
        return found

    def _mounts(self) -> tuple[dict[str, str], frozenset[str]]:
        """The table, and the mounts that Holdfast lives on: when those do not answer, there is no keeper either."""
        now = asyncio.get_running_loop().time()
        if self._table is None or now - self._table[0] >= limits.MOUNT_TABLE_GOOD_S:
            try:
                remote = self._read()
            except OSError:
                remote = {}
            trusted: set[str] = set()
            while mount := mounts.entered(str(self._home), remote, trusted):
                trusted.add(mount)
            self._table = (now, remote, frozenset(trusted))
            self._good = {mount: at for mount, at in self._good.items() if now - at < limits.MOUNT_ANSWER_GOOD_S}
        return self._table[1], self._table[2]


def paths_of(spec: AgentSpec) -> list[str]:
    """All that making its place, its definition and its permit may look at."""
    program = spec.command[0] if spec.command else ""
    found = [spec.working_dir, *spec.recipe_data.values(), *spec.guarded_files]
    if "/" in program:
        found.append(os.path.join(spec.working_dir, program))
    else:
        told = spec.env.get("PATH") or os.environ.get("PATH") or DEFAULT_PATH
        found += [os.path.join(spec.working_dir, directory) for directory in told.split(":") if directory]
    return list(dict.fromkeys(path for path in found if path.startswith("/")))


def _ask(path: str) -> None:
    """A question that is not answered from a cache; any answer will do."""
    try:
        os.statvfs(path)
    except OSError:
        return
