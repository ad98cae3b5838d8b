"""Bringing an agent's tree into its v1 cgroups after the birth, where v2 tells who belongs to it.

Entering any v1 cgroup waits for a grace period of the kernel: 6 to 14 ms, more than all the rest of a birth (measured).
So groups that hold no declared limit are entered by the spawner when nobody waits to be born, not by the newborn.
Invariant: sooner or later all that is in the v2 cgroup is in the others too, also when the spawner died before: init
asks again for all that live when it has a new one. Called by the spawner and by init's loop.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections import deque
from typing import Any

from holdfast.init import tree
from holdfast.init.agent import LIVING, Agent

ROUNDS_MAX = 8  # a tree may fork while it is listed
BORN_MAX = 32  # agents just born; beyond they go before the next birth, for what they take is not counted meanwhile

Place = tuple[str, list[str]]
"""A v2 cgroup, and the v1 directories that all of it belongs into."""


class Joining:
    """In the spawner: who is still to be brought in."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.born: deque[Place] = deque()
        self.others: deque[Place] = deque()

    def asked(self, definition: dict[str, Any], *, born: bool) -> None:
        if definition.get("cgroup_v2") and definition.get("cgroup_v1_late"):
            queue = self.born if born else self.others
            queue.append((definition["cgroup_v2"], definition["cgroup_v1_late"]))

    def work(self) -> None:
        """Until somebody waits to be born."""
        while self.born or self.others:
            if len(self.born) <= BORN_MAX and select.select([self.link], [], [], 0)[0]:
                return
            bring_in(*(self.born or self.others).popleft())


def bring_in(group: str, directories: list[str]) -> None:
    """Move all of a v2 cgroup, whoever is forked meanwhile included, into the v1 ones. Never raises."""
    for directory in directories:
        tried: set[int] = set()
        for _ in range(ROUNDS_MAX):
            outside = set(tree.inside(group)) - set(tree.inside(directory)) - tried
            if not outside:
                break
            _move(outside, directory)
            tried |= outside


def _move(pids: set[int], directory: str) -> None:
    try:
        procs = os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # it was taken away: the next birth has another
    for pid in pids:
        try:
            os.write(procs, b"%d" % pid)
        except OSError:
            continue  # it is dead
    os.close(procs)


def ask(spawner: socket.socket, agents: dict[str, Agent], names: dict[str, None]) -> None:
    """In init: have those of `names` brought in that live; what is not taken now stays in `names`."""
    for name in list(names):
        agent = agents.get(name)
        if agent is not None and agent.state in LIVING and agent.definition.cgroup_v1_late:
            own = {"cgroup_v2": agent.definition.cgroup_v2, "cgroup_v1_late": agent.definition.cgroup_v1_late}
            try:
                spawner.send(json.dumps({"join": own}).encode())
            except OSError:
                return
        del names[name]
