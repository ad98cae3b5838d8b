"""Whom a nearly full disk keeps from starting: an agent that begins there would only fill it, and then everybody fails.

Invariant: who runs is never touched, and a restart after a crash is not asked about; as soon as there is room again the
queue goes on by itself. Pure but for what it is given to read. Called by the start queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from holdfast import limits
from holdfast.density import admission
from holdfast.keeper.agent import Agent
from holdfast.keeper.watching.disk_watch import OWN
from holdfast.node.senses import Disk
from holdfast.sizes import size


class DiskRoom:
    """`disks`: as they were seen last. `used`: bytes in an agent's own directories, None when nobody measured."""

    def __init__(
        self,
        agents: Mapping[str, Agent],
        disks: Callable[[], Iterable[Disk]],
        used: Callable[[str], int | None],
    ) -> None:
        self._agents = agents
        self._disks = disks
        self._used = used

    def kept_out(self) -> dict[str, str]:
        """Agents that may not start at present, with the reason, one clause."""
        found: dict[str, str] = {}
        for disk in self._disks():
            if OWN in disk.users and self._full(disk, limits.DISK_WARN_SHARE, False):
                why = f"{_words(disk)}: Holdfast's own files and everybody's logs are on it"
                found |= dict.fromkeys(self._agents, why)
                continue
            for name in disk.users:
                agent = self._agents.get(name)
                if agent is None:
                    continue
                bound = agent.spec.resources.disk_bytes
                over = bool(bound) and (self._used(name) or 0) >= (bound or 0)
                if self._full(disk, agent.spec.resources.disk, over):
                    also = f", and its directories hold more than {size(bound or 0)}" if over else ""
                    found.setdefault(name, f"{_words(disk)}{also}")
        return found

    def _full(self, disk: Disk, warn_share: float, over: bool) -> bool:
        return admission.disk_keeps_out(disk.share, disk.free_bytes, disk.files_left, warn_share, over)


def _words(disk: Disk) -> str:
    if not disk.files_left:
        return f"the disk of {disk.path} holds as many files as it can"
    return f"the disk of {disk.path} is {disk.share:.0%} full ({size(disk.free_bytes)} are left)"
