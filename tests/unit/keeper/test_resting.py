"""An agent brought to rest for a snapshot is let go whatever happens; one that is at work is not held up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast import limits
from holdfast.health.command import Ran
from holdfast.keeper.state.resting import Rester, Resting, as_arguments, noted
from holdfast.keeper.tasks import Tasks
from holdfast.recipes.model import FunctionProbe
from holdfast.spec.model import AgentSpec
from holdfast.state.model import Rest
from tests.harness import hurried

OK = Ran(code=0, line='{"judgement": "ok"}')
BUSY = Ran(code=0, line='{"judgement": "degraded", "detail": "1 active request"}')
UNKNOWN = Ran(code=0, line='{"judgement": "unknown", "detail": "its RPC cannot be reached"}')


class Bench:
    """An agent of the OpenClaw recipe and what it answers to `rest` and `go-on`."""

    def __init__(self, *answers: Ran) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.slow_s = 0.0
        data = {"port": "1", "config": "/x/openclaw.json"}
        spec = AgentSpec(name="claw", command=("node",), working_dir="/", recipe="openclaw", recipe_data=data)
        ladder = SimpleNamespace(running=True, gate_passed=True)
        self.agent: Any = SimpleNamespace(
            name="claw", spec=spec, ladder=ladder, world=SimpleNamespace(pid=7), beats=None, is_frozen=False
        )
        recorder = SimpleNamespace(record=lambda kind, agent, text, body: self.said.append(text))
        self.tasks = Tasks()
        self.rester = Rester(self._ask, cast(Any, recorder), self.tasks)

    async def _ask(self, agent: object, probe: FunctionProbe) -> Ran:
        self.asked.append(probe.argv[-1])
        await asyncio.sleep(self.slow_s)
        return self.answers.pop(0) if self.answers else OK


def played(work: Coroutine[Any, Any, Resting]) -> Resting:
    found: list[Resting] = []

    async def keep() -> None:
        found.append(await work)

    hurried.run(keep())
    return found[0]


async def rested(bench: Bench, work: Callable[[], Awaitable[None]] | None = None) -> Resting:
    async with bench.rester.at_rest(bench.agent, True) as found:
        if work is not None:
            await work()
    return found


def test_it_rests_for_the_snapshot_and_goes_on_before_the_answer() -> None:
    bench = Bench()
    found = played(rested(bench))
    assert (found.rest, found.why_not) == (Rest.QUIESCED, "")
    assert found.until_mono is not None
    assert bench.asked == ["rest", "go-on"]


def test_one_at_work_is_not_let_go_since_it_was_not_held_and_who_asked_hears_why() -> None:
    bench = Bench(BUSY)
    found = played(rested(bench))
    assert (found.rest, found.why_not, found.until_mono) == (Rest.BUSY, "1 active request", None)
    assert bench.asked == ["rest"]
    told = noted({"result": {"note": "", "snapshot": None}}, found)
    assert told["result"]["note"] == "not at rest: 1 active request"


def test_one_that_cannot_be_asked_is_kept_as_it_is() -> None:
    bench = Bench(UNKNOWN, UNKNOWN)
    found = played(rested(bench))
    assert (found.rest, found.why_not) == (Rest.UNKNOWN, "its RPC cannot be reached")
    assert bench.asked == ["rest", "go-on"]  # it may have been held all the same
    assert bench.said == []


def test_an_answer_that_was_lost_is_followed_by_letting_it_go_until_it_hears() -> None:
    bench = Bench(Ran(timed_out=True), UNKNOWN, OK)
    assert played(rested(bench)).rest is Rest.UNKNOWN
    assert bench.asked == ["rest", "go-on", "go-on"]


def test_a_failed_snapshot_lets_it_go_too() -> None:
    async def fails() -> None:
        raise RuntimeError("disk full")

    bench = Bench()
    with pytest.raises(RuntimeError, match="disk full"):
        played(rested(bench, fails))
    assert bench.asked == ["rest", "go-on"]


def test_a_snapshot_that_lasts_is_not_waited_for() -> None:
    bench = Bench()

    async def lasts() -> None:
        await asyncio.sleep(limits.REST_MAX_S + 1.0)
        assert bench.asked == ["rest", "go-on"]

    played(rested(bench, lasts))
    assert bench.asked == ["rest", "go-on"]


def test_one_that_is_not_let_go_is_said_to_go_on_by_itself() -> None:
    bench = Bench(OK, *[UNKNOWN] * limits.REST_END_TRIES)
    played(rested(bench))
    assert bench.asked == ["rest", *["go-on"] * limits.REST_END_TRIES]
    assert "within 120 s it goes on by itself" in bench.said[0]


def test_nobody_is_brought_to_rest_who_is_down_or_starting_or_when_nobody_wants_it() -> None:
    bench = Bench()
    bench.agent.ladder.gate_passed = False
    assert played(rested(bench)).rest is Rest.UNKNOWN
    bench.agent.world.pid = 0
    assert played(rested(bench)).rest is Rest.STOPPED

    async def not_wanted() -> Resting:
        async with Bench().rester.at_rest(bench.agent, False) as found:
            return found

    assert as_arguments(played(not_wanted())) == {"rest": "stopped", "rest_until_mono": None}
    assert bench.asked == []
