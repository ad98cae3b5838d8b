"""Beats: CPU of init and keeper while agents beat through the real socket, and what becomes of the beats.

Three loads: 10,000 beats a second from 100 agents, 1,000 agents each once a second at times of their own, and the same
all at one instant. Each sender counts its cycles up, notes when it found the queue full and how long it then waited.
Afterwards the last cycle of every agent must stand in Holdfast. No peer receives such beats but systemd, which is not
measured; the other supervisors have no such level.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from bench import processes, samples
from bench.context import Context, Goal, Result, Section
from bench.fleet import Fleet
from bench.peers.holdfast import Holdfast

NAME = "beats"
TITLE = "Beats: CPU of init and keeper, senders held up, beats lost"
SETTLE_S = 20.0
WINDOW_S, LEAD_S = 20.0, 3.0
WINDOW_QUICK_S = 5.0
ARRIVE_TIMEOUT_S = 10.0
BEAT = {"health": {"beat": "60s"}}
WAIT_GOAL_MS = 100.0


class Load(NamedTuple):
    """`period_us` of each agent, negative: all at the same instant. `most_percent` of a core; None: no goal."""

    key: str
    words: str
    agents: int
    period_us: int
    most_percent: float | None


LOADS = (
    Load("rush", "10,000 beats/s of 100 agents", 100, 10_000, 30.0),
    Load("many", "1,000 agents, each once a second", 1000, 1_000_000, 3.0),
    Load("together", "1,000 agents, each once a second, all at one instant", 1000, -1_000_000, None),
)


def run(context: Context) -> Result:
    """{load: {"agents", "beats_per_s", "window_s", "cpu_percent": {role: x}, "late", "waited", ...} or {"error"}}."""
    result: Result = {}
    for load in LOADS[:1] if context.quick else LOADS:
        try:
            result[load.key] = _absorb(context, load)
        except (processes.TooSlow, processes.CommandFailed) as error:
            context.say(f"beats: {error}")
            result[load.key] = {"error": str(error)[:300]}
    return result


def _absorb(context: Context, load: Load) -> Result:
    window_s = WINDOW_QUICK_S if context.quick else WINDOW_S
    count = int((window_s + 2 * LEAD_S) * 1e6 / abs(load.period_us))
    peer = Holdfast()
    peer.version()
    told, go = context.place / f"told-{load.key}", context.place / f"go-{load.key}"
    told.touch()
    told.chmod(0o666)
    context.place.chmod(0o755)
    arguments = ("beat", str(load.period_us), str(count), str(told), str(go))
    with Fleet(peer, context.place, context.workload, load.agents, arguments=arguments, settings=BEAT) as fleet:
        time.sleep(SETTLE_S)
        roles = {pid: role for role, pid in peer.process_table().items()}
        pids = fleet.supervisor_pids()
        quiet = processes.use_over(pids, 2.0)
        go.touch()
        time.sleep(LEAD_S)
        spent = processes.use_over(pids, window_s)
        processes.wait_until(
            lambda: told.read_text().count("\n") == load.agents, "all senders done", window_s + 60, 0.05
        )
        sent = _sent(told.read_text())
        late = _not_arrived(peer, {name: row[0] for name, row in sent.items()})
        cpu = {roles.get(pid, "other"): round(use.cpu_s / window_s * 100, 3) for pid, use in spent.items()}
        restarted = sum(len(starts) - 1 for starts in fleet.starts.values())
    rows = list(sent.values())
    found = {
        "agents": load.agents,
        "beats_per_s": round(load.agents * 1e6 / abs(load.period_us), 1),
        "window_s": window_s,
        "cpu_percent": cpu,
        "idle_percent": round(sum(use.cpu_s for use in quiet.values()) / 2.0 * 100, 3),
        "sent": sum(row[0] for row in rows),
        "waited": sum(row[1] for row in rows),
        "longest_wait_ms": round(max(row[2] for row in rows) / 1e6, 3),
        "refused": sum(row[3] for row in rows),
        "last_not_arrived": late,
        "restarted": restarted,
    }
    context.say(f"beats: {load.words}: {found}")
    return found


def _sent(text: str) -> dict[str, tuple[int, ...]]:
    """By agent: cycles sent, times it found the queue full, its longest wait in ns, sends that failed."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: tuple(int(value) for value in row[1:]) for row in rows}


def _not_arrived(peer: Holdfast, last: dict[str, int]) -> int:
    """How many agents' last cycle is not known to Holdfast, some time after it was sent."""
    missing = dict(last)
    deadline = time.monotonic() + ARRIVE_TIMEOUT_S
    while missing and time.monotonic() < deadline:
        for name, cycle in list(missing.items()):
            shown = peer.get(f"/v1/agents/{name}")
            if isinstance(shown, dict) and (shown.get("beat") or {}).get("cycle") == cycle:
                del missing[name]
    return len(missing)


def report(result: Result) -> Section:
    """One table, and two goals for each load that has one."""
    rows = []
    goals: list[Goal] = []
    for load in LOADS:
        row = result.get(load.key)
        if not row or "error" in row:
            goals.append(Goal(f"beats-{load.key}", load.words, (row or {}).get("error", "not measured"), None))
            continue
        cpu = row["cpu_percent"]
        both = cpu.get("init", 0.0) + cpu.get("keeper", 0.0)
        roles = [samples.number(cpu.get(role, 0.0)) for role in ("init", "keeper")]
        kept = [f"{row[key]:,}" for key in ("sent", "waited")]
        ends = [samples.number(row["longest_wait_ms"]), str(row["refused"]), str(row["last_not_arrived"])]
        idle = samples.number(row["idle_percent"])
        rows.append([load.words, samples.number(both), *roles, idle, *kept, *ends, str(row["restarted"])])
        goals += _goals(load, row, both)
    head = ["load", "CPU % of a core", "init", "keeper", "before", "sent", "found the queue full", "longest wait ms"]
    lines = samples.table([*head, "refused", "last cycle not arrived", "restarted"], rows)
    lines += ["", 'CPU of init and keeper together over the window; "before": of all of Holdfast without a beat.']
    return Section(lines, goals)


def _goals(load: Load, row: Result, both: float) -> list[Goal]:
    goals = []
    if load.most_percent is not None:
        text = f"{load.words}: init and keeper ≤ {load.most_percent:.0f} % of a core"
        goals.append(Goal(f"beats-{load.key}", text, f"{both:.2f} %", both <= load.most_percent))
    text = f"{load.words}: none that matters lost, no sender held up for {WAIT_GOAL_MS:.0f} ms"
    lost = row["last_not_arrived"] + row["refused"]
    figure = f"{lost} lost, {row['longest_wait_ms']:.1f} ms at worst"
    good = not lost and not row["restarted"] and row["longest_wait_ms"] < WAIT_GOAL_MS
    return [*goals, Goal(f"beats-{load.key}-kept", text, figure, good)]
