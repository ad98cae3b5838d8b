"""The plan of an `up` as a person reads it: one line for each agent that is added, changed or taken out.

Called by up.py with the keeper's answer to a dry run, or, where no keeper runs, with the same worked out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast import limits

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.spec.model import FleetSpec

VALUE_MAX_CHARS = 40  # a longer value is cut; --json has it whole
_MARKS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


def without_keeper(home: Home, fleet: FleetSpec) -> dict[str, Any]:
    """Compared with what this home ran last, if it ran anything."""
    from msgspec import to_builtins

    from holdfast.keeper import fleet as fleets
    from holdfast.keeper.telling import difference
    from holdfast.spec.model import FleetSpec

    fleets.check(fleet)
    former = fleets.load(home.path / fleets.FILE) or FleetSpec()
    plan: dict[str, Any] = to_builtins(difference.plan(former, fleet, lambda name: False))
    return {**plan, "running": False}


def plan_lines(change: dict[str, Any]) -> list[str]:
    """`change`: the keeper's FleetChange of a dry run. Empty when nothing changes."""
    from holdfast.cli.render import paint

    running = change.get("running", True)
    lines = [paint(_line(one, running), _MARKS[one["change"]][1]) for one in change.get("details", [])]
    lines += [f"~ {_key(one)}" for one in change.get("fleet", [])]
    if len(lines) > limits.PLAN_LINES_SHOWN:
        more = len(lines) - limits.PLAN_LINES_SHOWN
        lines = [*lines[: limits.PLAN_LINES_SHOWN], f"… and {more} more; --json names them all"]
    if lines and change.get("unchanged"):
        lines.append(f"  {len(change['unchanged'])} unchanged")
    return lines


def _line(one: dict[str, Any], running: bool) -> str:
    mark, name = _MARKS[one["change"]][0], one["agent"]
    if one["change"] == "added":
        return f"{mark} {name}: new"
    if one["change"] == "removed":
        return f"{mark} {name}: is stopped, its state stays"
    keys = "; ".join(_key(key) for key in one.get("keys", []))
    meant = ("restarts: " if one.get("restarts") else "no restart: ") if running else ""
    return f"{mark} {name}: {meant}{keys}"


def _key(one: dict[str, Any]) -> str:
    before, after = (_cut(one[side]) for side in ("before", "after"))
    if not before or not after:
        return f"{one['key']} {after} (new)" if after else f"{one['key']} {before} (gone)"
    return f"{one['key']} {before} -> {after}"


def _cut(text: str) -> str:
    from holdfast.cli.render import one_line

    plain = one_line(text)
    return plain if len(plain) <= VALUE_MAX_CHARS else plain[: VALUE_MAX_CHARS - 1] + "…"
