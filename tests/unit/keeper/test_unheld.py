"""An agent that lost its memory cgroup is told of once, and once more when the kernel holds it again."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from holdfast import limits
from holdfast.healing.model import Ladder, Policy
from holdfast.keeper.agent import Agent, Memory, World
from holdfast.keeper.density.groups import JOINS_IN_S, AgentGroups
from holdfast.keeper.density.unheld import Unheld
from holdfast.node.cgroups import CgroupPlan
from holdfast.spec.model import AgentSpec


def an_agent(**world: Any) -> Agent:
    agent = Agent(AgentSpec(name="bot", command=("x",), working_dir="/"), Policy(), Memory(ladder=Ladder()))
    agent.world = World(state="up", pid=os.getpid(), **world)
    return agent


def groups(agent: Agent, *roots: Path) -> AgentGroups:
    plan = CgroupPlan("v1" if roots else "none", "", v1_roots=dict(zip(("memory",), roots, strict=False)))
    places: Any = SimpleNamespace(plan=plan)
    link: Any = SimpleNamespace(send=lambda *_, **__: None)
    return AgentGroups({agent.name: agent}, places, link, "h", lambda: None)


def test_what_holds_an_agent_is_seen_in_its_groups(tmp_path: Path) -> None:
    agent = an_agent(spawned_mono=100.0)
    later = 100.0 + JOINS_IN_S
    assert groups(agent).why_unheld(agent, later) == "", "agents get no memory cgroup here: doctor says so"
    seen = groups(agent, tmp_path)
    assert seen.why_unheld(agent, later - 1) is None, "it may still be on its way into its group"
    assert seen.why_unheld(agent, later) == "its memory cgroup is gone"
    (tmp_path / "bot.1").mkdir()
    (tmp_path / "bot.1" / "memory.limit_in_bytes").touch()
    assert seen.why_unheld(agent, later) == "it is outside of its memory cgroup"


def test_each_change_is_told_once_and_outlives_the_keeper() -> None:
    agent, told, found = an_agent(), [], {"why": "its memory cgroup is gone"}
    record: Any = SimpleNamespace(record=lambda kind, _name, _text, body: told.append((kind, body)))
    seen: Any = SimpleNamespace(why_unheld=lambda _agent, _now: found["why"])

    def keeper() -> Unheld:
        return Unheld({"bot": agent}, seen, record)

    first = keeper()
    for now in (0.0, 1.0, limits.UNHELD_LOOK_S):
        first.look(now)
    keeper().look(0.0)  # the next one remembers what the ledger said
    assert told == [("density.unheld", {"unheld": "its memory cgroup is gone"})]
    found["why"] = ""
    first.look(limits.UNHELD_LOOK_S * 2)
    assert told[1:] == [("density.held", {"unheld": ""})]
