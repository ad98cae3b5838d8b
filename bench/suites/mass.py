"""Mass failure: every agent killed at once, until the last one is back. Throttle off for Holdfast.

Peers take turns, one at a time on the machine, each launched once per turn and killed several times.
"""

from __future__ import annotations

import time

from bench import processes, samples
from bench.context import Context, Goal, Result, Section, best_peer
from bench.fleet import Fleet, NotRunning

NAME = "mass"
TITLE = "Mass failure: all agents killed at once, until the last is back"
COUNT, COUNT_QUICK = 1000, 100
TURNS, KILLS = 2, 3
UPTIME_S = 1.5
BACK_TIMEOUT_S = 90.0


def run(context: Context) -> Result:
    """{"count", "back_s": {peer: [...]}, "cpu_s": {peer: [...]}, "bring_up_s": {peer: [...]}}."""
    count = COUNT_QUICK if context.quick else COUNT
    result: Result = {"count": count, "back_s": {}, "cpu_s": {}, "bring_up_s": {}}
    for _ in range(TURNS):
        for name in context.choose("holdfast", "runit", "s6"):
            try:
                with Fleet(context.peer(name), context.place, context.workload, count, timeout_s=120) as fleet:
                    result["bring_up_s"].setdefault(name, []).append(round(fleet.bring_up_s, 3))
                    _kill_all_some_times(context, fleet, name, result)
            except (processes.TooSlow, processes.CommandFailed, NotRunning) as error:
                context.say(f"mass: {error}")
    return result


def _kill_all_some_times(context: Context, fleet: Fleet, name: str, result: Result) -> None:
    for _ in range(KILLS):
        time.sleep(UPTIME_S)
        supervisors = fleet.supervisor_pids()
        before = {pid: use.cpu_s for pid in supervisors if (use := processes.used(pid))}
        back_s = _kill_all(fleet)
        spent = sum(use.cpu_s - before[pid] for pid in before if (use := processes.used(pid)))
        result["back_s"].setdefault(name, []).append(round(back_s, 3))
        result["cpu_s"].setdefault(name, []).append(round(spent, 3))
        context.say(f"mass: {name} has all {len(fleet.services)} back after {back_s:.2f} s, {spent:.2f} CPU s")


def _kill_all(fleet: Fleet) -> float:
    """Seconds from the first kill to the first act of the last successor."""
    fleet.read_starts()
    names = [service.name for service in fleet.services]
    killed_mono = fleet.kill(*names)

    def all_back() -> bool:
        fleet.read_starts()
        return all(fleet.latest(name).mono > killed_mono for name in names)

    processes.wait_until(all_back, f"{fleet.peer.name}: all back", BACK_TIMEOUT_S, 0.05)
    firsts = (next(start.mono for start in fleet.starts[name] if start.mono > killed_mono) for name in names)
    return max(firsts) - killed_mono


def report(result: Result) -> Section:
    """One table and one goal."""
    medians = {name: samples.median(values) for name, values in result["back_s"].items() if values}
    best = best_peer(medians)
    rows = []
    for name, middle in sorted(medians.items(), key=lambda item: item[1]):
        rows.append(
            [
                name,
                samples.number(middle),
                " ".join(samples.number(value) for value in result["back_s"][name]),
                samples.ratio(middle, best[1]) if best else "-",
                samples.number(samples.median(result["cpu_s"][name])),
                " ".join(samples.number(value) for value in result["bring_up_s"][name]),
            ]
        )
    head = ["", "median s", "each run s", "median : best peer's", "CPU s of the supervisor", "bring-up s"]
    return Section(samples.table(head, rows), [_goal(result, medians)])


def _goal(result: Result, medians: dict[str, float]) -> Goal:
    text = f"{result['count']:,} killed at once back ≤ runit's time, throttle off"
    if "holdfast" not in medians or "runit" not in medians:
        return Goal("mass", text, "not measured", None)
    ours, runit = medians["holdfast"], medians["runit"]
    return Goal("mass", text, f"{ours:.2f} s against {runit:.2f} s", ours <= runit)
