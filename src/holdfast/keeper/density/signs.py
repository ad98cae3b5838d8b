"""Whether agents do nothing: what they say, who talks to them, what CPU they take.

Invariant: looking costs nothing while nobody may sleep, and reads /proc beside the keeper's loop. What cannot be seen
is None, never 0. Called by idling.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from holdfast import limits
from holdfast.density.hibernation import Signs
from holdfast.healing.model import Phase
from holdfast.health.usage import cpu_s
from holdfast.keeper.agent import Agent
from holdfast.keeper.density import sockets
from holdfast.keeper.density.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, Calls


class Ask(NamedTuple):
    """One agent to look at. `members()` lists its processes."""

    name: str
    pid: int
    cgroup: str | None
    members: Callable[[], Iterable[int]]


class Sight(NamedTuple):
    """What was seen of it. `cpu_s`: used so far by this instance. `share` of a core, on average; see followed."""

    pid: int
    at_mono: float
    calls: Calls
    cpu_s: float | None
    share: float | None = None


def look(asked: Iterable[Ask], passing: frozenset[int], now: float) -> dict[str, Sight]:
    """Reads /proc of every process of these agents: belongs into a thread. `passing`: see sockets.ours."""
    table = sockets.Table()
    rows = table.read(LISTEN, ESTABLISHED, CLOSE_WAIT)
    table.close()
    ours: frozenset[int] | None = None
    found: dict[str, Sight] = {}
    for one in asked:
        own = sockets.held_by({one.pid, *one.members()})
        calls = sockets.calls(rows, own, frozenset())
        if calls.inbound or calls.outbound:
            if ours is None:  # looked for only when somebody talks to somebody
                ours = sockets.ours(passing)
            calls = sockets.calls(rows, own, ours)
        found[one.name] = Sight(one.pid, now, calls, cpu_s(one.pid, one.cgroup))
    return found


def followed(before: Sight | None, seen: Sight) -> Sight:
    """With its share of a core: its housekeeping (a snapshot, garbage to collect) for a moment is no work. Pure."""
    if before is None or before.pid != seen.pid or seen.at_mono <= before.at_mono:
        return seen
    if before.cpu_s is None or seen.cpu_s is None:
        return seen
    share = max(0.0, seen.cpu_s - before.cpu_s) / (seen.at_mono - before.at_mono)
    if before.share is not None:
        share = before.share + limits.SLEEP_CPU_WEIGHT * (share - before.share)
    return seen._replace(share=share)


def signs(says_idle: bool | None, seen: Sight | None, *, healthy: bool, next_s: float | None) -> Signs:
    """What is known. An agent that does not say that it is idle counts as at work while it talks to anybody at all."""
    connections = None
    if seen is not None and seen.calls.listens:
        connections = seen.calls.inbound + (0 if says_idle else seen.calls.outbound)
    share = None if seen is None else seen.share
    return Signs(says_idle=says_idle, connections=connections, cpu_share=share, healthy=healthy, next_schedule_s=next_s)


def why_awake(agent: Agent) -> str:
    """What keeps it from sleeping, one clause: only who is past its start, with nothing wrong or under way, may."""
    ladder = agent.ladder
    if agent.world.state != "up" or not ladder.running:
        return "it does not run"
    if ladder.planned_stop or ladder.aside or agent.leaving:
        return "it is being stopped"
    if ladder.incident:
        return "an incident is open"
    if agent.memory.restoration is not None:
        return "its state is being restored"
    if ladder.starved:
        return "it is short of memory or CPU"
    if ladder.phase is not Phase.HEALTHY or not ladder.gate_passed:
        return f"it is {ladder.phase}"
    return ""
