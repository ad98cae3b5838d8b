"""The keeper's side of beats, with clocks set by hand: gaps of ours, starvation, longer starts, stopping."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.healing.model import Ladder, Phase, Policy, StartProgressed
from holdfast.health.gate import Gate
from holdfast.health.model import HealthValue, Judgement
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.watching import beats
from holdfast.keeper.watching.behaviour import Behaviour, level
from holdfast.spec.model import AgentSpec, Health

LATE_S = 2 * 60.0 + limits.BEAT_GATHERED_S


class Bench:
    """One agent at the age of 0 s, and a loop that hears of it; what triage is told is kept in `seen`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, gate_passed: bool = True) -> None:
        spec = AgentSpec(name="one", command=("x",), working_dir="/", health=Health(beat_s=60.0, start_period_s=30.0))
        ladder = Ladder(phase=Phase.HEALTHY, running=True, gate_passed=gate_passed, instance=1)
        self.agent = Agent(spec, Policy(), Memory(ladder=ladder))
        self.agent.world.spawned_mono = 1000.0
        self.seen: list[Any] = []
        self.starved = False
        self.offsets = (0.0, 0.0)
        monkeypatch.setattr(beats, "_offsets", lambda: self.offsets)
        agents = {"one": self.agent}
        healer: Any = SimpleNamespace(observe=lambda agent, seen, now, **more: self.seen.append(seen))
        host: Any = SimpleNamespace(feel=lambda now: self.starved)
        recorder: Any = SimpleNamespace(record=lambda *args, **more: None)
        behaviour = Behaviour(agents, healer)
        monkeypatch.setattr(behaviour, "_tell", lambda *args, **more: None)
        self.loop = beats.BeatsLoop(agents, healer, behaviour, recorder, host, changed=lambda agent: None)
        monkeypatch.setattr(self.loop, "_set_timer", lambda: None)
        self.loop.back(7, 1000.0)

    def say(self, at: float, **fields: str) -> None:
        self.loop.told({"agent": "one", "epoch": 1, "mono": at, "fields": fields}, at)

    def ring(self, monkeypatch: pytest.MonkeyPatch, now: float, late_s: float = 0.0) -> None:
        """The timer that was set for `now - late_s` rings."""
        monkeypatch.setattr(beats.asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: now))
        self.loop._timer_due = now - late_s
        self.loop._ring()
        monkeypatch.undo()

    @property
    def word(self) -> Judgement:
        return self.agent.observed["beat"].judgement


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_silence_is_a_failure_when_the_deadline_rings_in_time(bench: Bench) -> None:
    bench.say(1000.0, WATCHDOG="1", X_CYCLE="1")
    assert bench.word is Judgement.OK
    with pytest.MonkeyPatch.context() as patch:
        bench.ring(patch, 1000.0 + LATE_S + 0.25)
    assert bench.word is Judgement.FAILING


@pytest.mark.parametrize("gap", ["late timer", "wall clock set", "slept", "starved", "init was away", "socket lost"])
def test_after_a_gap_of_ours_behaviour_is_unknown_and_a_whole_new_deadline_runs(bench: Bench, gap: str) -> None:
    bench.say(1000.0, WATCHDOG="1", X_CYCLE="1")
    at = 1000.0 + LATE_S + 0.25
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            beats, "_offsets", lambda: {"wall clock set": (-7200.0, 0.0), "slept": (900.0, 900.0)}.get(gap, (0.0, 0.0))
        )
        bench.starved = gap == "starved"
        if gap in ("init was away", "socket lost"):
            bench.loop.lost()
            bench.loop.back(7 if gap == "init was away" else 8, at)
        else:
            patch.setattr(beats.asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: at))
            bench.loop._timer_due = at - (5.0 if gap == "late timer" else 0.0)
            bench.loop._ring()
    bench.starved = False
    assert bench.word is Judgement.UNKNOWN
    assert level(bench.agent) is HealthValue.UNKNOWN
    known, rules = bench.agent.beats, beats.rules_of(bench.agent)
    assert known is not None
    due = beats.rule.due_mono(known, rules, beat_before=False)
    assert due == (None if gap == "socket lost" else at + LATE_S)
    bench.say(at + 10.0, WATCHDOG="1", X_CYCLE="2")
    assert bench.word is Judgement.OK


