"""The fleet's status as people see it: the table of `ps`, its warnings, and what changed between two looks.

Pure: status documents of the API in, lines of text out. Called by ps.py, up.py, run.py and describe.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.cli.render import NOTHING, duration, one_line, size, table, wrap
from holdfast.limits import CONFIRM_S

HEADERS = ("NAME", "PHASE", "HEALTH", "PID", "UPTIME", "RESTARTS", "TIER", "MEM", "WHY / NEXT")
WIDE_HEADERS = (*HEADERS[:-1], "CPU", "INSTANCE", "PRIORITY", "SHED", "USER", "LABELS", HEADERS[-1])
# Columns a narrow terminal does without, the least missed first.
DROPPED_FIRST = ("PID", "TIER", "RESTARTS", "MEM", "UPTIME", "HEALTH")
# As wanted: nothing to wait for, nothing wrong.
SETTLED_PHASES = frozenset({"healthy", "finished", "stopped", "hibernating", "spare"})
COLOUR_OF_PHASE = {
    "queued": "cyan",
    "starting": "cyan",
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "red",
    "recovering": "yellow",
    "backoff": "yellow",
    "escalated": "red",
    "stopping": "cyan",
    "shed": "yellow",
    "hibernating": "blue",
    "spare": "blue",
}
LEVELS = ("process", "endpoint", "behaviour")

Status = dict[str, Any]


def unsettled(status: Status) -> list[str]:
    """Names of the agents which are not as they should be; `ps` tells so."""
    return [row["name"] for row in status.get("agents", []) if row.get("phase") not in SETTLED_PHASES]


def awaited(status: Status) -> list[str]:
    """Names of the agents that whoever waits for a healthy fleet still waits for."""
    return [row["name"] for row in status.get("agents", []) if not is_settled(row)]


def is_settled(row: Mapping[str, Any]) -> bool:
    """As it should be, or well for long enough: its incident may stay open until its slowest source has spoken."""
    good_for_long = row.get("phase") == "recovering" and (row.get("good_s") or 0.0) >= CONFIRM_S
    return row.get("phase") in SETTLED_PHASES or good_for_long


def agent_row(status: Status | None, name: str) -> dict[str, Any] | None:
    """The row of one agent, when there is one."""
    return next((row for row in (status or {}).get("agents", []) if row.get("name") == name), None)


def health_text(row: dict[str, Any]) -> str:
    """`ok/ok/off`: process, endpoint, behaviour."""
    health = row.get("health") or {}
    return "/".join(str(health.get(level, "unknown")) for level in LEVELS)


def why_next(row: dict[str, Any]) -> str:
    """What is, and what happens when, on one line."""
    parts = [one_line(row.get(key) or "") for key in ("why", "next")]
    return " ▸ ".join(part for part in parts if part)


def agent_cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row.get("name", "")),
        phase_text(row),
        health_text(row),
        str(row.get("pid") or NOTHING),
        duration(row.get("uptime_s")),
        str(row.get("restarts", 0)),
        str(row.get("tier", 0)),
        memory_text(row),
        why_next(row),
    ]


def phase_text(row: dict[str, Any]) -> str:
    """`healthy`; `healthy, asleep` for one that sleeps and is there all the same."""
    asleep = ", asleep" if row.get("asleep") == "frozen" else ""
    return f"{row.get('phase', '')}{asleep}"


def memory_text(row: dict[str, Any]) -> str:
    """`212M/280M`: in use, and kept for it; without a lease what is in use alone."""
    used, lease = row.get("usage_bytes"), row.get("lease_bytes")
    if used is None or not lease or not row.get("pid"):
        return size(row.get("rss_bytes"))
    return f"{size(used)}/{size(lease)}"


def shed_text(row: dict[str, Any]) -> str:
    """Its place among those who go when a more important agent needs memory: 1 is the next."""
    return "kept" if row.get("protected") else str(row.get("shed_order") or NOTHING)


def wide_cells(row: dict[str, Any]) -> list[str]:
    """The cells of `ps -o wide`."""
    cells = agent_cells(row)
    cpu = (row.get("usage") or {}).get("cpu")
    labels = ",".join(f"{key}={value}" for key, value in (row.get("labels") or {}).items())
    more = [
        NOTHING if cpu is None else f"{cpu:.0%}",
        str(row.get("instance", "")),
        str(row.get("priority", "")),
        shed_text(row),
        str(row.get("user") or NOTHING),
        one_line(labels) or NOTHING,
    ]
    return [*cells[:-1], *more, cells[-1]]


def status_lines(status: Status, width: int | None, *, wide: bool = False) -> list[str]:
    """Everything `ps` prints. `wide`: all columns, and nothing is cut."""
    agents = status.get("agents", [])
    colours = [COLOUR_OF_PHASE.get(str(row.get("phase"))) for row in agents]
    if wide:
        lines = table(WIDE_HEADERS, [wide_cells(row) for row in agents], colours=colours)
    else:
        lines = table(HEADERS, [agent_cells(row) for row in agents], width=width, colours=colours, drop=DROPPED_FIRST)
    if not agents:
        lines = wrap("no agents: declare some in holdfast.yaml and run `holdfast up`, or `holdfast run -- CMD`", width)
    memory = node_line(status)
    room = [*(wrap(memory, width) if memory else []), *wrap(own_line(status), width)]
    return [*lines, *warning_lines(status, width), *room]


def node_line(status: Status) -> str:
    """The node's memory on one line; "" as long as nobody read it."""
    node = status.get("node") or {}
    if node.get("budget_bytes") is None:
        return ""
    used, leased, budget = (max(0, node.get(key) or 0) for key in ("agents_bytes", "leased_bytes", "budget_bytes"))
    parts = [f"memory: {size(used)} in use, {size(leased)} of {size(budget)} leased"]
    if (node.get("free_bytes") or 0) < 0:
        parts.append(f"the reserve of {size(node.get('reserve_bytes'))} is being used")
    first = next_to_go(status.get("agents", []))
    if first:
        parts.append(f"{first} goes first if more is needed")
    return "; ".join(parts)


