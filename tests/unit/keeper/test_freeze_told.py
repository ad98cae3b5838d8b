"""Nobody is frozen before init knows of it: init lets go on whom a dead keeper left standing still."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from holdfast.healing.model import Ladder, Policy
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.agent import Agent, Memory, World
from holdfast.keeper.density.groups import AgentGroups, _Held
from holdfast.spec.model import AgentSpec


def fleet_of(link: Any, group: Any) -> tuple[Agent, AgentGroups]:
    agent = Agent(AgentSpec(name="a", command=("x",), working_dir="/"), Policy(), Memory(ladder=Ladder(wanted=True)))
    agent.world = World(state="up", pid=1, epoch=1)
    places: Any = SimpleNamespace()
    groups = AgentGroups({"a": agent}, places, link, "h", lambda: None)
    groups._held["a"] = _Held(groups._key(agent), group, 0.0, False)
    return agent, groups


def test_nobody_is_frozen_of_whom_init_cannot_be_told() -> None:
    frozen: list[bool] = []
    group = SimpleNamespace(ceilings=True, freeze=lambda: frozen.append(True) or True)
    agent, groups = fleet_of(SimpleNamespace(send=lambda op, **fields: False), group)
    assert groups.freeze(agent, 100.0) is False
    assert frozen == []


def test_the_word_is_out_before_the_agent_stands_still() -> None:
    written: list[bytes] = []
    said_first: list[bool] = []

    async def freeze() -> bool:
        link: Any = InitLink.__new__(InitLink)
        link._outgoing = []
        link._lines = SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: False, write=written.append))
        group = SimpleNamespace(ceilings=True, freeze=lambda: said_first.append(bool(written)) or True)
        agent, groups = fleet_of(link, group)
        return groups.freeze(agent, 100.0)

    assert asyncio.run(freeze()) is True
    assert said_first == [True]
    assert b'"pause"' in written[0]
