"""What `capacity` has to know of the keeper's agents, collected in the keeper's loop in one go. Only looks.

Called by the API; judged by room_left.py, aside.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.room_left import Known, NodeKnown
from holdfast.keeper.density.shown import Look, Shown

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper

_NUMBER = re.compile(r"\d+")
_NOT_COUNTED = frozenset({Phase.STOPPED, Phase.FINISHED, Phase.SPARE})


def node_known(keeper: Keeper) -> NodeKnown:
    """The node as the semaphore knows it now."""
    semaphore = keeper.semaphore
    budget = semaphore.state.budget_bytes if semaphore.reading is not None else None
    return NodeKnown(node=semaphore.node, budget_bytes=budget, home=str(keeper.home.path))


def known(keeper: Keeper) -> list[Known]:
    """All agents as they are now."""
    memory = Look(keeper)
    return [_known(keeper, agent, memory.of(agent)) for agent in keeper.agents.values()]


def _known(keeper: Keeper, agent: Agent, shown: Shown) -> Known:
    spec, usage = agent.spec, keeper.resources.usage(agent.name)
    return Known(
        name=agent.name,
        recipe=spec.recipe,
        like=tuple(_NUMBER.sub("#", word) for word in spec.command),
        priority=spec.priority,
        counts=agent.ladder.wanted and agent.ladder.phase not in _NOT_COUNTED,
        usage_bytes=shown.usage_bytes,
        lease_bytes=max(shown.lease_bytes or 0, shown.start_lease_bytes or 0),
        start_bytes=keeper.starts.need(agent),
        limit_bytes=spec.limits.memory_bytes,
        cpu=(usage.cpu or 0.0) if usage is not None else 0.0,
        asleep=bool(shown.asleep),
        history=agent.memory.history,
    )
