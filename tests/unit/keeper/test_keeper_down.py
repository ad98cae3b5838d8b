"""Two misunderstandings with init: it leaves before it answers `down`, and it drops a permit by its fence."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.errors import HoldfastError
from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.acting import leaving
from holdfast.keeper.acting.intake import Intake
from holdfast.keeper.acting.permits import Permit
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.keeper import Keeper
from holdfast.spec.model import AgentSpec


def keeper(*, connected: bool, error: Exception) -> Keeper:
    """As far as `down` needs one; init meets the question with `error`."""

    async def call(op: str, **fields: Any) -> dict[str, Any]:
        raise error

    async def before_down() -> None:
        pass

    made = object.__new__(Keeper)
    made.__dict__.update(
        agents={},
        stopping=False,
        home=SimpleNamespace(path="/h"),
        snapshots=SimpleNamespace(before_down=before_down),
        recorder=SimpleNamespace(record=lambda *args, **more: None),
        link=SimpleNamespace(connected=connected, call=call),
    )
    return made


def test_an_init_that_leaves_before_it_answers_has_gone_down() -> None:
    assert asyncio.run(leaving.down(keeper(connected=True, error=ConnectionResetError("broke")))) == 0


@pytest.mark.parametrize(
    ("connected", "error"), [(False, ConnectionResetError("no line")), (True, TimeoutError("silent"))]
)
def test_an_init_that_was_not_there_or_is_silent_has_not(connected: bool, error: Exception) -> None:
    asked = keeper(connected=connected, error=error)
    with pytest.raises(HoldfastError):
        asyncio.run(leaving.down(asked))
    assert not asked.stopping


def test_after_an_exit_the_permit_is_said_again() -> None:
    """One that was on its way when the agent died was dropped by init: an equal one must not pass for held."""
    spec = AgentSpec(name="one", command=("x",), working_dir="/")
    agent = Agent(spec, Policy(), Memory(ladder=Ladder(phase=Phase.HEALTHY, running=True, instance=1)))
    agent.permit_held = Permit(delays_s=(0.0,))
    nothing = SimpleNamespace(
        observe=lambda *args, **more: None,
        follow=lambda *args: None,
        oom_kills=lambda agent: None,
        exit_words=lambda agent: "exit 1",
    )
    there = cast(Any, nothing)
    intake = Intake(
        {"one": agent}, there, there, there, there, there, there,
        adopted=lambda: None, gone=lambda agent: None, changed=lambda agent: None, died=lambda agent: None,
        moved_in=lambda agent: None,
    )  # fmt: skip
    event = {"ev": "exited", "agent": "one", "epoch": 1, "seq": 1, "status": {"code": 1}, "lived_s": 1.0}

    async def hear() -> None:
        intake._event(event)

    asyncio.run(hear())
    assert agent.permit_held is None
