"""What becomes known-good, when chores are done, what is said of the second place and of damage."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import structs

from holdfast import limits
from holdfast.keeper.state.state_upkeep import CHORES, SECOND
from holdfast.worker.protocol import Fault, JobFailed
from tests.harness import hurried
from tests.harness.keeping import AT, Keeping
from tests.unit.keeper.test_keeper_snapshots import Work

TIDIED = {"taken": [], "early": [], "expired": [], "said": [], "freed_bytes": 0, "refused": "", "trouble": []}
CHECKED = {"faults": [], "said": [], "restorable": 1}
PROVEN = {"faults": [], "unchecked": [], "looked": 1}
COLLECTED = {"freed_bytes": 0, "refused": ""}
DAY_S = 86_400.0


def play(tmp_path: Path, work: Work, *names: str, **state: Any) -> None:
    async def all_of_it() -> None:
        keeping = Keeping(tmp_path, *names, **state)
        answers: dict[str, dict[str, Any]] = {
            "tidy": TIDIED,
            "verify": CHECKED,
            "prove": PROVEN,
            "mark-good": {"new": True},
            "gc-second": COLLECTED,
        }
        for job, told in answers.items():
            says(keeping, job, **told)
        keeping.upkeep.begin()
        try:
            await work(keeping)
        finally:
            await keeping.close()

    hurried.run(all_of_it())


def says(keeping: Keeping, job: str, **told: Any) -> None:
    async def answer(name: str, args: dict[str, Any]) -> dict[str, Any]:
        return dict(told)

    keeping.jobs.answers[job] = answer


def fails(keeping: Keeping, job: str, why: str = "it says no") -> None:
    async def answer(name: str, args: dict[str, Any]) -> dict[str, Any]:
        raise JobFailed(Fault.STORE, why)

    keeping.jobs.answers[job] = answer


def marked(keeping: Keeping) -> list[str]:
    return [args["snapshot"] for _, job, _, args in keeping.jobs.asked if job == "mark-good"]


def test_only_what_an_agent_was_well_after_for_long_becomes_known_good(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        agent = keeping.agents["a"]
        await asyncio.sleep(limits.PROVEN_AFTER_S)
        assert marked(keeping) == []
        await asyncio.sleep(3600.0)
        assert abs(len(marked(keeping)) - 3600.0 / limits.KNOWN_GOOD_EVERY_S) <= 1
        assert marked(keeping) == sorted(marked(keeping))
        agent.memory.ladder = structs.replace(agent.ladder, good_since_mono=None)
        before = len(marked(keeping))
        await asyncio.sleep(3600.0)
        assert len(marked(keeping)) == before

    play(tmp_path, work, "a")


def test_what_does_not_pass_its_check_is_said_and_the_former_one_stays_known_good(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        says(keeping, "prove", faults=["/srv/x/base.db: malformed"], unchecked=[], looked=1)
        await asyncio.sleep(1200.0)
        assert marked(keeping) == []
        (told,) = set(keeping.alarms.values())
        assert "/srv/x/base.db: malformed" in told
        assert "does not become known-good" in keeping.snapshots.trouble("a")[0]
        says(keeping, "prove", faults=[], unchecked=["/srv/x/big.db: too large"], looked=1)
        await asyncio.sleep(1200.0)
        assert marked(keeping)
        assert keeping.alarms == {}
        assert "not looked at: /srv/x/big.db: too large" in keeping.said("snapshot.known-good")[0]

    play(tmp_path, work, "a")


def test_chores_are_done_one_at_a_time_when_due_also_by_the_next_keeper(tmp_path: Path) -> None:
    under_way, most = 0, 0

    async def work(keeping: Keeping) -> None:
        async def check(name: str, args: dict[str, Any]) -> dict[str, Any]:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(20.0)
            under_way -= 1
            return dict(CHECKED)

        keeping.jobs.answers["verify"] = check
        await asyncio.sleep(1.05 * DAY_S)
        how = [args.get("how") for _, job, of, args in keeping.jobs.asked if job == "verify" and of == "a"]
        assert 24 <= how.count("closure") <= 25
        assert (how.count("sample"), how.count("drill")) == (1, 0)
        assert most == 1
        assert 24 <= len(keeping.jobs.times("tidy", "a")) <= 26
        assert len(keeping.jobs.times("gc-second")) == 0

    play(tmp_path, work, "a", "b")

    async def again(keeping: Keeping) -> None:
        keeping.loop.now += 1.05 * DAY_S + 2 * limits.STATE_CLOSURE_EVERY_S
        await asyncio.sleep(limits.STATE_UPKEEP_LOOK_S * 2)
        assert [args["how"] for _, job, _, args in keeping.jobs.asked if job == "verify"] == ["closure", "closure"]

    play(tmp_path, again, "a", "b")


def test_a_clock_that_jumps_far_ahead_or_back_has_each_chore_done_once(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        place: Any = keeping.upkeep
        jumped = [0.0]
        place._clock.now_at = lambda: AT + keeping.loop.time() + jumped[0]
        await asyncio.sleep(600.0)
        for jump in (10 * 365 * DAY_S, -365 * DAY_S):
            jumped[0] = jump
            before = len(keeping.jobs.times("verify"))
            await asyncio.sleep(600.0)
            assert 1 <= len(keeping.jobs.times("verify")) - before <= 3

    play(tmp_path, work, "a")


def test_damage_is_told_with_what_remains_and_taken_back(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        await asyncio.sleep(300.0)
        says(keeping, "verify", faults=[{}], said=["snapshot abc cannot be restored whole: /srv/x"], restorable=3)
        await asyncio.sleep(2 * 3600.0)
        assert len(keeping.said("state.damaged")) == 1
        (told,) = keeping.alarms.values()
        assert "snapshot abc cannot be restored whole" in told
        says(keeping, "verify", **CHECKED)
        await asyncio.sleep(3700.0)
        assert keeping.said("state.checked") == ["its snapshots are whole"]
        assert keeping.alarms == {}

    play(tmp_path, work, "a")


def lag(behind_s: float, objects: int) -> dict[str, Any]:
    return {"behind_s": behind_s, "objects": objects}


def test_a_second_place_that_does_not_answer_is_tried_again_later_and_its_lag_told(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        says(
            keeping, "upload", error="no answer", lasting=False, lag=lag(4000, 3), words="remote lag 66 min", late=True
        )
        await asyncio.sleep(3600.0)
        times = keeping.jobs.times("upload")
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert max(pauses) <= limits.UPLOAD_AGAIN_LONGEST_S + limits.STATE_UPKEEP_LOOK_S
        assert pauses[-1] > 20 * pauses[0]
        assert len(keeping.said("upload.failed")) == 1
        assert "remote lag 66 min" in keeping.alarms["remote-lag:a"]
        says(keeping, "upload", error="", lasting=False, lag=lag(0, 0), words="", late=False)
        await asyncio.sleep(1000.0)
        assert keeping.alarms == {}
        assert len(keeping.said("upload.recovered")) == 1
        assert keeping.jobs.times("snapshot")[-1] - keeping.jobs.times("upload")[-1] < 120.0

    play(tmp_path, work, "a", store="/mnt/second", store_every_s=60.0)


def test_a_second_place_on_the_disk_of_the_first_is_no_second_place(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        taken = keeping.jobs.answers["snapshot"]

        async def beside(name: str, args: dict[str, Any]) -> dict[str, Any]:
            return {**await taken(name, args), "same_disk": True}

        keeping.jobs.answers["snapshot"] = beside
        told: dict[str, Any] = {"error": "", "lasting": False, "lag": lag(0, 0), "words": "", "late": False}
        says(keeping, "upload", **told, same_disk=True)
        await asyncio.sleep(300.0)
        assert "every copy of the snapshots of a lies on the same disk" in keeping.snapshots.trouble("a")[0]
        says(keeping, "upload", **told, same_disk=False)
        await asyncio.sleep(300.0)
        assert keeping.snapshots.trouble("a") == []

    play(tmp_path, work, "a", store="/mnt/second", store_every_s=60.0)


def test_a_second_place_that_is_away_is_told_without_a_number_that_grows_old(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        says(keeping, "upload", error="no disk", lasting=True, lag=lag(1, 1), words="remote lag 1 s", late=False)
        await asyncio.sleep(300.0)
        assert keeping.snapshots.trouble("a") == ["its second place was not reached: no disk"]

    play(tmp_path, work, "a", store="/mnt/second", store_every_s=60.0)


def test_another_second_place_is_tried_at_once(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        says(keeping, "upload", error="", lasting=False, lag=lag(0, 0), words="", late=False)
        await asyncio.sleep(1000.0)
        before, agent = len(keeping.jobs.times("upload")), keeping.agents["a"]
        agent.spec = structs.replace(agent.spec, state=structs.replace(agent.spec.state, store="/mnt/third"))
        await asyncio.sleep(limits.STATE_UPKEEP_LOOK_S + 1.0)
        assert len(keeping.jobs.times("upload")) == before + 1

    play(tmp_path, work, "a", store="/mnt/second", store_every_s=3600.0)


def test_the_second_place_is_collected_once_a_week_and_a_refusal_is_no_trouble(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        says(keeping, "upload", error="", lasting=False, lag=lag(0, 0), words="", late=False)
        says(keeping, "gc-second", freed_bytes=0, refused="it may not be deleted there")
        await asyncio.sleep(8 * DAY_S)
        assert len(keeping.jobs.times("gc-second")) == 1
        assert keeping.snapshots.trouble("a") == []

    assert CHORES[SECOND].every_s == 7 * DAY_S
    play(tmp_path, work, "a", store="/mnt/second", store_every_s=3600.0, every_s=3600.0)


def test_a_chore_that_fails_holds_up_no_other_and_is_done_again_when_due(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        fails(keeping, "tidy")
        await asyncio.sleep(3 * 3600.0 + 60.0)
        assert len(keeping.said("state.chore-failed")) >= 4  # two agents, hourly
        assert keeping.jobs.times("verify", "b")

    play(tmp_path, work, "a", "b")


def test_agents_that_were_removed_are_looked_at_at_once_and_daily(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        begun = keeping.loop.time()
        cleared: list[float] = []

        async def clear() -> None:
            cleared.append(keeping.loop.time() - begun)

        keeping.upkeep.clear_removed = clear
        await asyncio.sleep(2.5 * DAY_S)
        assert len(cleared) == 3
        assert cleared[0] < 60.0

    play(tmp_path, work, "a")
