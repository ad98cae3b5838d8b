"""A rolling restart: one after the other, never on top of one that did not come back."""

from __future__ import annotations

import random
from typing import Any

from holdfast.cli import rolling
from holdfast.cli.rolling import Roll, Terms


def row(name: str, phase: str = "healthy", instance: int = 1, restarts: int = 0) -> dict[str, Any]:
    return {"name": name, "phase": phase, "instance": instance, "restarts": restarts, "why": f"is {phase}"}


def rows(*given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in given}


def test_the_next_waits_until_the_one_before_is_well_for_a_while() -> None:
    terms = Terms(settle_s=3.0)
    state = Roll(("a", "b"))
    assert rolling.due(state, terms) == ("a",)
    state = rolling.begun(state, row("a"), 0.0)
    assert rolling.due(state, terms) == ()
    for at, seen in [(0.1, row("a")), (0.2, row("a", "stopping")), (1.0, row("a", "starting", 2))]:
        state = rolling.look(state, rows(seen, row("b")), terms, at)
        assert rolling.due(state, terms) == ()
    state = rolling.look(state, rows(row("a", "healthy", 2), row("b")), terms, 2.0)
    assert rolling.due(state, terms) == ()  # well, but not for long
    state = rolling.look(state, rows(row("a", "healthy", 2), row("b")), terms, 5.0)
    assert state.back == ("a",)
    assert rolling.due(state, terms) == ("b",)


def test_it_ends_at_the_first_that_does_not_come_back_and_touches_no_other() -> None:
    cases = {
        "is backoff": row("a", "backoff", 2),
        "is healthy": row("a", "healthy", 3, restarts=1),  # died and was restarted by the ladder
        "somebody stopped it": row("a", "stopped", 1),
    }
    for why, seen in cases.items():
        state = rolling.begun(Roll(("a", "b")), row("a"), 0.0)
        state = rolling.look(state, rows(seen, row("b")), Terms(), 1.0)
        assert (state.failed, state.why, state.waiting) == ("a", why, ("b",))
        assert rolling.due(state, Terms()) == ()
    gone = rolling.look(rolling.begun(Roll(("a", "b")), row("a"), 0.0), rows(row("b")), Terms(), 1.0)
    assert gone.why == "it was taken out of the fleet"
    late = rolling.look(rolling.begun(Roll(("a",)), row("a"), 0.0), rows(row("a", "starting", 2)), Terms(), 300.0)
    assert late.why.startswith("not well 300 s after")


def test_an_agent_that_was_ill_before_is_not_blamed_for_it() -> None:
    state = rolling.begun(Roll(("a",)), row("a", "backoff", 4, restarts=3), 0.0)
    state = rolling.look(state, rows(row("a", "backoff", 4, restarts=3)), Terms(), 0.5)
    assert not state.failed


def test_an_agent_that_ends_its_job_is_back_at_once() -> None:
    state = rolling.begun(Roll(("a",)), row("a"), 0.0)
    assert rolling.look(state, rows(row("a", "finished", 2)), Terms(), 0.5).is_over


def test_never_more_are_away_than_allowed_and_all_are_restarted_once() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    for _ in range(50):
        terms = Terms(at_once=draw.randint(1, 4), settle_s=1.0)
        fleet = rows(*(row(f"a{i}") for i in range(draw.randint(1, 12))))
        asked: list[str] = []
        state, now = Roll(tuple(fleet)), 0.0
        while not state.is_over:
            now += 0.5
            state = rolling.look(state, fleet, terms, now)
            for name in rolling.due(state, terms):
                state = rolling.begun(state, fleet[name], now)
                asked.append(name)
                fleet[name] = row(name, "stopping", fleet[name]["instance"])
            assert sum(one["phase"] != "healthy" for one in fleet.values()) <= terms.at_once
            for name, one in fleet.items():
                if one["phase"] != "healthy" and draw.random() < 0.5:
                    step = {"stopping": ("starting", one["instance"] + 1), "starting": ("healthy", one["instance"])}
                    fleet[name] = row(name, *step[one["phase"]])
        assert asked == list(fleet)
        assert not state.failed


def test_one_that_was_ill_before_is_back_when_it_was_good_for_long_enough() -> None:
    state = rolling.begun(Roll(("a", "b")), row("a", "recovering", 4, restarts=3), 0.0)
    for at, good_s in ((1.0, 0.5), (50.0, 49.0), (62.0, 60.5)):
        state = rolling.look(state, rows({**row("a", "recovering", 5, restarts=3), "good_s": good_s}), Terms(), at)
        assert not state.failed
        assert state.back == ()
    state = rolling.look(state, rows({**row("a", "recovering", 5, restarts=3), "good_s": 64.0}), Terms(), 66.0)
    assert state.back == ("a",)
