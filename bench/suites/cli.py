"""The command line as a person feels it: wall time of whole commands, started anew each time.

Start: `holdfast --version` and `holdfast ps` of one agent, beside `python -c pass` as the unit (an interpreter that
does nothing). Then the status of 1,000 services by each supervisor's own command, the unit beside each again. Output
goes into a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from bench import processes, samples
from bench.context import Context, Goal, Result, Section, best_peer
from bench.fleet import Fleet
from bench.peers.holdfast import Holdfast

NAME = "cli"
TITLE = "Command line: wall time of whole commands"
COUNT, COUNT_QUICK = 1000, 100
ROUNDS, ROUNDS_QUICK = 25, 7
SETTLE_S = 3.0
START_TIMEOUT_S = 200.0
COMMAND_TIMEOUT_S = 120.0
SLOW_S = 3.0  # a peer whose first command takes longer gets three rounds
GOAL_START_MS, GOAL_PS_MS = 150.0, 100.0
UNIT = "python -c pass"


def run(context: Context) -> Result:
    """Samples in ms: {"count", "start": {command: [...]}, "status": {peer: [...]}, "of": {peer: services up}}."""
    count = COUNT_QUICK if context.quick else COUNT
    result: Result = {"count": count, "start": {}, "status": {}, "of": {}}
    rounds = ROUNDS_QUICK if context.quick else ROUNDS
    if "holdfast" in context.available:
        _start(context, rounds, result)
    for name in context.choose():
        try:
            _status(context, name, count, rounds, result)
        except (processes.TooSlow, processes.CommandFailed) as error:
            context.say(f"cli: {error}")
    return result


def _start(context: Context, rounds: int, into: Result) -> None:
    peer = Holdfast()
    peer.version()
    with Fleet(peer, context.place, context.workload, 1) as fleet:
        time.sleep(SETTLE_S)
        commands: dict[str, list[str | Path]] = {
            UNIT: [_interpreter(peer), "-c", "pass"],
            "holdfast --version": [peer.program, "--version"],
            "holdfast ps, 1 agent": peer.status_argv(),
        }
        for turn in range(rounds + 1):
            for words, argv in commands.items():
                took_ms = _timed(argv, fleet.directory / "shown")
                if turn:  # the first one reads files into the page cache
                    into["start"].setdefault(words, []).append(took_ms)


def _status(context: Context, name: str, count: int, rounds: int, into: Result) -> None:
    """One peer with its fleet; the unit stands beside each of its commands."""
    with Fleet(context.peer(name), context.place, context.workload, count, timeout_s=START_TIMEOUT_S) as fleet:
        time.sleep(SETTLE_S)
        argv, shown = fleet.peer.status_argv(), fleet.directory / "shown"
        first_ms = _timed(argv, shown)
        into["of"][name] = sum(f"a{index:04d}" in text for text in [shown.read_text()] for index in range(count))
        for _ in range(3 if first_ms > SLOW_S * 1000 else rounds):
            into["status"].setdefault(name, []).append(_timed(argv, shown))
            into["status"].setdefault(f"{UNIT} beside {name}", []).append(_timed([sys.executable, "-c", "pass"], shown))
        middle = samples.median(into["status"][name])
        context.say(f"cli: {name}: status of {into['of'][name]} of {count} in {middle:.1f} ms")


def _interpreter(peer: Holdfast) -> str:
    with contextlib.suppress(OSError), open(peer.program) as file:
        first = file.readline().removeprefix("#!").strip()
        if first and os.access(first, os.X_OK):
            return first
    return sys.executable


def _timed(argv: list[str | Path], shown: Path) -> float:
    """ms of a whole command, from before its fork until it is reaped."""
    begun = time.perf_counter()
    processes.command(argv, shown, timeout_s=COMMAND_TIMEOUT_S, good=(0, 3))
    return round((time.perf_counter() - begun) * 1000, 2)


def report(result: Result) -> Section:
    """Two tables and three goals."""
    rows = [_row(words, values, result["start"].get(UNIT)) for words, values in result["start"].items()]
    head = ["command", "median ms", "min", "p99", "n", f": {UNIT}"]
    lines = ["Start:", "", *samples.table(head, rows), "", f"Status of {result['count']:,} services:", ""]
    medians = {name: samples.median(values) for name, values in result["status"].items() if not _is_unit(name)}
    best = best_peer(medians)
    rows = []
    for name in sorted(medians, key=medians.__getitem__):
        unit = result["status"].get(f"{UNIT} beside {name}")
        against = samples.ratio(medians[name], best[1]) if best else "-"
        rows.append([*_row(name, result["status"][name], unit), against, str(result["of"][name])])
    lines += samples.table([*head, "median : best peer's", "services shown"], rows)
    return Section(lines, _goals(result))


def _is_unit(name: str) -> bool:
    return name.startswith(UNIT)


def _row(words: str, values: list[float], unit: list[float] | None) -> list[str]:
    middle = samples.median(values)
    figures = [samples.number(figure, 1) for figure in (middle, min(values), samples.percentile(values, 99))]
    return [words, *figures, str(len(values)), samples.ratio(middle, samples.median(unit)) if unit else "-"]


def _goals(result: Result) -> list[Goal]:
    asked = (
        ("cli-start", f"`holdfast --version` ≤ {GOAL_START_MS:.0f} ms", "holdfast --version", GOAL_START_MS, "start"),
        ("cli-ps-one", f"`ps` of 1 agent ≤ {GOAL_START_MS:.0f} ms", "holdfast ps, 1 agent", GOAL_START_MS, "start"),
        ("cli-ps", f"`ps` of {result['count']:,} agents ≤ {GOAL_PS_MS:.0f} ms", "holdfast", GOAL_PS_MS, "status"),
    )
    goals = []
    for key, text, name, most_ms, part in asked:
        values = result[part].get(name)
        if not values:
            goals.append(Goal(key, text, "not measured", None))
            continue
        middle = samples.median(values)
        figure = f"{middle:.0f} ms (p99 {samples.percentile(values, 99):.0f} ms)"
        goals.append(Goal(key, text, figure, middle <= most_ms))
    return goals
