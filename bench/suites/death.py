"""Death of the supervisor itself: kill -9 of each of its processes while agents run.

Holdfast: guard, init, keeper, logger in turn, then all at once with `up` after it. One agent is killed together with
the process, so that "control regained" means: that agent is back and the API answers. An agent that starts without
having been killed was *restarted*; one that lives twice was *doubled*. Peers: five services, one is killed while the
supervisor is dead, then the supervisor is started again as its owner would.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench import processes, samples
from bench.context import Context, Goal, Result, Section
from bench.fleet import Fleet, NotRunning
from bench.peers.holdfast import ROLES, Holdfast

NAME = "death"
TITLE = "kill -9 of the supervisor's own processes"
COUNT, COUNT_QUICK = 1000, 100
ROUNDS, ROUNDS_QUICK = 5, 1
SETTLE_S = 2.0
REPAIR_TIMEOUT_S = 30.0
PEER_SERVICES = 5
PEER_WAIT_S = 5.0  # supervisord needs a second, runsvdir up to five
PER_SERVICE = {"runit": "runsv", "s6": "s6-supervise"}
GOAL_S = 1.0


def run(context: Context) -> Result:
    """{"count", "holdfast": [round, ...], "peers": [row, ...]}; a round names the killed role and what followed."""
    count = COUNT_QUICK if context.quick else COUNT
    result: Result = {"count": count, "holdfast": [], "peers": []}
    if "holdfast" in context.available:
        try:
            _holdfast(context, count, result["holdfast"])
        except (processes.TooSlow, processes.CommandFailed, NotRunning) as error:
            context.say(f"death: {error}")
            result["holdfast_error"] = str(error)[:300]
    for name in [] if context.quick else context.choose("runit", "s6", "supervisord", "pm2", "circus"):
        for target in (None, PER_SERVICE.get(name)) if name in PER_SERVICE else (None,):
            try:
                result["peers"].append(_peer(context, name, target))
            except (processes.TooSlow, processes.CommandFailed) as error:
                context.say(f"death: {error}")
    return result


def _holdfast(context: Context, count: int, into: list[Result]) -> None:
    peer = Holdfast()
    peer.version()
    with Fleet(peer, context.place, context.workload, count, timeout_s=120) as fleet:
        time.sleep(SETTLE_S)
        for turn in range(ROUNDS_QUICK if context.quick else ROUNDS):
            for index, killed in enumerate([*((role,) for role in ROLES), ROLES]):
                victim = fleet.services[(turn * 11 + index * 3) % count].name
                into.append(_one_death(fleet, peer, killed, victim))
                context.say(f"death: {into[-1]}")


def _one_death(fleet: Fleet, peer: Holdfast, killed: tuple[str, ...], victim: str) -> Result:
    table = _whole_table(peer)
    fleet.read_starts()
    known = {name: len(starts) for name, starts in fleet.starts.items()}
    begun = time.monotonic()
    for role in killed:
        processes.kill(table[role])
    fleet.kill(victim)
    if len(killed) == len(ROLES):
        peer.relaunch()
    up_s = time.monotonic() - begun
    answered_s = _time_until_answer(peer, victim, begun)
    back_s = fleet.back_after(victim, begun, REPAIR_TIMEOUT_S)
    repaired_s = _time_until_repaired(peer, table, killed, begun)
    time.sleep(SETTLE_S)
    fleet.read_starts()
    living = fleet.living_by_name()
    restarted = [name for name, starts in fleet.starts.items() if name != victim and len(starts) > known[name]]
    return {
        "killed": "all four, then `up`" if len(killed) > 1 else killed[0],
        "agent_back_s": round(back_s, 4),
        "api_answers_s": round(answered_s, 4),
        "successor_shown_s": round(repaired_s, 3),
        "up_took_s": round(up_s, 3) if len(killed) > 1 else None,
        "restarted": len(restarted) + max(len(fleet.starts[victim]) - known[victim] - 1, 0),
        "doubled": sum(len(pids) > 1 for pids in living.values()),
        "missing": sum(not pids for pids in living.values()),
    }


def _whole_table(peer: Holdfast) -> dict[str, int]:
    """Pids of the four roles, once all of them are there."""
    table: dict[str, int] = {}

    def complete() -> bool:
        table.clear()
        table.update(peer.process_table())
        return all(role in table for role in ROLES)

    processes.wait_until(complete, "holdfast: all four processes in its status", REPAIR_TIMEOUT_S, 0.05)
    return table


def _time_until_answer(peer: Holdfast, agent: str, begun: float) -> float:
    def answers() -> bool:
        row = peer.get(f"/v1/agents/{agent}", timeout_s=2.0)
        return isinstance(row, dict) and row.get("name") == agent

    processes.wait_until(answers, "holdfast: an answer of the API", REPAIR_TIMEOUT_S)
    return time.monotonic() - begun


def _time_until_repaired(peer: Holdfast, before: dict[str, int], killed: tuple[str, ...], begun: float) -> float:
    def repaired() -> bool:
        now = peer.process_table()
        return all(now.get(role, before[role]) != before[role] for role in killed)

    processes.wait_until(repaired, f"holdfast: successor of {', '.join(killed)}", REPAIR_TIMEOUT_S, 0.05)
    return time.monotonic() - begun


def _peer(context: Context, name: str, target: str | None) -> Result:
    """Kill the supervisor (or one per-service process of it), then one service, then start the supervisor again."""
    with Fleet(context.peer(name), context.place, context.workload, PEER_SERVICES, timeout_s=60) as fleet:
        time.sleep(SETTLE_S)
        before = {service.name: fleet.latest(service.name).pid for service in fleet.services}
        victim = fleet.services[0].name
        restarted_meanwhile: bool | None = None
        if target is None:
            for pid in fleet.peer.roots():
                processes.kill(pid)
            survivors = _survivors(fleet, before)
            killed_mono = fleet.kill(victim)
            restarted_meanwhile = _came_back(fleet, victim, killed_mono)
            fleet.peer.relaunch()
        else:
            processes.kill(next(pid for pid in fleet.supervisor_pids() if _program(pid) == target))
            survivors = _survivors(fleet, before)
        time.sleep(PEER_WAIT_S)
        living = fleet.living_by_name()
        row = {
            "peer": name,
            "killed": target or "the supervisor",
            "survivors": survivors,
            "restarted_meanwhile": restarted_meanwhile,
            "doubled": sum(len(pids) > 1 for pids in living.values()),
            "missing": sum(not pids for pids in living.values()),
            "running": sum(len(pids) for pids in living.values()),
        }
        context.say(f"death: {row}")
        return row


def _program(pid: int) -> str:
    return Path(processes.argv_of(pid)[0]).name


def _survivors(fleet: Fleet, before: dict[str, int]) -> int:
    time.sleep(0.5)
    living = fleet.living_by_name()
    return sum(before[name] in pids for name, pids in living.items())


def _came_back(fleet: Fleet, victim: str, killed_mono: float) -> bool:
    try:
        fleet.back_after(victim, killed_mono, PEER_WAIT_S)
    except processes.TooSlow:
        return False
    return True


def report(result: Result) -> Section:
    """Two tables and three goals."""
    rounds = result["holdfast"]
    lines = [f"Holdfast with {result['count']:,} agents; medians and (largest) over the rounds:", ""]
    rows = []
    for killed in dict.fromkeys(row["killed"] for row in rounds):
        same = [row for row in rounds if row["killed"] == killed]
        cells = [_spread([row[key] for row in same]) for key in ("agent_back_s", "api_answers_s", "successor_shown_s")]
        sums = [str(sum(row[key] for row in same)) for key in ("restarted", "doubled", "missing")]
        rows.append([killed, str(len(same)), *cells, *sums])
    head = ["killed", "rounds", "killed agent back s", "API answers s", "successor in `ps` s"]
    lines += samples.table([*head, "restarted", "doubled", "missing"], rows)
    if "holdfast_error" in result:
        lines += ["", f"The run ended early: {result['holdfast_error']}"]
    if result["peers"]:
        lines += ["", f"Peers with {PEER_SERVICES} services, one round each:", ""]
        lines += samples.table(
            ["peer", "killed", "services that survive", "dead service restarted meanwhile", "doubled", "missing"],
            [
                [
                    row["peer"],
                    row["killed"],
                    f"{row['survivors']} of {PEER_SERVICES}",
                    {True: "yes", False: "no", None: "-"}[row["restarted_meanwhile"]],
                    str(row["doubled"]),
                    str(row["missing"]),
                ]
                for row in result["peers"]
            ],
        )
    return Section(lines, _goals(result))


def _spread(values: list[float]) -> str:
    return f"{samples.median(values):.3f} ({max(values):.3f})"


def _goals(result: Result) -> list[Goal]:
    rounds = result["holdfast"]
    whole = "holdfast_error" not in result and bool(rounds)
    text = f"kill -9 of guard, init, keeper, logger in turn with {result['count']:,} agents: "
    if not rounds:
        return [Goal("death", text + "0 restarted, 0 doubled, control ≤ 1 s", "not measured", None)]
    single = [row for row in rounds if row["killed"] in ROLES]
    goals = [
        Goal(f"death-{key}", f"{text}0 {key}", str(total), whole and total == 0)
        for key in ("restarted", "doubled")
        for total in [sum(row[key] for row in rounds)]
    ]
    slowest = max(single, key=lambda row: max(row["agent_back_s"], row["api_answers_s"]))
    control_s = max(slowest["agent_back_s"], slowest["api_answers_s"])
    figure = f"{control_s:.2f} s at worst ({slowest['killed']})"
    return [*goals, Goal("death-control", f"{text}control regained ≤ 1 s", figure, whole and control_s <= GOAL_S)]
