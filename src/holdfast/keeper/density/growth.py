"""Restarts agents that leak before they reach their limit: planned, announced, at most so often.

Invariants: the record with its numbers is durable before the restart is asked for, so a keeper killed in between
neither forgets nor repeats it; an agent that is not well, in maintenance or already on its way is left alone. Called
by keeper.resources with each reading of memory; `word(name)` tells people what is ahead, and the ledger says it once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from holdfast import limits
from holdfast.clock import Clock
from holdfast.healing.model import Phase
from holdfast.health import leak
from holdfast.health.leak import Leak, Sight, When
from holdfast.health.trend import Trend
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder

_WELL = frozenset({Phase.HEALTHY, Phase.DEGRADED})


class Room(NamedTuple):
    """Of the node: what all agents together may use, and what of it nobody uses. Bytes."""

    budget_bytes: int
    free_bytes: int


class Growth:
    """`idle(agent)` None: it does not say. `restart(agent, why)` is a person's restart but for the words.

    `room()` None: nobody knows what the node has; then only declared limits count.
    """

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        *,
        idle: Callable[[Agent], bool | None],
        restart: Callable[[Agent, str], None],
        room: Callable[[], Room | None],
        ready: Callable[[], bool],
        changed: Callable[[Agent], None],
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._idle = idle
        self._restart = restart
        self._room = room
        self._ready = ready
        self._changed = changed
        self._known: dict[str, Leak] = {}
        self._told: dict[str, int] = {}  # of which instance it was said what is ahead

    def word(self, name: str) -> str:
        """What is ahead of an agent that leaks, one clause; "" for others."""
        known = self._known.get(name)
        return "" if known is None else _ahead(known)

    def follow(self, agent: Agent, used_bytes: int, trend: Trend | None, rush: Trend | None) -> None:
        """One reading. Restarts it when the rule says that it is time."""
        found = None if trend is None and rush is None else self._judge(agent, used_bytes, trend, rush)
        if found is None:
            self._known.pop(agent.name, None)
            return
        if found.when is When.LATER or not self._ready():
            if self._told.get(agent.name) != agent.ladder.instance:
                self._told[agent.name] = agent.ladder.instance
                self._recorder.record("density.leaking", agent.name, _ahead(found), _numbers(found, used_bytes))
            self._known[agent.name] = found
            return
        self._known.pop(agent.name, None)
        agent.memory.leaked_at = self._clock.now_at()
        body = {**_numbers(found, used_bytes), "leaked_at": agent.memory.leaked_at, "when": found.when.value}
        why = f"its memory leaks: {found.why}"
        self._recorder.record("density.leak", agent.name, f"a restart is planned: {why}", body, durable=True)
        self._changed(agent)
        self._restart(agent, why)

    def forget(self, name: str) -> None:
        """It was taken out of the fleet."""
        self._known.pop(name, None)
        self._told.pop(name, None)

    def _judge(self, agent: Agent, used_bytes: int, trend: Trend | None, rush: Trend | None) -> Leak | None:
        ladder, wanted = agent.ladder, agent.spec.resources
        if ladder.phase not in _WELL or ladder.incident or agent.policy.hands_off or agent.leaving:
            return None
        limit_bytes = self._limit(agent, used_bytes)
        if not limit_bytes:
            return None
        now_at = self._clock.now_at()
        since_s = now_at - agent.memory.leaked_at
        sight = Sight(
            used_bytes=used_bytes,
            limit_bytes=limit_bytes,
            trend=trend,
            rush=rush if agent.spec.limits.memory_bytes else None,  # a spike in the node is for the leases
            idle=self._idle(agent),
            grace_s=agent.policy.stop_grace_s,
            warn_share=wanted.memory_warn,
            alarm_share=wanted.memory_alarm,
            night=leak.night(now_at),
            since_s=since_s if since_s >= 0 else float("inf"),  # the clock was set back
        )
        return leak.judge(sight)

    def _limit(self, agent: Agent, used_bytes: int) -> int | None:
        """Its own, or what the node has for it if it is one of those who fill it."""
        if agent.spec.limits.memory_bytes:
            return agent.spec.limits.memory_bytes
        room = self._room()
        if room is None or used_bytes < limits.LEAK_NODE_SHARE * room.budget_bytes:
            return None
        return used_bytes + max(0, room.free_bytes)


def _numbers(found: Leak, used_bytes: int) -> dict[str, Any]:
    return {
        "used_bytes": used_bytes,
        "limit_bytes": found.limit_bytes,
        "slope_bytes_s": round(found.slope_bytes_s, 1),
        "limit_in_s": round(found.soon_s, 1),
    }


def _ahead(found: Leak) -> str:
    return f"it leaks ({found.why}) and is restarted before that: when it is idle, or in the quiet hour"