def test_beats_that_waited_for_this_keeper_are_no_news(bench: Bench) -> None:
    event = {"agent": "one", "epoch": 1, "mono": 1000.0, "held": True, "fields": {"WATCHDOG": "1", "X_CYCLE": "1"}}
    bench.loop.told(event, 1500.0)
    assert bench.word is Judgement.UNKNOWN


def test_beats_of_another_instance_or_of_nobody_are_dropped(bench: Bench) -> None:
    for event in ({"agent": "one", "epoch": 2}, {"agent": "two", "epoch": 1}):
        bench.loop.told({**event, "mono": 1000.0, "fields": {"WATCHDOG": "trigger"}}, 1000.0)
    assert "beat" not in bench.agent.observed


def test_more_time_for_a_start_is_granted_up_to_the_most_a_start_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, gate_passed=False)
    bench.agent.gate = Gate(1, 1000.0, 1030.0, 1000.0, 0.0)
    bench.say(1010.0, EXTEND_TIMEOUT_USEC="60000000")
    assert bench.agent.gate.deadline_mono == 1070.0
    bench.say(1011.0, EXTEND_TIMEOUT_USEC="1000000")  # never shortens it
    bench.say(1012.0, EXTEND_TIMEOUT_USEC="soon")
    assert bench.agent.gate.deadline_mono == 1070.0
    bench.say(1013.0, EXTEND_TIMEOUT_USEC="900000000000")
    last = 1000.0 + 30.0 * limits.START_STRETCH_MAX
    assert bench.agent.gate.deadline_mono == last
    assert [one.until_mono for one in bench.seen if type(one) is StartProgressed] == [1070.0, last]


def test_who_says_that_it_stops_has_its_grace_and_then_fails(bench: Bench) -> None:
    bench.say(1000.0, WATCHDOG="1", X_CYCLE="1")
    bench.say(1001.0, STOPPING="1")
    assert bench.word is Judgement.UNKNOWN
    with pytest.MonkeyPatch.context() as patch:
        bench.ring(patch, 1001.0 + max(bench.agent.spec.stop.grace_s, LATE_S) + 0.5)
    assert bench.word is Judgement.FAILING
    assert "still runs" in bench.agent.observed["beat"].detail


@pytest.mark.parametrize(
    ("fields", "later_s", "excuse"),
    [
        ({}, 1.0, ""),
        ({"X_BUSY_USEC": "300000000"}, 299.0, "busy"),
        ({"X_BUSY_USEC": "300000000"}, 301.0, ""),
        ({"X_IDLE": "1"}, 100.0, "idle"),
        ({"X_IDLE": "1"}, LATE_S + 1.0, ""),
    ],
)
def test_being_busy_or_idle_excuses_silence_elsewhere_while_it_stands(
    bench: Bench, fields: dict[str, str], later_s: float, excuse: str
) -> None:
    bench.say(1000.0, WATCHDOG="1", X_CYCLE="1", **fields)
    assert beats.excuse(bench.agent, 1000.0 + later_s) == excuse


def test_silence_while_the_agent_is_paused_or_throttled_is_no_failure_and_a_whole_deadline_follows(
    bench: Bench,
) -> None:
    bench.say(1000.0, WATCHDOG="1", X_CYCLE="1")
    bench.agent.memory.ladder = replace(bench.agent.ladder, starved=True)
    at = 1000.0 + LATE_S + 0.25
    with pytest.MonkeyPatch.context() as patch:
        bench.ring(patch, at)
    assert bench.word is Judgement.UNKNOWN
    bench.agent.memory.ladder = replace(bench.agent.ladder, starved=False)
    bench.loop.resume(bench.agent, at + 50.0)
    with pytest.MonkeyPatch.context() as patch:
        bench.ring(patch, at + 50.0 + LATE_S - 1.0)
    assert bench.word is Judgement.UNKNOWN
    with pytest.MonkeyPatch.context() as patch:
        bench.ring(patch, at + 50.0 + LATE_S + 0.25)
    assert bench.word is Judgement.FAILING
