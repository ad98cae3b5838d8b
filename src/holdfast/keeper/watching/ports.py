"""Whose socket answers on an agent's port: the pod's own, or a stranger's that only sounds like the agent.

Invariant: a stranger is named only on proof: somebody listens on the port, nobody of the pod does, and all of the pod
could be looked at. Reads /proc and may take milliseconds: for threads and slow paths (a start, an exit), never for each
probe. Called by health.py when a start gate is answered and by places.py when an agent has died.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.errors import PORT_TAKEN, HoldfastError
from holdfast.health import address
from holdfast.keeper.agent import Agent
from holdfast.node import processes
from holdfast.spec.model import HttpProbe

# They hold a container's port in its stead, outside of the agent's pod.
FORWARDERS = frozenset({"docker-proxy", "rootlessport", "slirp4netns", "pasta", "pasta.avx2", "conmon"})


def port_of(probe: HttpProbe | None) -> int | None:
    """The TCP port a probe asks; None: a Unix socket, or nothing at all."""
    try:
        return None if probe is None else address.parse(probe.url).port
    except ValueError:
        return None


def members(main_pid: int, cgroups: Iterable[str]) -> tuple[set[int], bool]:
    """The processes of a pod, and whether a cgroup told them (else only parentage did)."""
    found: set[int] = set()
    told = False
    for directory in cgroups:
        for path, _, _ in os.walk(directory):
            try:
                found.update(int(pid) for pid in Path(path, "cgroup.procs").read_text().split())
                told = True
            except (OSError, ValueError):
                continue
    if main_pid and main_pid not in found:
        found.update(each.pid for each in processes.tree(main_pid))
    return found, told


def stranger(agent: str, port: int, main_pid: int, cgroups: Iterable[str], init_pid: int) -> str:
    """Who holds the port instead of the agent, as one clause; "" when it is the agent's, nobody's, or unknown."""
    own, told = members(main_pid, cgroups)
    if own and processes.listeners_of(port, own):
        return ""
    if not processes.is_listened_on(port):
        return ""  # another network namespace, or it has just left
    for holder in processes.listeners_of(port):
        if holder.pid in own or holder.comm in FORWARDERS:
            return ""
        found = processes.stat(holder.pid)
        if found is None or (not told and found.ppid == init_pid):
            return ""  # without cgroups, what an agent left in the background is known by init alone
        return said(agent, port, holder.pid, holder.comm)
    return ""  # held by one that may not be looked into: it may be the agent itself


def said(agent: str, port: int, pid: int, comm: str) -> str:
    """PORT_TAKEN's words without the agent's name."""
    whole = HoldfastError(PORT_TAKEN, agent=agent, port=port, pid=pid, process=comm).summary
    return whole.removeprefix(f"{agent}: ")


def asked_port(agent: Agent) -> int | None:
    """The port on which the agent is to be found."""
    health = agent.spec.health
    port = port_of(health.http)
    return port_of(health.start_gate) if port is None else port
