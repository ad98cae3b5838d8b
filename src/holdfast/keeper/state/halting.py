"""Stops an agent and sees it down, so that its files can be replaced: nothing of it runs, nothing will by itself.

Invariant: what init says is what counts. Its answer to the stop comes after the stop took effect, and from then on it
starts the agent only when it is told to. Called by restoring.py, which holds back everybody who would tell it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from holdfast import limits
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.agent import Agent

_LOOK_S = 0.02


class Speaking(Protocol):
    """What hands.py says to agents and of them."""

    async def announce_stop(self, agent: Agent, what: str = "down") -> None: ...

    def define(self, agent: Agent) -> None: ...


class Halting:
    """`halt` is all of it."""

    def __init__(self, link: InitLink, hands: Speaking) -> None:
        self._link = link
        self._hands = hands

    async def halt(self, agent: Agent, grace_s: float, *, planned: bool) -> bool:
        """End its tree. False: it could not be seen down in time. Never raises."""
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_s + limits.RESTORE_HALT_S
        if planned and agent.world.pid:
            await self._hands.announce_stop(agent, "restart")
        while loop.time() < until:
            state = await self._say(agent, grace_s)
            if state == "down":
                return True
            if state == "unknown":  # one that lost its memory may still find it running, once it has been told of it
                self._hands.define(agent)
            again = min(until, loop.time() + (limits.ACT_PATIENCE_S if state else 10 * _LOOK_S))
            while loop.time() < again and agent.world.state != "down":
                await asyncio.sleep(_LOOK_S)
        return False

    async def _say(self, agent: Agent, grace_s: float) -> str:
        """The agent's state after the order; "": init cannot be asked now."""
        fields: dict[str, Any] = {"signal": agent.spec.stop.signal, "grace_s": grace_s, "cause": "restore"}
        try:
            answer = await self._link.call("stop", timeout_s=limits.ACT_PATIENCE_S, agent=agent.name, **fields)
        except (ConnectionResetError, TimeoutError):
            return ""
        return str(answer.get("state", "")) if answer.get("ok") else "unknown"
