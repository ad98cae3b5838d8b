"""Alarms and own directories, as the keeper keeps them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.healing.model import Ladder, Policy
from holdfast.home import Home
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.alarms import Alarm, Alarms, prune
from holdfast.keeper.watching import disk_use
from holdfast.keeper.watching.resources import Resources, _Held
from holdfast.node import tree_size
from holdfast.pods import pod
from holdfast.spec.model import AgentSpec, Limits
from tests.harness.manual_clock import ManualClock


class Pad:
    """Stands for the ledger and for the alerts."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.told: list[str] = []

    def record(self, kind: str, agent: str, text: str, body: dict[str, Any]) -> None:
        self.kinds.append(kind)

    def raise_notice(self, alert_id: str, agent: str, said: HoldfastError, host: str) -> None:
        self.told.append(said.summary)


def alarms(pad: Pad, clock: ManualClock) -> Alarms:
    return Alarms(pad, pad, clock, "home")  # type: ignore[arg-type]


SAID = HoldfastError(errors.MEMORY_NEAR_LIMIT, agent="a", detail="82% of its limit is in use")


def test_an_alarm_is_told_once_and_taken_back_once() -> None:
    pad, clock = Pad(), ManualClock()
    kept = alarms(pad, clock)
    for _ in range(3):
        kept.raise_("memory:a", "a", SAID)
    for _ in range(3):
        kept.clear("memory:a", "a", "well again")
    assert pad.kinds == ["resource.alarm", "resource.well"]
    assert pad.told == [SAID.summary]


def test_a_value_that_dances_is_recorded_and_told_once_an_hour() -> None:
    pad, clock = Pad(), ManualClock()
    kept = alarms(pad, clock)
    for _ in range(10):
        kept.raise_("memory:a", "a", SAID)
        kept.clear("memory:a", "a", "well again")
        clock.advance(limits.ALARM_AGAIN_S / 8)
    assert len(pad.kinds) == 20
    assert len(pad.told) == 2


def test_the_next_keeper_does_not_tell_it_again() -> None:
    pad, clock = Pad(), ManualClock()
    first = alarms(pad, clock)
    first.raise_("memory:a", "a", SAID)
    second = alarms(pad, clock)
    second.known = dict(first.known)
    second.raise_("memory:a", "a", SAID)
    assert len(pad.told) == 1


def test_in_maintenance_it_is_recorded_and_nobody_is_told() -> None:
    pad = Pad()
    alarms(pad, ManualClock()).raise_("memory:a", "a", SAID, quiet=True)
    assert (pad.kinds, pad.told) == (["resource.alarm"], [])


@pytest.mark.parametrize("window", [False, True])
def test_a_maintenance_window_keeps_an_alarm_quiet_as_maintenance_does(tmp_path: Path, window: bool) -> None:
    async def check() -> None:
        pad, clock = Pad(), ManualClock()
        full = msgspec.structs.replace(spec("a", tmp_path), limits=Limits(memory_bytes=100))
        agent = Agent(full, Policy(hands_off=window), Memory(ladder=Ladder(instance=1, running=True)))
        watch = Resources(
            {"a": agent}, clock, Tasks(), Home(tmp_path), alarms(pad, clock), lambda agent: (), lambda seen, now: None
        )
        watch._judge_memory(agent, _Held(), 99, 0.0)
        assert (pad.kinds, len(pad.told)) == (["resource.alarm"], 0 if window else 1)
        watch.close()

    asyncio.run(check())


def test_what_is_over_is_forgotten_beyond_a_bound_and_what_stands_is_not() -> None:
    known = {str(n): Alarm(key=str(n), on=n % 2 == 0) for n in range(limits.ALARMS_KEPT + 100)}
    prune(known)
    assert len(known) == limits.ALARMS_KEPT
    assert sum(alarm.on for alarm in known.values()) == (limits.ALARMS_KEPT + 100) // 2


def spec(name: str, directory: Path | str) -> AgentSpec:
    return AgentSpec(name=name, command=("true",), working_dir=str(directory))


def test_a_directory_that_others_live_in_is_nobodys_own(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (tmp_path / "work" / "b").mkdir(parents=True)
    (tmp_path / "alone").mkdir()
    asked = disk_use.asked_of(
        [
            spec("a", tmp_path / "work"),
            spec("b", tmp_path / "work" / "b"),
            spec("c", tmp_path / "alone"),
            spec("d", tmp_path),
            spec("e", "/home/somebody"),
            spec("f", "/"),
        ],
        home,
    )
    found = tree_size.own_directories(asked["users"], ["/home/*", str(home.path)])
    own = {name: paths[1:] for name, paths in found.items()}
    assert own == {
        "a": [],
        "b": [str(tmp_path / "work" / "b")],
        "c": [str(tmp_path / "alone")],
        "d": [],
        "e": [],
        "f": [],
    }
    assert all(paths[0] == str(home.agent(name)) for name, paths in found.items())


def test_what_is_to_be_measured_is_found_out_without_a_look_at_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object, **__: object) -> None:
        raise AssertionError("a disk that does not answer would have held up the keeper")

    for name in ("stat", "lstat", "readlink", "listdir", "scandir", "open"):
        monkeypatch.setattr(os, name, look)
    state = msgspec.structs.replace(spec("a", "/srv/a"), recipe_data={"state_dir": "/state/a"})
    asked = disk_use.asked_of([state], Home(tmp_path))
    assert asked["users"] == {"a": [str(Home(tmp_path).agent("a")), "/srv/a", "/state/a"]}


def test_the_round_measures_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(100_000))
    users = {"a": [str(tmp_path), "/no/such/a"], "b": ["/no/such", "/no/such/b"]}
    found = asyncio.run(disk_use.measure({"shared": [], "users": users}))
    assert found["a"] >= 100_000
    assert found["b"] == 0


def test_a_limit_that_was_taken_away_takes_its_alarm_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        pad, clock = Pad(), ManualClock()
        kept = alarms(pad, clock)
        agent = Agent(spec("a", tmp_path), Policy(), Memory(ladder=Ladder()))
        watch = Resources({"a": agent}, clock, Tasks(), Home(tmp_path), kept, lambda agent: (), lambda seen, now: None)
        watch._held["a"], watch._used = _Held(), {"a": 82}
        watch._look_mono = asyncio.get_running_loop().time()
        monkeypatch.setattr(watch, "_read", lambda now: None)
        kept.raise_("memory:a", "a", SAID)
        watch._tick()
        assert pad.kinds == ["resource.alarm", "resource.well"]
        assert not kept.known["memory:a"].on
        watch.close()

    asyncio.run(check())


def test_an_agent_that_left_is_looked_up_anew_when_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pod, "identify", lambda spec, home: asked.append(spec.name))
    monkeypatch.setattr(pod, "remove", lambda home, plan, name: True)
    home = Home(tmp_path)
    home.prepare()
    places = NodePlaces(home, lambda: 0.0)
    a, b = (Agent(spec(name, tmp_path), Policy(), Memory(ladder=Ladder())) for name in "ab")
    for agent in (a, b, a, b):
        places._identity(agent)
    assert places.forget(a)
    for agent in (a, b):
        places._identity(agent)
    assert asked == ["a", "b", "a"]
