"""The state suite's tables and goals, from its raw samples. Pure. Called by suites/state.py."""

from __future__ import annotations

from collections.abc import Sequence

from bench import samples
from bench.context import Goal, Result

MB = 1_000_000
RATIO_GOALS = (  # operation, what is compared, peer, at most
    ("nothing changed", "cpu_s", "restic", 0.08),
    ("nothing changed", "wall_s", "restic", 0.08),
    ("nothing changed", "cpu_s", "borg", 0.03),
    ("nothing changed", "wall_s", "borg", 0.03),
    ("1 % changed", "cpu_s", "restic", 0.12),
    ("1 % changed", "cpu_s", "borg", 0.17),
    ("first full", "cpu_s", "restic", 0.45),
    ("first full", "cpu_s", "borg", 0.9),
    ("restore all", "cpu_s", "restic", 0.45),
    ("restore all", "cpu_s", "borg", 0.55),
)
GROWTH_GOALS = (("restic", 0.1), ("borg", 0.1), ("borg-fixed", 0.75))
SIZE_GOAL = ("borg", 1.1)
ONE_FILE_GOAL_S = 0.1
MEMORY_GOAL_MB = 100.0
IDLE_GOAL_PERCENT = 7.0
PAUSE_GOAL_MS = 250.0
WORDS = {"cpu_s": "CPU", "wall_s": "wall"}


def lines(result: Result, operations: Sequence[str]) -> list[str]:
    """One table an operation, then sizes, idle agents, pauses and the command line."""
    workspace = result["workspace"]
    about = (
        f"The workspace: {workspace['files']:,} files, {workspace['bytes'] / MB:.0f} MB, two databases with their "
        f"write-ahead logs in place. {result['rounds']} rounds; medians (least to most). Ratios: Holdfast's median by "
        "this one's."
    )
    found = [about, "", *(f"- {name}: {row['setting']}" for name, row in result["archives"].items())]
    for operation in operations:
        found += ["", f"{operation[0].upper()}{operation[1:]}:", "", *_operation(result, operation)]
    return [*found, "", "What is kept (MB):", "", *_sizes(result), "", *_rest(result)]


def _operation(result: Result, operation: str) -> list[str]:
    rows = []
    for name, archive in result["archives"].items():
        costs = archive["costs"][operation]
        cells = []
        for key in ("cpu_s", "wall_s"):
            values = [cost[key] for cost in costs]
            digits = 4 if samples.median(values) < 0.1 else 2
            cells.append(f"{samples.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})")
            cells.append("" if name == "holdfast" else _shown(_ratio(result, operation, key, name)))
        memory = max(cost["rss_mb"] for cost in costs)
        loads = [cost["load"] for cost in costs]
        rows.append([name, *cells, f"{memory:.0f}", str(len(costs)), f"{min(loads):.1f} to {max(loads):.1f}"])
    return samples.table(["", "CPU s", "ratio", "wall s", "ratio", "peak MB", "n", "load"], rows)


def _sizes(result: Result) -> list[str]:
    rows = []
    for name, archive in result["archives"].items():
        growth = [size / MB for size in archive["growth_bytes"]]
        first = archive["first_bytes"] / MB
        rows.append(
            [
                name,
                f"{first:.0f}",
                "" if name == "holdfast" else _shown(_size_ratio(result, name)),
                f"{samples.median(growth):.1f} ({min(growth):.1f} to {max(growth):.1f})",
                "" if name == "holdfast" else _shown(_growth_ratio(result, name)),
                f"{first + sum(growth):.0f}",
            ]
        )
    return samples.table(["", "first", "ratio", "growth at 1 %", "ratio", "after all rounds"], rows)


def _rest(result: Result) -> list[str]:
    idle, line = result["idle"], result["command_line"]
    about = (
        f"{idle['agents']} agents in which nothing changed: {idle['cpu_s_per_agent'] * 1000:.1f} ms of CPU and "
        f"{idle['wall_s_per_agent'] * 1000:.1f} ms each in the worker, which is {_idle_percent(result):.1f} % of a "
        "core when each has its turn once a minute."
    )
    found = [about, "", _pause(result["pause"]), ""]
    if "error" in line:
        return [*found, f"Through the command line: {line['error']}"]
    about = (
        "The whole way, `holdfast snapshot AGENT` with a keeper that runs (CPU of the command and of all Holdfast "
        "processes; most of the wall time is the start of Python):"
    )
    rows = [
        [
            what,
            f"{samples.median(row['wall_s']):.2f} ({min(row['wall_s']):.2f} to {max(row['wall_s']):.2f})",
            f"{samples.median(row['command_cpu_s']):.2f}",
            f"{samples.median(row['holdfast_cpu_s']):.2f}",
            str(len(row["wall_s"])),
        ]
        for what, row in line.items()
    ]
    head = ["", "wall s", "CPU s of the command", "CPU s of Holdfast", "n"]
    return [*found, about, "", *samples.table(head, rows)]


