"""Footprint: memory of all processes of a supervisor with 1, 10, 100 and 1,000 idle services.

PSS, the kernel's proportional share, is the figure: RSS would count pages shared by 1,000 runsv 1,000 times. Peers take
turns, one at a time on the machine. "alone" estimates the PSS without other users of the same libraries.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from bench import processes, samples
from bench.context import Context, Goal, Result, Section, best_peer
from bench.fleet import Fleet

NAME = "footprint"
TITLE = "Footprint: PSS of all processes of the supervisor"
COUNTS = (1, 10, 100, 1000)
COUNTS_QUICK = (1, 100)
SETTLE_S = 5.0
WINDOW_S = 10.0
START_TIMEOUT_S = 200.0  # supervisord needs more than 80 s for 1,000
GOAL_KB = 80 * 1024


def run(context: Context) -> Result:
    """{"counts", "peers": {peer: {count: {weight..., "bring_up_s", "idle_cpu_s_per_min"} or {"error": text}}}}."""
    counts = COUNTS_QUICK if context.quick else COUNTS
    names = context.choose("holdfast", "runit", "s6") if context.quick else context.choose()
    found: Result = {name: {} for name in names}
    for count in counts:
        for name in names:
            found[name][str(count)] = _weigh(context, name, count)
    return {"counts": list(counts), "peers": found}


def _weigh(context: Context, name: str, count: int) -> Result:
    try:
        peer = context.peer(name)
        with Fleet(peer, context.place, context.workload, count, timeout_s=START_TIMEOUT_S) as fleet:
            time.sleep(2.0 if context.quick else SETTLE_S)
            pids = fleet.supervisor_pids()
            weight = asdict(processes.weigh(pids))
            window_s = 3.0 if context.quick else WINDOW_S
            spent = processes.use_over(pids, window_s)
            cpu = sum(use.cpu_s for use in spent.values()) * 60 / window_s
            context.say(f"footprint: {name} with {count}: {weight['pss_kb']:,} kB PSS")
            return {**weight, "bring_up_s": round(fleet.bring_up_s, 3), "idle_cpu_s_per_min": round(cpu, 4)}
    except (processes.TooSlow, processes.CommandFailed) as error:
        context.say(f"footprint: {error}")
        return {"error": str(error)[:300]}


def report(result: Result) -> Section:
    """Three small tables and one goal."""
    counts = [str(count) for count in result["counts"]]
    most = counts[-1]
    measured = {name: rows[most] for name, rows in result["peers"].items() if "pss_kb" in rows.get(most, {})}
    best = best_peer({name: float(row["pss_kb"]) for name, row in measured.items()})
    rows = []
    for name, by_count in result["peers"].items():
        cells = [samples.number(row["pss_kb"]) if "pss_kb" in (row := by_count[count]) else "-" for count in counts]
        last = by_count[most]
        if "pss_kb" not in last:
            rows.append([name, *cells, "-", "-", "-", "-", "-"])
            continue
        rows.append(
            [
                name,
                *cells,
                samples.ratio(last["pss_kb"], best[1]) if best else "-",
                samples.number(last["alone_kb"]),
                str(last["processes"]),
                samples.number(last["bring_up_s"]),
                samples.number(last["idle_cpu_s_per_min"], 3),
            ]
        )
    head = ["PSS kB", *(f"N={count}" for count in counts), ": best peer's", "alone", "processes", "bring-up s"]
    lines = samples.table([*head, "idle CPU s/min"], rows)
    lines += ["", f"The columns after N={most} belong to it; idle CPU is one window of {WINDOW_S:.0f} s."]
    lines += [
        f"- {name}, N={count}: {row['error']}"
        for name, by_count in result["peers"].items()
        for count, row in by_count.items()
        if "error" in row
    ]
    return Section(lines, [_goal(result, most)])


def _goal(result: Result, most: str) -> Goal:
    text = f"PSS of all Holdfast processes with {int(most):,} agents ≤ 80 MB"
    row = result["peers"].get("holdfast", {}).get(most, {})
    if "pss_kb" not in row:
        return Goal("footprint", text, "not measured", None)
    figure = f"{row['pss_kb'] / 1024:.1f} MB ({row['alone_kb'] / 1024:.1f} MB alone)"
    return Goal("footprint", text, figure, row["pss_kb"] <= GOAL_KB)
