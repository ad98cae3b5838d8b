"""Idle cost with 1,000 agents: CPU and voluntary wake-ups of every process of the supervisor.

Three times for Holdfast: with the process level only; with an HTTP probe of every agent each 2 s while somebody looks
at the status every 5 s, which makes the keeper read every agent's memory each second; and with everything on: as
before, and a beat of every agent each 60 s and thresholds on all its resources. What the looks cost is included, the
PSS at the end is noted. runit and s6, which do neither, stand beside the first.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from bench import processes, samples
from bench.context import Context, Goal, Result, Section
from bench.fleet import Fleet
from bench.peers.base import Peer
from bench.peers.holdfast import Holdfast

NAME = "idle"
TITLE = "Idle cost with 1,000 agents"
COUNT, COUNT_QUICK = 1000, 100
SETTLE_S = 20.0
START_TIMEOUT_S = 300.0
WINDOW_S, WINDOWS = 20.0, 3
GOAL_PERCENT = 5.0
GOAL_KB = 80 * 1024
FIRST_PORT = 21_000
BEAT_MS = 60_000
EVERYTHING = {
    "health": {"beat": "60s"},
    "limits": {"memory": "500M", "pids": 100},
    "resources": {"disk": "90%", "processes": 50},
}
PROBED, FULL = "holdfast, HTTP each 2 s, memory each 1 s", "holdfast, everything on"


class Case(NamedTuple):
    """`probed`: services answer HTTP and are asked. `beat`: they say so each minute, and all thresholds are set."""

    words: str
    peer: str
    probed: bool = False
    beat: bool = False

    def fleet(self, count: int) -> dict[str, Any]:
        """Arguments of Fleet."""
        return {
            "first_port": _free_ports(count) if self.probed else None,
            "arguments": ("http", str(BEAT_MS)) if self.beat else ("sleep",),
            "settings": EVERYTHING if self.beat else None,
        }


def run(context: Context) -> Result:
    """{"count", "cases": {case: [window, ...]}, "weights": {case: weight}}.

    A window is {process: {"cpu_percent", "wakeups_per_s"}}.
    """
    count = COUNT_QUICK if context.quick else COUNT
    result: Result = {"count": count, "window_s": WINDOW_S, "cases": {}, "weights": {}}
    cases = [Case(f"{name}, process level", name) for name in context.choose("holdfast", "runit", "s6")]
    if "holdfast" in context.available:
        cases += [Case(PROBED, "holdfast", True), Case(FULL, "holdfast", True, True)]
    for case in cases:
        try:
            _measure(context, case, count, result)
        except (processes.TooSlow, processes.CommandFailed) as error:
            context.say(f"idle: {error}")
    return result


def _measure(context: Context, case: Case, count: int, into: Result) -> None:
    peer = context.peer(case.peer)
    arguments = case.fleet(count)
    with Fleet(peer, context.place, context.workload, count, timeout_s=START_TIMEOUT_S, **arguments) as fleet:
        time.sleep(SETTLE_S + BEAT_MS / 1000 * case.beat)  # the first beats are heard by then
        pids = fleet.supervisor_pids()
        labels = _labels(peer, pids)
        looks = _looks(peer) if case.probed else None
        for _ in range(WINDOWS):
            window: Result = {}
            for pid, use in processes.use_over(pids, WINDOW_S, looks).items():
                row = window.setdefault(labels[pid], {"cpu_percent": 0.0, "wakeups_per_s": 0.0})
                row["cpu_percent"] = round(row["cpu_percent"] + use.cpu_s / WINDOW_S * 100, 4)
                row["wakeups_per_s"] = round(row["wakeups_per_s"] + use.wakeups / WINDOW_S, 3)
            into["cases"].setdefault(case.words, []).append(window)
            context.say(f"idle: {case.words}: {sum(row['cpu_percent'] for row in window.values()):.3f} % of a core")
        into["weights"][case.words] = asdict(processes.weigh(fleet.supervisor_pids()))
        context.say(f"idle: {case.words}: {into['weights'][case.words]['pss_kb']:,} kB PSS")


def _looks(peer: Peer) -> Callable[[], object] | None:
    return (lambda: peer.get("/v1/status")) if isinstance(peer, Holdfast) else None


def _labels(peer: Peer, pids: list[int]) -> dict[int, str]:
    """Role of each process: Holdfast's as its status names them, others by program."""
    if isinstance(peer, Holdfast):
        roles = {pid: role for role, pid in peer.process_table().items()}
        return {pid: roles.get(pid, "spawner and other") for pid in pids}
    return {pid: Path(argv[0]).name if (argv := processes.argv_of(pid)) else "gone" for pid in pids}


