"""The memory leases of starts: when they are out, and what is learned from them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper import recall
from holdfast.keeper.agent import Agent, World
from holdfast.keeper.agent import Memory as Kept
from holdfast.keeper.density.starts import Starts
from holdfast.spec.model import AgentSpec, Limits, Memory

MB = 1_000_000
BUSY, FLAT = 50.0 * MB, 0.0


def agent(name: str = "a1", **spec: Any) -> Agent:
    given = {"command": ("prog", name), "working_dir": "/", **spec}
    return Agent(AgentSpec(name=name, **given), Policy(), Kept(ladder=Ladder(wanted=True)))


class Ground:
    def __init__(self, *agents: Agent) -> None:
        self.agents = {one.name: one for one in agents}
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.told: list[str] = []
        self.guess_most: int | None = None
        recorder = SimpleNamespace(record=lambda kind, name, text, body: self.records.append((name, body)))
        self.starts = Starts(
            self.agents,
            recorder,  # type: ignore[arg-type]
            changed=lambda one: self.told.append(f"changed {one.name}"),
            settled=lambda: self.told.append("settled"),
            learned=lambda: self.told.append("learned"),
            guess_most=lambda: self.guess_most,
        )

    def run(self, one: Agent, instance: int, now: float, *, ready: bool = True) -> None:
        one.world = World(state="up", pid=7, epoch=instance, spawned_mono=now)
        one.memory.ladder = replace(
            one.ladder, phase=Phase.STARTING, running=True, gate_passed=ready, instance=instance
        )
        self.starts.seen(one, now)

    def end(self, one: Agent, now: float, phase: Phase = Phase.BACKOFF) -> None:
        one.world = World(state="down")
        one.memory.ladder = replace(one.ladder, phase=phase, running=False, gate_passed=False)
        self.starts.seen(one, now)


def test_a_lease_is_out_from_the_grant_until_the_agent_is_ready_and_flat() -> None:
    one = agent()
    ground = Ground(one)
    ground.starts.granted(one, 300 * MB, 10.0)
    assert ground.starts.lease_bytes(one) == 300 * MB
    assert (ground.starts.taken_since(10.0), ground.starts.taken_since(10.1)) == (300 * MB, 0)
    ground.run(one, 1, 10.5, ready=False)
    ground.starts.follow(one, 200 * MB, BUSY, 11.0)
    ground.starts.follow(one, 220 * MB, FLAT, 12.0)
    ground.starts.follow(one, 220 * MB, FLAT, 16.0)
    assert ground.starts.lease_bytes(one) == 300 * MB  # flat, but not ready
    ground.run(one, 1, 10.5)
    ground.starts.follow(one, 210 * MB, FLAT, 16.5)
    assert ground.starts.lease_bytes(one) == 0
    assert one.memory.start_peak_bytes == 220 * MB
    assert one.memory.start_s == 6.5
    assert ground.starts.need(one) == int(220 * MB * 1.2)
    assert ground.told == ["changed a1", "learned", "settled"]
    ground.starts.seen(one, 17.0)
    assert ground.starts.lease_bytes(one) == 0  # the same instance begins no second start


def test_what_was_learned_is_recalled_from_the_ledger() -> None:
    one = agent()
    ground = Ground(one)
    ground.run(one, 1, 0.0)
    ground.starts.follow(one, 80 * MB, FLAT, 0.0)
    ground.starts.follow(one, 80 * MB, FLAT, 3.0)
    ((name, body),) = ground.records
    recalled = recall.Recalled()
    recall._apply_to_agent(recalled, SimpleNamespace(agent=name, at=1e9, seq=1), body)  # type: ignore[arg-type]
    assert (recalled.agents["a1"].start_peak_bytes, recalled.agents["a1"].start_s) == (80 * MB, 3.0)


def test_a_restart_by_init_alone_takes_its_lease_without_a_grant() -> None:
    one = agent(memory=Memory(start_bytes=500 * MB))
    ground = Ground(one)
    ground.run(one, 3, 5.0)
    assert ground.starts.lease_bytes(one) == 500 * MB
    ground.end(one, 6.0)
    assert ground.starts.lease_bytes(one) == 0
    ground.run(one, 4, 7.0)
    assert ground.starts.out() == {"a1": (7.0, 500 * MB)}


def test_a_start_that_dies_tells_how_much_it_took_at_least() -> None:
    one = agent(limits=Limits(memory_bytes=400 * MB))
    ground = Ground(one)
    one.memory.start_peak_bytes = 200 * MB
    for instance, peak in ((1, 100), (2, 390)):
        ground.run(one, instance, 0.0)
        ground.starts.follow(one, peak * MB, BUSY, 1.0)
        ground.end(one, 2.0)
    assert one.memory.start_peak_bytes == 390 * MB
    assert ground.starts.need(one) == 400 * MB  # more than its limit it cannot take
    assert [body["start_peak_bytes"] for _, body in ground.records] == [390 * MB]


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.QUEUED])
def test_a_grant_that_came_to_nothing_holds_no_memory(phase: Phase) -> None:
    one = agent()
    ground = Ground(one)
    ground.starts.granted(one, 300 * MB, 0.0)
    one.memory.ladder = replace(one.ladder, phase=phase)
    ground.starts.seen(one, 1.0)
    assert ground.starts.lease_bytes(one) == 0


def test_who_is_put_to_sleep_in_its_start_gives_its_lease_back_and_teaches_no_time() -> None:
    one = agent()
    ground = Ground(one)
    ground.starts.granted(one, 300 * MB, 10.0)
    ground.run(one, 1, 10.5)
    ground.starts.follow(one, 220 * MB, BUSY, 11.0)
    one.rest_view.asleep = "frozen"
    ground.starts.seen(one, 12.0)
    assert ground.starts.lease_bytes(one) == 0
    one.rest_view.asleep = ""
    ground.starts.seen(one, 90.0)
    assert ground.starts.lease_bytes(one) == 0
    assert one.memory.start_s is None


def test_who_is_held_back_is_not_flat_and_a_start_that_never_settles_gives_its_lease_back() -> None:
    one = agent()
    ground = Ground(one)
    ground.run(one, 1, 0.0)
    for now in (0.0, 5.0, 89.0):
        ground.starts.follow(one, 10 * MB, FLAT, now, held_back=True)
        assert ground.starts.lease_bytes(one)
    ground.starts.follow(one, 10 * MB, FLAT, 90.0, held_back=True)
    assert not ground.starts.lease_bytes(one)


def test_a_machine_short_of_cpu_keeps_no_lease_of_who_is_ready_and_flat() -> None:
    one = agent()
    ground = Ground(one)
    ground.run(one, 1, 0.0)
    one.memory.ladder = replace(one.ladder, starved=True)
    ground.starts.follow(one, 10 * MB, FLAT, 1.0)
    ground.starts.follow(one, 10 * MB, FLAT, 4.0)
    assert not ground.starts.lease_bytes(one)


@pytest.mark.parametrize(("reached", "need"), [(80, 1300), (1200, 1440)])
def test_a_first_start_that_was_broken_off_tells_only_what_exceeds_the_word_of_its_recipe(
    reached: int, need: int
) -> None:
    one, like = (agent(name, memory=Memory(start_default_bytes=1300 * MB)) for name in ("a1", "a2"))
    ground = Ground(one, like)
    ground.run(one, 1, 0.0, ready=False)
    ground.starts.follow(one, reached * MB, BUSY, 1.0)
    ground.end(one, 2.0)
    assert [ground.starts.need(each) for each in (one, like)] == [need * MB] * 2


def test_the_first_start_of_an_agent_needs_what_its_like_were_seen_to_need() -> None:
    first, like, other = agent("a1"), agent("a2"), agent("b", command=("other",))
    ground = Ground(first, like, other)
    assert ground.starts.need(like) == 250 * MB
    first.memory.start_peak_bytes = 10 * MB
    ground = Ground(first, like, other)
    assert [ground.starts.need(one) for one in (like, other)] == [12 * MB, 250 * MB]


def test_who_is_taken_out_of_the_fleet_gives_its_lease_back() -> None:
    one = agent()
    ground = Ground(one)
    ground.run(one, 1, 0.0)
    ground.starts.gone(one)
    assert ground.starts.lease_bytes(one) == 0
    assert ground.told == ["settled"]


def test_a_guess_keeps_no_agent_out_of_a_small_node() -> None:
    unknown, said = agent(), agent("a2", memory=Memory(start_bytes=900 * MB))
    known = agent("a3", memory=Memory(start_default_bytes=800 * MB))
    ground = Ground(unknown, said, known)
    assert ground.starts.need(unknown) > 96 * MB
    ground.guess_most = 96 * MB
    assert [ground.starts.need(one) for one in (unknown, said, known)] == [96 * MB, 900 * MB, 800 * MB]


def test_who_ran_before_the_keeper_came_begins_no_start_and_teaches_nothing() -> None:
    one = agent(memory=Memory(start_bytes=500 * MB))
    one.memory.start_peak_bytes = 952 * MB
    ground = Ground(one)
    one.world = World(state="up", pid=7, epoch=3, spawned_mono=10.0)
    one.memory.ladder = replace(one.ladder, phase=Phase.HEALTHY, running=True, gate_passed=True, instance=3)
    ground.starts.seen(one, 500.0)
    assert ground.starts.lease_bytes(one) == 0
    assert one.memory.start_peak_bytes == 952 * MB


def test_a_start_that_was_not_watched_from_its_beginning_keeps_its_lease_and_only_raises_the_peak() -> None:
    one = agent()
    one.memory.start_peak_bytes, one.memory.start_s = 900 * MB, 20.0
    ground = Ground(one)
    for instance, reached, kept in ((1, 300, 900), (2, 1000, 1000)):
        one.world = World(state="up", pid=7, epoch=instance, spawned_mono=10.0)
        one.memory.ladder = replace(one.ladder, running=True, gate_passed=False, instance=instance)
        ground.starts.seen(one, 15.0)
        assert ground.starts.lease_bytes(one) > 0
        one.memory.ladder = replace(one.ladder, gate_passed=True)
        for now in (16.0, 20.0):
            ground.starts.follow(one, reached * MB, FLAT, now)
        assert ground.starts.lease_bytes(one) == 0
        assert (one.memory.start_peak_bytes, one.memory.start_s) == (kept * MB, 20.0)


def test_how_long_a_start_takes_is_foretold_from_its_own_last_one_or_from_one_of_its_like() -> None:
    first, like, other = agent("a1"), agent("a2"), agent("b", command=("other",))
    ground = Ground(first, like, other)
    assert ground.starts.takes_s(like) == 10.0
    ground.run(first, 1, 0.0)
    for now in (0.0, 4.0):
        ground.starts.follow(first, 80 * MB, FLAT, now)
    assert [ground.starts.takes_s(one) for one in (first, like, other)] == [4.0, 4.0, 10.0]


def test_a_start_takes_at_least_what_is_declared_as_its_minimum() -> None:
    least = agent(memory=Memory(min_bytes=200 * MB, start_bytes=50 * MB))
    unknown = agent("u1", memory=Memory(min_bytes=200 * MB))
    ground = Ground(least, unknown)
    ground.guess_most = 96 * MB
    assert [ground.starts.need(one) for one in (least, unknown)] == [200 * MB, 200 * MB]
