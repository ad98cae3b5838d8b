"""RESULTS.md from the raw results: pure text out of `results/*.json` and `results/remarks.json`.

Each suite's file is written when that suite ran; the document is written again from all of them, so that a suite can be
repeated alone. remarks.json holds, by goal, the reason why it is not reached.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import samples, suites
from bench.context import Goal, Section

HEAD = """# Measurements

Written by `python -m bench` (`./dev bench`) from the raw samples in `results/`; do not edit. Peers and Holdfast run
alternately in one run on one machine; absolute times depend on it and on its load, ratios less so. Every supervisor
keeps the same tiny C program, whose first act is to note the time.
"""


def write(directory: Path) -> None:
    """Write `directory`/RESULTS.md from `directory`/results."""
    results = load(directory / "results")
    remarks: dict[str, str] = {}
    if (directory / "results/remarks.json").exists():
        remarks = json.loads((directory / "results/remarks.json").read_text())
    (directory / "RESULTS.md").write_text(document(results, remarks))


def load(directory: Path) -> dict[str, dict[str, Any]]:
    """Raw results by suite, in the suites' order."""
    return {
        name: json.loads((directory / f"{name}.json").read_text())
        for name in suites.ALL
        if (directory / f"{name}.json").exists()
    }


def document(results: dict[str, dict[str, Any]], remarks: dict[str, str]) -> str:
    """The whole text: goals first, then one section a suite."""
    sections: dict[str, Section] = {
        name: suites.ALL[name].report(result["figures"]) for name, result in results.items()
    }
    goals = [(name, goal) for name, section in sections.items() for goal in section.goals]
    lines = [HEAD, "## Goals", ""]
    lines += goal_table(goals, remarks)
    for name, section in sections.items():
        lines += ["", f"## {suites.ALL[name].TITLE}", "", *_circumstances(results[name]), "", *section.lines]
    return "\n".join(lines) + "\n"


def goal_table(goals: list[tuple[str, Goal]], remarks: dict[str, str]) -> list[str]:
    """Markdown lines: suite, goal, figure, reached?"""
    rows = []
    for suite, goal in goals:
        verdict = {True: "yes", False: "**no**", None: "not judged"}[goal.reached]
        if goal.reached is not True:
            verdict += f": {remarks.get(goal.id, 'no reason recorded yet')}"
        rows.append([suite, goal.text, goal.figure, verdict])
    return samples.table(["suite", "goal", "measured", "reached?"], rows)


def _circumstances(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    words = (
        f"{result['at']}, took {result['took_s']:.0f} s. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, kernel {machine['kernel']}, cgroups {machine['cgroups']}, "
        f"{'root' if machine['root'] else 'ordinary user'}, Python {machine['python']}. "
        f"Load averages before {_loads(result['load_before'])}, after {_loads(result['load_after'])}. "
        f"Workload: {result['workload']}. Revision {result.get('revision', 'unknown')}."
    )
    lines = [words, "", f"Versions: {versions}."]
    lines += [f"Skipped: {name} ({reason})." for name, reason in result["skipped"].items()]
    return lines


def _loads(values: list[float]) -> str:
    return "/".join(f"{value:.2f}" for value in values)
