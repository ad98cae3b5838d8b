"""Idle cost with 1,000 agents: CPU and voluntary wake-ups of every process of the supervisor.

Twice for Holdfast: with the process level only, and with an HTTP probe of every agent each 2 s while somebody looks at
the status every 5 s, which makes the keeper read every agent's memory each second; what those looks cost is included.
runit and s6, which do neither, stand beside the first.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

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
FIRST_PORT = 21_000


def run(context: Context) -> Result:
    """{"count", "cases": {case: [window, ...]}}; a window is {process: {"cpu_percent", "wakeups_per_s"}}."""
    count = COUNT_QUICK if context.quick else COUNT
    cases: dict[str, list[Result]] = {}
    for name in context.choose("holdfast", "runit", "s6"):
        _measure(context, f"{name}, process level", name, count, None, cases)
    if "holdfast" in context.available:
        _measure(context, "holdfast, HTTP each 2 s, memory each 1 s", "holdfast", count, _free_ports(count), cases)
    return {"count": count, "window_s": WINDOW_S, "cases": cases}


def _measure(
    context: Context, case: str, name: str, count: int, port: int | None, into: dict[str, list[Result]]
) -> None:
    try:
        peer = context.peer(name)
        with Fleet(peer, context.place, context.workload, count, first_port=port, timeout_s=START_TIMEOUT_S) as fleet:
            time.sleep(SETTLE_S)
            pids = fleet.supervisor_pids()
            labels = _labels(peer, pids)
            looks = _looks(peer) if port is not None else None
            for _ in range(WINDOWS):
                window: Result = {}
                for pid, use in processes.use_over(pids, WINDOW_S, looks).items():
                    row = window.setdefault(labels[pid], {"cpu_percent": 0.0, "wakeups_per_s": 0.0})
                    row["cpu_percent"] = round(row["cpu_percent"] + use.cpu_s / WINDOW_S * 100, 4)
                    row["wakeups_per_s"] = round(row["wakeups_per_s"] + use.wakeups / WINDOW_S, 3)
                into.setdefault(case, []).append(window)
                context.say(f"idle: {case}: {sum(row['cpu_percent'] for row in window.values()):.3f} % of a core")
    except (processes.TooSlow, processes.CommandFailed) as error:
        context.say(f"idle: {error}")


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
        rows.append([f"**{case}**", "all", samples.number(totals[case], 3), samples.number(wakeups)])
        if case.startswith("holdfast"):
            for role in sorted(set().union(*windows)):
                cells = [window[role] for window in windows if role in window]
                cpu = samples.median([cell["cpu_percent"] for cell in cells])
                wake = samples.median([cell["wakeups_per_s"] for cell in cells])
                rows.append(["", role, samples.number(cpu, 3), samples.number(wake)])
    lines = samples.table(["case", "process", "CPU % of a core", "voluntary wake-ups /s"], rows)
    window = f"{WINDOWS} windows of {result['window_s']:.0f} s"
    lines += ["", f"Medians of {window}, {result['count']:,} agents."]
    return Section(lines, _goals(result, totals))


def _goals(result: Result, totals: dict[str, float]) -> list[Goal]:
    text = f"CPU with {result['count']:,} agents, HTTP each 2 s, memory each 1 s ≤ {GOAL_PERCENT:.0f} % of a core"
    probed = totals.get("holdfast, HTTP each 2 s, memory each 1 s")
    first = Goal(
        "idle-probes",
        text,
        "not measured" if probed is None else f"{probed:.2f} %",
        None if probed is None else probed <= GOAL_PERCENT,
    )
    windows = result["cases"].get("holdfast, process level", [])
    text = "process level alone: no periodic wake-up of init and guard but the mutual beats (≤ 2 /s each)"
    if not windows:
        return [first, Goal("idle-wakeups", text, "not measured", None)]
    rates = {
        role: samples.median([window[role]["wakeups_per_s"] for window in windows if role in window])
        for role in ("guard", "init")
        if any(role in window for window in windows)
    }
    figure = ", ".join(f"{role} {rate:.2f} /s" for role, rate in rates.items())
    return [first, Goal("idle-wakeups", text, figure, bool(rates) and all(rate <= 2.0 for rate in rates.values()))]
