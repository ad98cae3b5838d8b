"""Figures from samples, the kept JSON, and the document that is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bench import results, samples, suites
from bench.__main__ import compact
from bench.context import Goal

MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "memory_gb": 8.0,
    "kernel": "6.1",
    "system": "Linux",
    "python": "3.11",
    "cgroups": "v2",
    "root": False,
}


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 5.0), (90, 9.0), (91, 10.0), (99, 10.0), (100, 10.0)])
def test_a_percentile_is_one_of_the_samples(percent: float, expected: float) -> None:
    assert samples.percentile([float(value) for value in range(10, 0, -1)], percent) == expected


def test_the_median_of_an_even_count_lies_between() -> None:
    assert samples.median([4.0, 1.0, 3.0, 2.0]) == 2.5
    assert samples.median([7.0]) == 7.0


def test_no_samples_have_no_figures() -> None:
    for figure in (samples.median, lambda values: samples.percentile(values, 99)):
        with pytest.raises(ValueError):
            figure([])


def test_kept_results_are_read_back_unchanged_and_short() -> None:
    result = {"figures": {"few": {"runit": [1.25, -3, 1e-05]}, "text": "[1, 2]", "empty": []}}
    text = compact(result)
    assert json.loads(text) == result
    assert "[1.25, -3, 1e-05]" in text


def restart_result(ours: list[float], runit: list[float]) -> dict[str, Any]:
    part = {"holdfast": ours, "runit": runit}
    figures = {"few": part, "many": part, "count": 1000, "settings": {"holdfast": "default", "runit": "default"}}
    return {
        "at": "2026-01-01 00:00 UTC",
        "took_s": 1.0,
        "machine": MACHINE,
        "load_before": [0.0, 0.0, 0.0],
        "load_after": [1.0, 0.5, 0.1],
        "versions": {"runit": "2.1"},
        "skipped": {"pm2": "Node.js is not installed"},
        "workload": "C program",
        "figures": figures,
    }


def test_a_goal_that_is_missed_stands_in_the_document_with_its_reason() -> None:
    text = results.document({"restart": restart_result([30.0] * 5, [3.0] * 5)}, {"restart-p99": "a slow disk"})
    assert "**no**: a slow disk" in text
    assert "**no**: no reason recorded yet" in text
    assert "pm2 (Node.js is not installed)" in text
    assert "10.00" in text  # the ratio to the best peer


def test_a_goal_that_is_met_needs_no_reason() -> None:
    goals = suites.ALL["restart"].report(restart_result([1.0], [3.0])["figures"]).goals
    assert [goal.reached for goal in goals] == [True, True, True]


def test_an_unmeasured_goal_is_neither_met_nor_missed() -> None:
    lines = results.goal_table([("mass", Goal("mass", "all back", "not measured", None))], {})
    assert "not judged" in lines[-1]
