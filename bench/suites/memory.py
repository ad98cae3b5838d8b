"""Who survives when memory runs out: important agents beside growing ones, in a node of its own.

Each round runs every scenario once under every keeper, in another order each round: the kernel alone, earlyoom told by
name whom to prefer, and all of Holdfast in the node itself: as it is, its keeper looking at memory only every 250 ms,
and its keeper killed in the middle of the spike. Once besides, without cgroups, and with what the memory part costs
weighed. Needs root and a C compiler; refuses where the machine itself could run short.
"""

from __future__ import annotations

import json
from typing import Any

from bench import samples
from bench.context import Context, Goal, Result, Section
from bench.install import Unavailable
from bench.memory import run as one_run
from bench.memory import scenarios
from bench.memory.run import KEEPERS, V2_SEEN
from holdfast.density.node_memory import reserve

NAME = "memory"
TITLE = "Memory: who survives when it runs out"
OWN_PEERS = True
ROUNDS = 5
EACH_ROUND = ("kernel", "earlyoom-tuned", "holdfast", "holdfast-250ms", "holdfast-killed")
ONCE = ("holdfast-bare", "holdfast-weighed")
KEPT = (*EACH_ROUND, *ONCE)
IDLE = ("holdfast", "holdfast-weighed", "holdfast-off")
OURS = ("holdfast", "holdfast-250ms", "holdfast-killed")  # those for which the promise is made
SCENARIOS = ("forky", "four", "fat", "seed4g")


def run(context: Context) -> Result:
    """{"rounds", "runs": {scenario: {keeper: [result]}}, "idle": {keeper: result}, "left_out": {scenario: reason}}."""
    one_run.prepare()
    keepers = list(EACH_ROUND)
    try:
        context.available["earlyoom"] = one_run.earlyoom_version()
    except Unavailable as reason:
        context.skipped["earlyoom"] = str(reason)
        keepers.remove("earlyoom-tuned")
    rounds = context.rounds or (1 if context.quick else ROUNDS)
    runs: dict[str, dict[str, list[Result]]] = {
        name: {keeper: [] for keeper in (*keepers, *ONCE)} for name in SCENARIOS
    }
    left_out: dict[str, str] = {}
    for number in range(rounds):
        for name in SCENARIOS:
            order = keepers[number % len(keepers) :] + keepers[: number % len(keepers)]
            for keeper in order + list(ONCE if number == 0 else ()):
                result = _once(context, name, keeper, number, left_out)
                if result is not None:
                    runs[name][keeper].append(result)
    return {
        "rounds": rounds,
        "runs": runs,
        "idle": {keeper: _once(context, "idle", keeper, 0, left_out) for keeper in IDLE},
        "left_out": left_out,
    }


def _once(context: Context, name: str, keeper: str, number: int, left_out: dict[str, str]) -> Result | None:
    try:
        result = one_run.once(name, keeper, context.place / f"memory-{name}-{keeper}-{number}")
    except Unavailable as reason:
        left_out[name] = str(reason)
        return None
    told = result.get("failed") or f"{result['lost']} lost, longest gap {result['gap_ms']} ms"
    context.say(f"  {name}, {keeper}: {told}")
    return result


# --- the report --------------------------------------------------------------------------------------------------
def report(figures: Result) -> Section:
    lines: list[str] = []
    for name in SCENARIOS:
        scenario = scenarios.ALL[name]
        lines += [f"**{name}**: node of {scenario.node_mb:,} MB; {scenario.words}.", ""]
        if name in figures["left_out"]:
            lines += [f"Left out: {figures['left_out'][name]}.", ""]
        rows = [_row(name, keeper, figures["runs"][name].get(keeper, [])) for keeper in KEPT]
        head = ["kept by", "lost, each run", "longest gap ms", "peak MB", "killed by the kernel", "half dead", "shed"]
        head += ["gone at worst s", "back after room s", "CPU % in the spike"]
        lines += [*samples.table(head, [row for row in rows if row]), ""]
    lines += [f"- {keeper}: {KEEPERS[keeper].words}." for keeper in KEPT]
    lines += ["- CPU: of earlyoom, or of the keeper with all it does, over the first three seconds."]
    lines += _idle_lines(figures)
    kinds = sorted({one["cgroups"] for _, _, one in _all(figures) if "cgroups" in one})
    lines += [
        "",
        f"cgroups of all runs above: {', '.join(kinds) or 'none'} (v1: v1 memory with v2 for freezing where mounted).",
        f"Load averages during them: {_loads(figures)}.",
        *v2_lines(json.loads(V2_SEEN.read_text()) if V2_SEEN.exists() else None),
    ]
    return Section(lines, _goals(figures))