def next_to_go(rows: list[dict[str, Any]]) -> str:
    """Who would be shed next; "" when nobody would."""
    return next((str(row["name"]) for row in rows if row.get("shed_order") == 1), "")


def warning_lines(status: Status, width: int | None = None) -> list[str]:
    lines: list[str] = []
    for warning in status.get("warnings", []):
        lines.extend(wrap(f"warning {warning.get('code', '')}: {one_line(warning.get('message', ''))}", width))
        room = None if width is None else width - 3
        lines.extend(f"   {part}" for part in wrap(f"next: {one_line(warning.get('next', ''))}", room))
    return lines


def own_line(status: Status) -> str:
    """Holdfast's own processes on one line."""
    own = status.get("holdfast") or {}
    parts = []
    for process in own.get("processes", []):
        restarts = process.get("restarts") or 0
        again = f" ({restarts} restart{'s' if restarts != 1 else ''})" if restarts else ""
        parts.append(f"{process.get('name')} {process.get('pid') or NOTHING}{again}")
    return f"holdfast {own.get('version', '')}: {', '.join(parts)}"


def changes(before: Status | None, after: Status) -> list[str]:
    """One line for each agent or process of ours that is not what it was at the last look."""
    old = {row["name"]: row for row in (before or {}).get("agents", [])}
    lines = []
    for row in after.get("agents", []):
        was = old.pop(row["name"], None)
        if was is None or gist(was) != gist(row):
            lines.append(_change_line(row))
    lines.extend(f"{name}: gone" for name in old)
    if before is not None:
        lines.extend(_own_changes(before, after))
    return lines


def gist(row: dict[str, Any] | None) -> tuple[object, ...]:
    """What counts as a change; the words do not, since they hold durations."""
    return tuple((row or {}).get(key) for key in ("phase", "pid", "instance", "tier"))


def _change_line(row: dict[str, Any]) -> str:
    pid = f" pid {row['pid']}" if row.get("pid") else ""
    words = why_next(row)
    return f"{row['name']}: {row.get('phase')}{pid}" + (f" — {words}" if words else "")


def _own_changes(before: Status, after: Status) -> list[str]:
    pids = {p["name"]: p.get("pid") for p in (before.get("holdfast") or {}).get("processes", [])}
    return [
        f"holdfast's {p['name']} is back as pid {p['pid']}"
        for p in (after.get("holdfast") or {}).get("processes", [])
        if p.get("pid") and p["name"] in pids and pids[p["name"]] != p["pid"]
    ]
