"""A start waits for a look at the state only where the program would start on damage, and something can be put back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.keeper.state.state_gate import StateGate
from holdfast.spec.model import AgentSpec
from holdfast.worker.protocol import Fault, JobFailed

DAMAGE = {"path": "/h/state.db", "kind": "database", "reason": "it is empty"}


class Bench:
    """A keeper that has a restorer, and a worker whose looks find `faults`."""

    def __init__(self, recipe: str = "hermes", *, available: bool = True) -> None:
        self.faults: list[dict[str, str]] = []
        self.error: JobFailed | None = None
        self.stuck, self.taken, self.asked = "", list[list[dict[str, str]]](), list[str]()
        spec = AgentSpec(name="h", command=("x",), working_dir="/", recipe=recipe, recipe_data={"home": "/h"})
        policy, ladder = SimpleNamespace(restore_available=available), SimpleNamespace(running=False)
        self.agent: Any = SimpleNamespace(name="h", spec=spec, policy=policy, ladder=ladder)
        jobs = SimpleNamespace(ask=self._ask)
        holding = SimpleNamespace(waits=lambda agent: bool(self.stuck), settle=self._settle)
        self.gate = StateGate(cast(Any, jobs), self._take, cast(Any, holding))

    def _take(self, agent: object, faults: list[dict[str, str]]) -> None:
        self.taken.append(faults)

    async def _ask(self, job: str, name: str, **args: Any) -> dict[str, Any]:
        self.asked.append(job)
        if self.error is not None:
            raise self.error
        return {"faults": self.faults}

    async def _settle(self, agent: object) -> str:
        return self.stuck

    def settled(self) -> str:
        async def settle() -> str:
            why = await self.gate.settle(self.agent)
            assert self.taken == []  # the ladder hears of the failed start first
            await asyncio.sleep(0)
            return why

        return asyncio.run(settle())


def test_a_whole_state_is_started_on() -> None:
    bench = Bench()
    assert bench.gate.waits(bench.agent)
    assert bench.settled() == ""
    assert bench.asked == ["check-state"]


def test_a_damaged_state_is_a_start_that_failed_and_the_ladder_is_told_of_the_damage() -> None:
    bench = Bench()
    bench.faults = [DAMAGE]
    assert bench.settled() == "its state is damaged: /h/state.db (it is empty)"
    assert bench.taken == [[DAMAGE]]


def test_what_could_not_be_looked_at_holds_nothing_up() -> None:
    bench = Bench()
    bench.error = JobFailed(Fault.INTERRUPTED, "the worker ended")
    assert bench.settled() == ""


@pytest.mark.parametrize("bench", [Bench("process"), Bench("openclaw"), Bench(available=False)])
def test_who_refuses_damage_itself_or_has_nothing_to_go_back_to_is_not_looked_at(bench: Bench) -> None:
    assert not bench.gate.waits(bench.agent)
    bench.stuck = "a restore is stuck"
    assert bench.gate.waits(bench.agent)
    assert bench.settled() == "a restore is stuck"
    assert bench.asked == []