def _pause(pause: Result) -> str:
    gaps, still = pause["gaps_ms"], pause["still_ms"]
    others = {name: count for name, count in pause["consistency"].items() if name != "freeze"}
    return (
        f"Pause of the agent, capture `freeze` ({pause['way']}), on {pause['file_system']}, {len(gaps)} snapshots, "
        f"every {pause['big_every']}th after {pause['big_mb']} MB were written: a process of the agent that looks at "
        f"the clock each millisecond missed {samples.median(gaps):.1f} ms in the middle, "
        f"{samples.percentile(gaps, 99):.1f} ms at p99, {max(gaps):.1f} ms at worst; as long without a snapshot: p99 "
        f"{samples.percentile(still, 99):.1f} ms. {pause['consistency'].get('freeze', 0)} snapshots are of one "
        f"moment; others, which say so themselves: {_counted(others)}."
    )


def goals(result: Result) -> list[Goal]:
    """In the order of the tables. Without a peer its goal is not judged."""
    found = []
    for operation, key, peer, most in RATIO_GOALS:
        text = f"{operation}, {WORDS[key]}: ≤ {most:g} times {peer}'s"
        found.append(_ratio_goal(f"state-{operation}-{key}-{peer}", text, _ratio(result, operation, key, peer), most))
    for peer, most in GROWTH_GOALS:
        text = f"growth at 1 % changed ≤ {most:g} times {peer}'s"
        found.append(_ratio_goal(f"state-growth-{peer}", text, _growth_ratio(result, peer), most))
    peer, most = SIZE_GOAL
    text = f"first snapshot's size ≤ {most:g} times {peer}'s (both zstd)"
    found.append(_ratio_goal(f"state-size-{peer}", text, _size_ratio(result, peer), most))
    ours = result["archives"]["holdfast"]["costs"]
    one = samples.median([cost["wall_s"] for cost in ours["restore one file"]])
    text = f"one file restored, resident ≤ {ONE_FILE_GOAL_S * 1000:.0f} ms"
    found.append(Goal("state-one-file", text, f"{one * 1000:.0f} ms", one <= ONE_FILE_GOAL_S))
    memory = max(cost["rss_mb"] for costs in ours.values() for cost in costs)
    text = f"peak memory of a job ≤ {MEMORY_GOAL_MB:.0f} MB"
    found.append(Goal("state-memory", text, f"{memory:.0f} MB", memory <= MEMORY_GOAL_MB))
    idle = _idle_percent(result)
    text = f"100 idle agents, each once a minute ≤ {IDLE_GOAL_PERCENT:g} % of a core"
    found.append(Goal("state-idle", text, f"{idle:.1f} %", idle <= IDLE_GOAL_PERCENT))
    pause = samples.percentile(result["pause"]["gaps_ms"], 99)
    text = f"pause of the agent, p99 ≤ {PAUSE_GOAL_MS:.0f} ms"
    found.append(Goal("state-pause", text, f"{pause:.0f} ms", pause <= PAUSE_GOAL_MS))
    return found


def _ratio_goal(name: str, text: str, ratio: float | None, most: float) -> Goal:
    if ratio is None:
        return Goal(name, text, "not measured", None)
    return Goal(name, text, f"{ratio:.3f}", ratio <= most)


def _ratio(result: Result, operation: str, key: str, peer: str) -> float | None:
    archives = result["archives"]
    if peer not in archives:
        return None
    ours, theirs = (
        samples.median([cost[key] for cost in archives[name]["costs"][operation]]) for name in ("holdfast", peer)
    )
    return ours / theirs


def _growth_ratio(result: Result, peer: str) -> float | None:
    archives = result["archives"]
    if peer not in archives:
        return None
    ours, theirs = (samples.median(archives[name]["growth_bytes"]) for name in ("holdfast", peer))
    return ours / theirs


def _size_ratio(result: Result, peer: str) -> float | None:
    archives = result["archives"]
    if peer not in archives:
        return None
    return float(archives["holdfast"]["first_bytes"] / archives[peer]["first_bytes"])


def _idle_percent(result: Result) -> float:
    return float(result["idle"]["cpu_s_per_agent"] * 100 / 60 * 100)


def _shown(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