def _idle_lines(figures: Result) -> list[str]:
    """What the keeper costs with agents that do nothing, and what of it is memory."""
    found = {keeper: one for keeper, one in figures["idle"].items() if one and "failed" not in one}
    if not found:
        return []
    rows = [
        [keeper, _percent(one["calm_cpu_percent"]), _percent(one["calm_memory_cpu_percent"])]
        for keeper, one in found.items()
    ]
    lines = ["", f"**idle**: {scenarios.ALL['idle'].words}; percent of a core over 30 s.", ""]
    head = ["kept by", "all of its keeper", "of it looking at memory and deciding"]
    return [*lines, *samples.table(head, rows), "", f"- holdfast-off: {KEEPERS['holdfast-off'].words}."]


def _loads(figures: Result) -> str:
    found = sorted(one["load"] for _, _, one in _all(figures) if "load" in one)
    return f"{found[0]:.0f} to {found[-1]:.0f}, median {samples.median(found):.0f}" if found else "not noted"


_V2_FACTS = (
    "lost",
    "kernel_kills",
    "node_full",
    "victims",
    "peak_mb",
    "gap_ms",
    "back_s",
    "keepers",
    "away_s",
    "wrong",
)
_ALONE = (
    "the kernel then kills the growing ones in their own groups (kernel_kills), never for the node's limit (node_full)"
)


def _v2_part(seen: list[Result]) -> str:
    failed = [one["name"] for one in seen if not one["held"]]
    if len(seen) > 1:
        return f"{len(seen) - len(failed)} of {len(seen)} held{'; **not**: ' * bool(failed)}{', '.join(failed)}"
    words = ", ".join(f"{key} {seen[0][key]}" for key in _V2_FACTS if seen[0].get(key) not in (None, []))
    return f"{'**not held**' if failed else 'held'}: {words}"


def v2_lines(told: Result | None) -> list[str]:
    """What held on a cgroup v2 memory controller, in emulation: behaviour, not speed."""
    if not told:
        return []
    lines = ["", "**cgroup v2**, natively, in a small virtual machine by software emulation (`./dev memory-vm`)."]
    lines += [f"{told['from'].capitalize()}.", ""]
    for part, ran in told["parts"].items():
        lines.append(f"- {part} ({ran['at']}, revision {ran['revision']}, {ran['kernel']}): {_v2_part(ran['seen'])}")
    lines += ["", f"- emulated: node of {scenarios.ALL['emulated'].node_mb} MB; {scenarios.ALL['emulated'].words}."]
    lines.append(f"- emulated-slow: {scenarios.ALL['emulated-slow'].words}.")
    lines.append("- groups: one group alone, a disk's page cache, swap, and a cgroup given with processes in it.")
    lines.append("- whole: all of Holdfast, with emulated. killed-slow: emulated-slow, and kill -9 of its keeper.")
    lines.append(f"- killed: emulated, and its keeper killed is away so long that init raises all ceilings: {_ALONE}.")
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _all(figures: Result) -> list[tuple[str, str, Result]]:
    return [
        (name, keeper, one)
        for name, keepers in figures["runs"].items()
        for keeper, results in keepers.items()
        for one in results
        if "failed" not in one
    ]


def _row(name: str, keeper: str, results: list[Result]) -> list[str]:
    """One line of a scenario's table; [] when it did not run."""
    good = [one for one in results if "failed" not in one]
    if not good:
        return []
    gaps = [one["gap_ms"] for one in good if one["lost"] < len(scenarios.ALL[name].innocents)]
    cpu = [one["spike_cpu_percent"] for one in good if keeper != "kernel" and one["spike_cpu_percent"] is not None]
    backs = [one["back_s"] for one in good if one.get("back_s") is not None]
    gone = [one["gone_s"] for one in good if "gone_s" in one]
    return [
        keeper,
        " ".join(str(one["lost"]) for one in good),
        f"{samples.median(gaps):.0f} ({max(gaps)})" if gaps else "-",
        f"{max(one['peak_mb'] for one in good):,.0f}",
        " ".join(str(one["kernel_kills"]) for one in good),
        " ".join(str(one["half_dead"]) for one in good),
        " ".join(str(len(one["victims"]) - one["spared"]) for one in good) if "victims" in good[0] else "-",
        f"{max(gone):.2f}" if gone else "-",
        f"{max(backs):.1f}" if backs else "-",
        f"{max(cpu):.1f}" if cpu else "-",
    ]


