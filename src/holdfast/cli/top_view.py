"""What a person has chosen to see in `top`, and what each key does to it. Pure.

Invariant: `press` is total: any key in any state gives a state; nothing is restarted without a `y` to a question that
names the agent. Called by top.py; drawn by top_frame.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

SORTS = ("file", "name", "phase", "memory", "cpu", "restarts", "uptime")
FILTER_MAX_CHARS = 100
Pane = Literal["timeline", "logs", "describe"]
Row = dict[str, Any]
_LARGEST_FIRST = frozenset({"memory", "cpu", "restarts"})
_WORST_FIRST = (
    "escalated", "unhealthy", "backoff", "recovering", "shed", "degraded", "starting", "stopping", "queued"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """`agent`: shown alone, "" for the fleet. `pinned`: the command was asked for one agent only."""

    selected: str = ""
    agent: str = ""
    pane: Pane = "timeline"
    scroll: int = 0  # lines from the beginning in `describe`, back from the end elsewhere
    filter: str = ""
    is_typing: bool = False
    sort: str = "file"
    asking: str = ""  # agent whose restart waits for y or n
    restart: str = ""  # agent to restart now: whoever carries it out clears it
    message: str = ""
    pinned: bool = False
    is_over: bool = False


def rows_shown(view: View, rows: Sequence[Row]) -> list[Row]:
    """The fleet's rows, filtered and sorted."""
    wanted = view.filter.casefold()
    found = [row for row in rows if wanted in haystack(row)] if wanted else list(rows)
    return found if view.sort == "file" else sorted(found, key=lambda row: _key(row, view.sort))


def haystack(row: Row) -> str:
    """What the filter looks into: name, phase, labels, why."""
    labels = " ".join(f"{key}={value}" for key, value in (row.get("labels") or {}).items())
    return f"{row['name']} {row.get('phase')} {labels} {row.get('why')}".casefold()


def cpu_of(row: Row) -> float | None:
    """Share of one core, where the keeper knows it."""
    value = (row.get("usage") or {}).get("cpu")
    return float(value) if isinstance(value, int | float) else None


def _key(row: Row, sort: str) -> tuple[Any, ...]:
    if sort == "phase":
        phase = row.get("phase")
        return (_WORST_FIRST.index(phase) if phase in _WORST_FIRST else len(_WORST_FIRST), row["name"])
    fields = {"memory": "rss_bytes", "uptime": "uptime_s"}
    value = cpu_of(row) if sort == "cpu" else row.get(fields.get(sort, sort))
    if value is None:
        return (1, 0, row["name"])
    return (0, -value if sort in _LARGEST_FIRST else value, row["name"])


def settled(view: View, rows: Sequence[Row]) -> View:
    """The view with a selection that exists; `rows` as shown."""
    names = [row["name"] for row in rows]
    if view.selected in names:
        return view
    return replace(view, selected=names[0] if names else "")


def press(view: View, key: str, rows: Sequence[Row], page: int) -> View:
    """The view after a key. `rows` as shown; `page`: how many of them, or lines of a pane, one screen holds."""
    view = replace(view, message="")
    if view.asking:
        if key in ("y", "Y"):
            return replace(view, asking="", restart=view.asking, message=f"{view.asking}: restart asked for")
        return replace(view, asking="", message="not restarted")
    if view.is_typing:
        return _type(view, key)
    if key in ("q", "Q"):
        return replace(view, is_over=True)
    if key == "r":
        name = view.agent or view.selected
        return replace(view, asking=name) if name else view
    if key in ("l", "d", "e"):
        pane: Pane = {"l": "logs", "d": "describe", "e": "timeline"}[key]  # type: ignore[assignment]
        name = view.agent or view.selected
        return replace(view, agent=name, pane=pane, scroll=0) if name else view
    return _in_agent(view, key, page) if view.agent else _in_fleet(view, key, rows, page)


def _type(view: View, key: str) -> View:
    if key == "enter":
        return replace(view, is_typing=False)
    if key == "escape":
        return replace(view, is_typing=False, filter="")
    if key == "backspace":
        return replace(view, filter=view.filter[:-1])
    if len(key) == 1 and key.isprintable() and len(view.filter) < FILTER_MAX_CHARS:
        return replace(view, filter=view.filter + key)
    return view


def _in_agent(view: View, key: str, page: int) -> View:
    if key in ("escape", "left", "h", "backspace"):
        return replace(view, is_over=True) if view.pinned else replace(view, agent="", scroll=0)
    by = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": page, "pageup": -page}.get(key)
    if by is not None:
        by = by if view.pane == "describe" else -by  # what has an end that grows is scrolled back from there
        return replace(view, scroll=max(0, view.scroll + by))
    return replace(view, scroll=0) if key in ("home", "g") else view


def _in_fleet(view: View, key: str, rows: Sequence[Row], page: int) -> View:
    if key == "/":
        return replace(view, is_typing=True)
    if key == "escape":
        return replace(view, filter="")
    if key == "s":
        sort = SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)]
        return replace(view, sort=sort, message=f"sorted by {sort}")
    if key in ("enter", "right") and view.selected:
        return replace(view, agent=view.selected, pane="timeline", scroll=0)
    names = [row["name"] for row in rows]
    if not names:
        return view
    at = names.index(view.selected) if view.selected in names else 0
    by = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": page, "pageup": -page}.get(key, 0)
    by = {"home": -len(names), "g": -len(names), "end": len(names), "G": len(names)}.get(key, by)
    return replace(view, selected=names[min(max(at + by, 0), len(names) - 1)])
