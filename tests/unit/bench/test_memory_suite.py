"""The memory suite's report, from made-up runs."""

from typing import Any

import pytest
from bench.memory import scenarios
from bench.suites import memory

GOOD = {
    "lost": 0,
    "gap_ms": 90,
    "peak_mb": 1680.0,
    "kernel_kills": 0,
    "half_dead": 0,
    "spike_cpu_percent": 4.5,
    "spike_memory_cpu_percent": None,
    "victims": ["s0", "s1"],
    "spared": 1,
    "in_order": True,
    "whole": True,
    "gone_s": 0.1,
    "all_back": True,
    "back_s": 2.2,
    "lost_in_the_end": 0,
    "cgroups": "v1",
}


def figures(ours: dict[str, Any], earlyoom: dict[str, Any] | None = None) -> dict[str, Any]:
    theirs = {"lost": 4, "gap_ms": 300, "peak_mb": 2048.0, "kernel_kills": 9, "half_dead": 2, "spike_cpu_percent": 0.1}
    runs: dict[str, dict[str, list[Any]]] = {name: {} for name in memory.SCENARIOS}
    weighed = {**GOOD, "spike_memory_cpu_percent": 1.5}
    weighed |= {name: ours[name] for name in ("spike_memory_cpu_percent",) if ours.get(name)}
    runs["forky"] = {"holdfast": [ours, ours], "earlyoom-tuned": [earlyoom or theirs], "kernel": [{"failed": "why"}]}
    runs["forky"]["holdfast-weighed"] = [weighed]
    idle = {
        "holdfast": {"calm_cpu_percent": 0.9, "calm_memory_cpu_percent": None},
        "holdfast-weighed": {"calm_cpu_percent": 1.0, "calm_memory_cpu_percent": 0.3},
        "holdfast-off": None,
    }
    return {"rounds": memory.ROUNDS, "runs": runs, "idle": idle, "left_out": {"seed4g": "too little memory"}}


def reached(section: Any) -> dict[str, bool | None]:
    return {goal.id: goal.reached for goal in section.goals}


def test_a_good_run_reaches_every_goal_and_names_what_was_left_out() -> None:
    section = memory.report(figures(GOOD))
    assert set(reached(section).values()) == {True}
    text = "\n".join(section.lines)
    assert "too little memory" in text
    assert "| holdfast | 0 0 | 90 (90) | 1,680 |" in text
    assert "| kernel |" not in text, "a run that failed has no figures"


@pytest.mark.parametrize(
    ("change", "goal"),
    [
        ({"lost": 1}, "memory-lost"),
        ({"lost_in_the_end": 1}, "memory-lost"),
        ({"kernel_kills": 1}, "memory-kernel"),
        ({"whole": False}, "memory-order"),
        ({"in_order": False}, "memory-order"),
        ({"peak_mb": 1921.0}, "memory-peak"),
        ({"gap_ms": 1001}, "memory-gap-most"),
        ({"gap_ms": 151}, "memory-gap"),
        ({"all_back": False, "back_s": None}, "memory-back"),
        ({"back_s": 10.5}, "memory-back"),
        ({"spike_memory_cpu_percent": 3.5}, "memory-cpu"),
    ],
)
def test_each_promise_is_judged(change: dict[str, Any], goal: str) -> None:
    assert reached(memory.report(figures(GOOD | change)))[goal] is False


def test_a_run_that_failed_judges_nothing_and_the_dead_do_not_beat() -> None:
    assert reached(memory.report(figures({"failed": "why"})))["memory-lost"] is None
    told = memory.report(figures(GOOD, {**GOOD, "lost": 10, "gap_ms": 0}))
    assert reached(told)["memory-gap"] is True


def test_what_all_want_is_more_than_the_node_has() -> None:
    for name in memory.SCENARIOS:
        one = scenarios.ALL[name]
        wanted = sum(one.innocents_mb) + sum(each.processes * each.to_mb for each in one.growths)
        assert wanted > one.node_mb
        assert sum(one.innocents_mb) < one.node_mb / 2


def test_what_an_emulated_machine_told_is_said_part_by_part() -> None:
    alone = [{"name": "plan", "held": True}, {"name": "frozen", "held": False}]
    whole = [{**GOOD, "name": "emulated, holdfast", "held": True, "node_full": 0}]
    ran = {"at": "then", "revision": "abc", "kernel": "vmlinuz-6"}
    told = {
        "from": "from an emulated machine",
        "parts": {"groups": {**ran, "seen": alone}, "whole": {**ran, "seen": whole}},
    }
    text = "\n".join(memory.v2_lines(told))
    assert "From an emulated machine." in text
    assert "- groups (then, revision abc, vmlinuz-6): 1 of 2 held; **not**: frozen" in text
    assert "vmlinuz-6): held: lost 0, kernel_kills 0, node_full 0, victims ['s0', 's1']" in text
    assert memory.v2_lines(None) == []
