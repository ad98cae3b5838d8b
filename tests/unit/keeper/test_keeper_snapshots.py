"""When the keeper has states kept, what it does when that fails or lasts, and how long a stop waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from holdfast import limits
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.state.model import Cause
from holdfast.worker.protocol import Fault, JobFailed
from tests.harness import hurried
from tests.harness.keeping import Keeping

Work = Callable[[Keeping], Coroutine[Any, Any, None]]


def play(tmp_path: Path, work: Work, *names: str, **state: Any) -> None:
    async def all_of_it() -> None:
        keeping = Keeping(tmp_path, *names, **state)
        try:
            await work(keeping)
        finally:
            await keeping.close()

    hurried.run(all_of_it())


async def forever(name: str, args: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(1e9)
    return {}


async def refused(name: str, args: dict[str, Any]) -> dict[str, Any]:
    raise JobFailed(Fault.FULL, "No space left on device")


def test_each_agent_is_kept_once_in_its_minute_and_never_twice_at_once(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        names = list(keeping.agents)

        async def slow(name: str, args: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(150.0 if name == "slow" else 0.1)
            return await keeping.jobs.taken(name, args)

        keeping.jobs.answers["snapshot"] = slow
        await asyncio.sleep(3600.0)
        for name in names:
            made = len(keeping.jobs.times("snapshot", name))
            assert 18 <= made <= 24 if name == "slow" else 59 <= made <= 61
        assert keeping.jobs.most == 1
        assert len(keeping.said("snapshot.taken")) >= 5 * 59 + 18

    play(tmp_path, work, "a", "b", "c", "d", "e", "slow")


def test_failures_are_tried_again_later_and_later_and_said_seldom(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        keeping.jobs.answers["snapshot"] = refused
        await asyncio.sleep(2 * 3600.0)
        times = keeping.jobs.times("snapshot")
        pauses = [round(later - earlier) for earlier, later in pairwise(times)]
        assert pauses[:6] == [30, 60, 120, 240, 480, 960]
        assert set(pauses[6:]) == {limits.SNAPSHOT_RETRY_MAX_S}
        assert len(keeping.said("snapshot.failed")) == 2  # at once, and once an hour
        assert keeping.snapshots.trouble("a") == ["The last snapshot could not be made: No space left on device."]
        keeping.jobs.answers["snapshot"] = keeping.jobs.taken
        await asyncio.sleep(1800.0)
        assert len(keeping.said("snapshot.recovered")) == 1
        assert keeping.snapshots.trouble("a") == []

    play(tmp_path, work, "a")


def test_one_that_fails_or_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        async def answer(name: str, args: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep({"hung": 1e9, "bad": 0.0}.get(name, 0.1))
            if name == "bad":
                raise JobFailed(Fault.FAILED, "x")
            return await keeping.jobs.taken(name, args)

        keeping.jobs.answers["snapshot"] = answer
        await asyncio.sleep(600.0)
        assert len(keeping.jobs.times("snapshot", "good")) >= 9

    play(tmp_path, work, "hung", "bad", "good")


def test_under_pressure_nothing_is_made_by_the_clock_which_is_said_once_and_ends(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        keeping.short_of = ("memory",)
        await asyncio.sleep(limits.SNAPSHOT_PAUSE_SAID_S - 1.0)
        assert keeping.said("snapshot.paused") == []
        await asyncio.sleep(600.0)
        assert keeping.said("snapshot.paused") == ["no snapshots are made by the clock: memory is short"]
        assert keeping.snapshots.pauses.is_long
        assert keeping.snapshots.trouble("a") == ["No snapshots are made by the clock: memory is short."]
        assert keeping.jobs.asked == []
        await keeping.snapshots.take("a", Cause.MANUAL)  # who asks is not held up
        keeping.short_of = ()
        await asyncio.sleep(2 * limits.SNAPSHOT_PAUSED_LOOK_S)
        assert len(keeping.said("snapshot.resumed")) == 1
        await asyncio.sleep(120.0)
        assert len(keeping.jobs.times("snapshot", "a")) >= 2

    play(tmp_path, work, "a", "b")


def test_an_agent_whose_files_are_being_replaced_is_left_alone(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        keeping.snapshots.held_back.add("a")
        await asyncio.sleep(600.0)
        assert keeping.jobs.asked == []
        keeping.snapshots.held_back.clear()
        await asyncio.sleep(70.0)
        assert keeping.jobs.times("snapshot", "a")

    play(tmp_path, work, "a")


def test_a_stop_waits_for_its_snapshot_for_a_bounded_time_and_never_fails_with_it(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        snapshots, agent = keeping.snapshots, keeping.agents["a"]
        began = keeping.loop.time()
        await snapshots.before_stop(agent)
        assert keeping.loop.time() == began
        assert keeping.jobs.asked[-1][3]["cause"] == "stop"
        await snapshots.before_stop(agent)  # said again: the same stop
        assert len(keeping.jobs.asked) == 1
        agent.world = structs.replace(agent.world, epoch=2)
        keeping.jobs.answers["snapshot"] = refused
        await snapshots.before_stop(agent)
        assert len(keeping.said("snapshot.failed")) == 1
        agent.world = structs.replace(agent.world, epoch=3)
        keeping.jobs.answers["snapshot"] = forever
        began = keeping.loop.time()
        await snapshots.before_stop(agent)
        assert keeping.loop.time() - began == pytest.approx(limits.SNAPSHOT_BEFORE_STOP_S)
        assert len(keeping.said("snapshot.late")) == 1

    play(tmp_path, work, "a", every_s=None)


def test_a_stop_for_a_changed_definition_says_so(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        agent = keeping.agents["a"]
        agent.spec = structs.replace(agent.spec, env={"NEW": "1"})
        await keeping.snapshots.before_stop(agent)
        assert keeping.jobs.asked[-1][3]["cause"] == "config"

    play(tmp_path, work, "a", every_s=None)


def test_when_all_is_taken_down_every_agent_is_kept_or_the_wait_ends(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        async def answer(name: str, args: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(1e9 if name == "a3" else 0.5)
            return await keeping.jobs.taken(name, args)

        keeping.jobs.answers["snapshot"] = answer
        began = keeping.loop.time()
        await keeping.snapshots.before_down()
        assert keeping.loop.time() - began == pytest.approx(limits.SNAPSHOT_BEFORE_DOWN_S)
        assert sorted(keeping.jobs.made) == sorted(set(keeping.agents) - {"a3"})

    play(tmp_path, work, *(f"a{number}" for number in range(12)), every_s=None)


def test_an_agent_that_went_down_is_kept_once_more_and_then_left_alone(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        agent = keeping.agents["a"]
        await asyncio.sleep(300.0)
        before = len(keeping.jobs.asked)
        agent.memory.ladder = structs.replace(agent.ladder, phase=Phase.STOPPED, running=False)
        keeping.snapshots.follow(agent, keeping.loop.time())
        await asyncio.sleep(3600.0)
        assert len(keeping.jobs.asked) == before + 1

    play(tmp_path, work, "a")


def test_what_becomes_of_one_that_left_the_fleet_meanwhile_is_not_said(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        async def answer(name: str, args: dict[str, Any]) -> dict[str, Any]:
            keeping.agents.pop(name)
            keeping.snapshots.gone(name)
            raise JobFailed(Fault.INTERRUPTED, "x")

        keeping.jobs.answers["snapshot"] = answer
        await asyncio.sleep(300.0)
        assert len(keeping.jobs.asked) == 1
        assert keeping.records == []
        with pytest.raises(HoldfastError):
            await keeping.snapshots.take("a", Cause.MANUAL)

    play(tmp_path, work, "a")


def test_jobs_for_the_api_end_in_a_result_or_an_error_with_a_kind(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        said = [message async for message in keeping.snapshots.job("snapshot", "a", label="mine")]
        assert said[-1]["result"]["snapshot"]["id"]
        keeping.jobs.answers["snapshot"] = refused
        said = [message async for message in keeping.snapshots.job("snapshot", "a")]
        assert said[-1] == {"error": {"kind": "full", "detail": "No space left on device"}}

    play(tmp_path, work, "a", every_s=None)