def _free_ports(count: int) -> int:
    """First of `count` free ports in a row on loopback. Raises OSError when there is no such row."""
    for first in range(FIRST_PORT, 60_000 - count, count):
        taken = 0
        for port in range(first, first + count):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    taken += 1
                    break
        if not taken:
            return first
    raise OSError(f"no {count} free ports in a row")


def report(result: Result) -> Section:
    """One table with a line per process of each case, and two goals."""
    rows = []
    totals: dict[str, float] = {}
    for case, windows in result["cases"].items():
        totals[case] = samples.median([sum(row["cpu_percent"] for row in window.values()) for window in windows])
        wakeups = samples.median([sum(row["wakeups_per_s"] for row in window.values()) for window in windows])
        pss = result.get("weights", {}).get(case, {}).get("pss_kb")
        rows.append(
            [f"**{case}**", "all", samples.number(totals[case], 3), samples.number(wakeups), samples.number(pss)]
        )
        if case.startswith("holdfast"):
            for role in sorted(set().union(*windows)):
                cells = [window[role] for window in windows if role in window]
                cpu = samples.median([cell["cpu_percent"] for cell in cells])
                wake = samples.median([cell["wakeups_per_s"] for cell in cells])
                rows.append(["", role, samples.number(cpu, 3), samples.number(wake), ""])
    lines = samples.table(["case", "process", "CPU % of a core", "voluntary wake-ups /s", "PSS kB"], rows)
    window = f"{WINDOWS} windows of {result['window_s']:.0f} s"
    lines += ["", f"Medians of {window}, {result['count']:,} agents."]
    return Section(lines, _goals(result, totals))


def _goals(result: Result, totals: dict[str, float]) -> list[Goal]:
    many = f"{result['count']:,} agents"
    asked = (
        ("idle-probes", f"CPU with {many}, HTTP each 2 s, memory each 1 s", PROBED),
        ("idle-everything", "the same, and a beat of each every 60 s, thresholds on all resources", FULL),
    )
    goals = []
    for key, text, case in asked:
        text += f" ≤ {GOAL_PERCENT:.0f} % of a core"
        cpu = totals.get(case)
        figure = "not measured" if cpu is None else f"{cpu:.2f} %"
        goals.append(Goal(key, text, figure, None if cpu is None else cpu <= GOAL_PERCENT))
    pss_kb = result.get("weights", {}).get(FULL, {}).get("pss_kb")
    figure = "not measured" if pss_kb is None else f"{pss_kb / 1024:.1f} MB"
    text = f"PSS of all Holdfast processes with {many}, everything on ≤ {GOAL_KB // 1024} MB"
    goals.append(Goal("idle-pss", text, figure, None if pss_kb is None else pss_kb <= GOAL_KB))
    return [*goals, _wakeups(result)]


def _wakeups(result: Result) -> Goal:
    windows = result["cases"].get("holdfast, process level", [])
    text = "process level alone: no periodic wake-up of init and guard but the mutual beats (≤ 2 /s each)"
    if not windows:
        return Goal("idle-wakeups", text, "not measured", None)
    rates = {
        role: samples.median([window[role]["wakeups_per_s"] for window in windows if role in window])
        for role in ("guard", "init")
        if any(role in window for window in windows)
    }
    figure = ", ".join(f"{role} {rate:.2f} /s" for role, rate in rates.items())
    return Goal("idle-wakeups", text, figure, bool(rates) and all(rate <= 2.0 for rate in rates.values()))
