"""Restart latency: kill -9 of an agent until the first instruction of its successor.

With four services each, every peer runs at the same time and is killed in turn, round by round; with many, Holdfast
and runit take turns, each kill meeting another service. Services are up for longer than a second before their kill.
(Four, not one: after ten deaths of one agent in a row Holdfast rightly tells a person instead of going on.)
"""

from __future__ import annotations

import contextlib

from bench import processes, samples
from bench.context import Context, Goal, Result, Section, best_peer
from bench.fleet import Fleet, NotRunning

NAME = "restart"
TITLE = "Restart latency: kill -9 to the first instruction of the successor"
UPTIME_S = 1.3  # runit pauses a second when a service ended within one
FEW_ROUNDS, FEW_ROUNDS_QUICK = 25, 5
FEW = 4
MANY, MANY_QUICK = 1000, 100
MANY_KILLS, MANY_KILLS_QUICK = 200, 40
GOAL_P99_MS = 20.0


def run(context: Context) -> Result:
    """Samples in ms: {"few": {peer: [...]}, "many": {peer: [...]}, "count": services of the second part}.

    null stands for a service that was down or did not come back within 20 s.
    """
    rounds = FEW_ROUNDS_QUICK if context.quick else FEW_ROUNDS
    names = context.choose("holdfast", "runit", "s6", "pm2") if context.quick else context.choose()
    count = MANY_QUICK if context.quick else MANY
    few = _alternate(context, names, FEW, rounds)
    kills = MANY_KILLS_QUICK if context.quick else MANY_KILLS
    many = _alternate(context, context.choose("holdfast", "runit"), count, kills)
    return {"few": few, "many": many, "count": count, "settings": _settings(context)}


def _settings(context: Context) -> dict[str, str]:
    return {name: context.peer(name).setting for name in context.choose()}


def _alternate(context: Context, names: list[str], count: int, rounds: int) -> dict[str, list[float | None]]:
    """Kill one service of each peer in turn; the peers run side by side. A peer that fails to come up is left out."""
    found: dict[str, list[float | None]] = {}
    with contextlib.ExitStack() as stack:
        fleets: dict[str, Fleet] = {}
        for name in names:
            try:
                fleets[name] = stack.enter_context(
                    Fleet(context.peer(name), context.place, context.workload, count, timeout_s=90)
                )
                context.say(f"restart: {name} has {count} up after {fleets[name].bring_up_s:.2f} s")
            except (processes.TooSlow, processes.CommandFailed) as error:
                context.say(f"restart: {error}")
        order = list(fleets)
        for turn in range(rounds):
            for name in order[turn % len(order) :] + order[: turn % len(order)]:
                _one_kill(context, fleets[name], turn, found.setdefault(name, []))
    return found


def _one_kill(context: Context, fleet: Fleet, turn: int, into: list[float | None]) -> None:
    """Append the time in ms; None when the service was down or did not come back in time."""
    victim = fleet.services[(turn * 7) % len(fleet.services)].name  # spread over the fleet
    fleet.wait_uptime(victim, UPTIME_S)
    try:
        into.append(round(fleet.back_after(victim, fleet.kill(victim)) * 1000, 3))
    except (processes.TooSlow, NotRunning) as error:
        into.append(None)
        context.say(f"restart: {error}")


def report(result: Result) -> Section:
    """Tables of both parts, and the two goals."""
    lines = [f"{FEW} services each, all peers side by side, killed in turn (ms):", ""]
    lines += _table(result["few"], result["settings"])
    lines += ["", f"{result['count']:,} services each, Holdfast and runit side by side, killed in turn (ms):", ""]
    lines += _table(result["many"], result["settings"])
    return Section(lines, _goals(result))


def _table(part: dict[str, list[float | None]], settings: dict[str, str]) -> list[str]:
    measured = {name: values for name in part if (values := _came_back(part, name))}
    medians = {name: samples.median(values) for name, values in measured.items()}
    best = best_peer(medians)
    rows = []
    for name, middle in sorted(medians.items(), key=lambda item: item[1]):
        values = measured[name]
        figures = (middle, min(values), samples.percentile(values, 99), max(values))
        against = samples.ratio(middle, best[1]) if best else "-"
        counts = [str(len(values)), str(len(part[name]) - len(values))]
        rows.append([name, *(samples.number(figure) for figure in figures), *counts, against, settings[name]])
    return samples.table(["", "median", "min", "p99", "max", "n", "not back", "median : best peer's", "setting"], rows)


def _came_back(part: dict[str, list[float | None]], name: str) -> list[float]:
    return [value for value in part.get(name, []) if value is not None]


def _goals(result: Result) -> list[Goal]:
    goals = []
    for key, title in (("few", f"{FEW} agents"), ("many", f"{result['count']:,} agents")):
        ours, runit = _came_back(result[key], "holdfast"), _came_back(result[key], "runit")
        figure, reached = "not measured", None
        if ours and runit:
            a, b = samples.median(ours), samples.median(runit)
            figure, reached = f"{a:.2f} ms against {b:.2f} ms", a <= b and None not in result[key]["holdfast"]
        goals.append(Goal(f"restart-median-{key}", f"median ≤ runit's, {title}", figure, reached))
    ours = _came_back(result["many"], "holdfast")
    text = f"p99 ≤ {GOAL_P99_MS:.0f} ms with {result['count']:,} agents"
    if not ours:
        return [*goals, Goal("restart-p99", text, "not measured", None)]
    p99, lost = samples.percentile(ours, 99), len(result["many"]["holdfast"]) - len(ours)
    figure = f"{p99:.2f} ms (n={len(ours)}, not back: {lost})"
    return [*goals, Goal("restart-p99", text, figure, p99 <= GOAL_P99_MS and not lost)]