def _goals(figures: Result) -> list[Goal]:
    ours = [(name, one) for name, keeper, one in _all(figures) if keeper in OURS]
    failed = sum("failed" in one for keepers in figures["runs"].values() for k in OURS for one in keepers.get(k, []))
    count = len(ours)

    def goal(id: str, text: str, figure: str, reached: bool, enough: bool = True) -> Goal:
        """What was not reached once is not reached; that it was always reached takes `enough` runs."""
        return Goal(f"memory-{id}", text, figure, reached if count and (enough or not reached) else None)

    lost = sum(one["lost"] + one["lost_in_the_end"] for _, one in ours)
    kills = sum(one["kernel_kills"] for _, one in ours)
    orderly = sum(one["in_order"] and one["whole"] for _, one in ours)
    over = [one["peak_mb"] - (_most_mb(name)) for name, one in ours]
    longest = max((one["gap_ms"] for _, one in ours), default=0)
    backs = [one["back_s"] for _, one in ours if one["back_s"] is not None]
    all_back = all(one["all_back"] for _, one in ours)
    worst_back = max(backs, default=0.0)
    goals = [
        goal(
            "lost",
            "0 important agents lost, also at a 250 ms tick and with the keeper killed",
            f"{lost} in {count} runs" + (f"; {failed} more did not begin" if failed else ""),
            lost == 0,
            enough=figures["rounds"] >= ROUNDS,
        ),
        goal("kernel", "0 processes killed by the kernel in the node", str(kills), kills == 0),
        goal("order", "victims whole and strictly in priority order", f"{orderly} of {count} runs", orderly == count),
        goal("peak", "peak ≤ node − reserve/2", f"{max(over, default=0):+,.0f} MB at worst", max(over, default=0) <= 0),
        goal("gap-most", "longest beat gap of the important never > 1 s", f"{longest} ms at worst", longest <= 1000),
        goal(
            "back",
            "all shed agents back within 10 s of room",
            f"{worst_back:.1f} s at worst",
            all_back and worst_back <= 10,
        ),
    ]
    return [*goals, _gap_goal(figures), *_cpu_goals(figures)]


def _most_mb(name: str) -> float:
    """The most a node may ever hold: half of its reserve stays untouched."""
    node_mb = scenarios.ALL[name].node_mb
    return node_mb - reserve(node_mb << 20) / (1 << 20) / 2


def _gap_goal(figures: Result) -> Goal:
    text = "forky: median of the longest gap ≤ half of earlyoom's"
    runs = figures["runs"]["forky"]
    found = {k: [one["gap_ms"] for one in runs.get(k, []) if one.get("gap_ms")] for k in ("holdfast", "earlyoom-tuned")}
    if not found["holdfast"] or not runs.get("earlyoom-tuned"):
        return Goal("memory-gap", text, "not measured", None)
    if not found["earlyoom-tuned"]:
        told = f"{samples.median(found['holdfast']):.0f} ms; with earlyoom no important agent was left to beat"
        return Goal("memory-gap", text, told, True)
    ours, theirs = samples.median(found["holdfast"]), samples.median(found["earlyoom-tuned"])
    return Goal("memory-gap", text, f"{ours:.0f} ms against {theirs:.0f} ms", ours <= theirs / 2)


def _cpu_goals(figures: Result) -> list[Goal]:
    whole = [one["spike_cpu_percent"] for _, k, one in _all(figures) if k == "holdfast"]
    parts = [one["spike_memory_cpu_percent"] for _, k, one in _all(figures) if k == "holdfast-weighed"]
    worst: Any = max((each for each in parts if each is not None), default=None)
    all_of_it: Any = max((each for each in whole if each is not None), default=None)
    idle = (figures["idle"].get("holdfast-weighed") or {}).get("calm_memory_cpu_percent")
    return [
        Goal(
            "memory-cpu",
            "the loop ≤ 3 % of a core during the spike",
            f"{worst} %; all of the keeper {all_of_it} % at worst",
            None if worst is None else worst <= 3,
        ),
        Goal(
            "memory-idle",
            "the loop ≤ 0.5 % of a core with 100 idle agents",
            f"{idle} %",
            None if idle is None else idle <= 0.5,
        ),
    ]
