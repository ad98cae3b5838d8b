"""Looks at the filesystems that Holdfast and the agents live on: nearly full is an alarm, full is a cause on the node.

Invariant: one observation for each filesystem, whoever fills it; each mount that may stop answering is asked in a
thread of its own that can be given up, so that a dead one hides no other. Called by node_watch.py.
"""

from __future__ import annotations

import asyncio

from holdfast import errors, limits
from holdfast.correlation.model import Cause, Sign
from holdfast.errors import HoldfastError
from holdfast.health import resources as rules
from holdfast.health.resources import ALARM, Standing
from holdfast.home import Home
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.alarms import Alarms
from holdfast.keeper.telling.views import DiskView
from holdfast.keeper.watching.errands import Errands, HeldUp
from holdfast.node import mounts, senses
from holdfast.node.senses import Disk

Paths = dict[str, list[str]]  # by who lives there
OWN = ""  # the key of Holdfast's home among the users of a disk


class DiskWatch:
    def __init__(self, agents: dict[str, Agent], home: Home, alarms: Alarms, tasks: Tasks) -> None:
        self._agents = agents
        self._home = home
        self._alarms = alarms
        self._tasks = tasks
        self._looking = False
        self._errands = Errands()
        self._found: dict[str, list[Disk]] = {}  # by the mount that was asked, "" for all that is local
        self._disks: list[Disk] = []
        self._standing: dict[str, Standing] = {}
        self._full: dict[str, Disk] = {}

    @property
    def seen(self) -> list[Disk]:
        """As they were seen last."""
        return self._disks

    def look(self) -> None:
        """Ask once more, unless the last answers are still awaited: a bounded time."""
        if not self._looking:
            self._looking = True
            self._tasks.spawn(self._ask())

    async def _ask(self) -> None:
        paths = {OWN: [str(self._home.path)]}
        for name, agent in self._agents.items():
            state = agent.spec.recipe_data.get("state_dir")
            paths[name] = [agent.spec.working_dir, *([state] if state else [])]
        try:
            parts = await self._errands.run("mounts", lambda: _by_mount(paths), limits.DISK_LOOK_TIMEOUT_S)
            found = await asyncio.gather(*(self._part(mount, part) for mount, part in parts.items()))
            self._found = dict(zip(parts, found, strict=True))
            self.take([disk for disks in found for disk in disks])
        except (HeldUp, OSError):
            return  # a local disk holds us up: nothing is known now
        finally:
            self._looking = False

    async def _part(self, mount: str, paths: Paths) -> list[Disk]:
        """The disks of these paths; as they were seen last while their mount does not answer."""
        try:
            return await self._errands.run(f"disk:{mount}", lambda: senses.disks(paths), limits.DISK_LOOK_TIMEOUT_S)
        except (HeldUp, OSError):
            return self._found.get(mount, [])

    def take(self, found: list[Disk]) -> None:
        """Judge what was seen."""
        self._disks = found
        for disk in found:
            self._judge(disk)
        paths = {disk.path for disk in found}
        for gone in [path for path in self._standing if path not in paths]:
            del self._standing[gone]
            self._full.pop(gone, None)
            self._alarms.clear(f"disk:{gone}", "", f"nothing lives on the disk of {gone} any more")

    def _judge(self, disk: Disk) -> None:
        before = self._standing.get(disk.path, Standing())
        after = rules.node_disk(before, disk.share, disk.path, self._enter(disk))
        self._standing[disk.path] = after
        key = f"disk:{disk.path}"
        if after.level >= ALARM:
            said = HoldfastError(errors.DISK_NEARLY_FULL, detail=after.detail, path=disk.path)
            self._alarms.raise_(key, "", said)
        else:
            self._alarms.clear(key, "", f"the disk of {disk.path} has room again ({disk.share:.0%} full)")
        if rules.is_full(disk.free_bytes, disk.total_bytes, disk.files_left, was=disk.path in self._full):
            self._full[disk.path] = disk
        else:
            self._full.pop(disk.path, None)

    def _enter(self, disk: Disk) -> float:
        """The lowest level that an agent on it asks for; without agents, Holdfast's own."""
        asked = [self._agents[name].spec.resources.disk for name in disk.users if name in self._agents]
        return min(asked, default=limits.DISK_WARN_SHARE)

    def signs(self) -> list[Sign]:
        """The full ones, with the agents that live there."""
        return [
            Sign(
                key=f"disk:{path}",
                cause=Cause.DISK,
                why=f"the disk of {path} is full",
                agents=frozenset(disk.users) - {OWN},
            )
            for path, disk in self._full.items()
        ]

    def views(self) -> list[DiskView]:
        return [
            DiskView(path=disk.path, share=round(disk.share, 4), free_bytes=disk.free_bytes) for disk in self._disks
        ]


def _by_mount(paths: Paths) -> dict[str, Paths]:
    """The paths of each mount that may stop answering; "" for all others."""
    remote = mounts.read()
    parts: dict[str, Paths] = {}
    for user, wanted in paths.items():
        for path in wanted:
            parts.setdefault(mounts.entered(path, remote), {}).setdefault(user, []).append(path)
    return parts
