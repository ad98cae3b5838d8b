"""`holdfast down`: the agents are told, init is asked to stop them and then all of Holdfast.

Invariant: what a person wants is in the ledger before init hears of it, and taken back when init refuses. Called by
Keeper for the API.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast import errors, limits
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


async def down(keeper: Keeper) -> int:
    """Ask init to stop the agents and then all of Holdfast; returns how many agents that are."""
    stopping = sum(agent.ladder.running for agent in keeper.agents.values())
    keeper.recorder.record("holdfast.down", "", "a person asked: down", {"down": True}, durable=True)
    keeper.stopping, said = True, False
    try:
        await keeper.snapshots.before_down()
        for agent in keeper.agents.values():
            keeper.sleepers.rouse(agent, "Holdfast is taken down")  # whoever is frozen hears no signal
        await asyncio.gather(*(keeper.hands.announce_stop(agent) for agent in keeper.agents.values()))
        said = keeper.link.connected
        answer = await keeper.link.call("shutdown", timeout_s=limits.INIT_ANSWER_TIMEOUT_S, keep_agents=False)
        refusal = "" if answer.get("ok") else str(answer.get("error"))
    except ConnectionResetError as error:
        refusal = "" if said else f"init does not answer: {error}"  # it left before it answered
    except (OSError, TimeoutError) as error:
        refusal = f"init does not answer: {error}"
    if refusal:
        keeper.stopping = False
        keeper.recorder.record("holdfast.down", "", f"not carried out: {refusal}", {"down": False}, durable=True)
        raise HoldfastError(errors.KEEPER_FAILED, reason=refusal, home=keeper.home.path)
    return stopping
