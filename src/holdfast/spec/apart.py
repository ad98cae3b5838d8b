"""Agents whose state lies in each other's: refused, since a restore of one would take the other back in time as well.

Refused too: a second place within what an agent keeps, where every snapshot would hold all earlier ones again.

Called by `reading.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.spec.layers import Setting
from holdfast.spec.problems import Problems, show_path
from holdfast.spec.resolve import Resolved

EACH_ITS_OWN = "paths of its own; {agent} in a path stands for the agent's name"
ELSEWHERE = "a bucket's URL, or a directory on another disk, outside all state paths"


def check(agents: Sequence[Resolved], problems: Problems) -> None:
    """Notes one problem for each agent whose paths lie in those of an earlier one, or hold them."""
    paths = sorted((path.rstrip("/") + "/", place) for place, one in enumerate(agents) for path in one.spec.state.paths)
    told: set[int] = set()
    above: list[tuple[str, int]] = []  # the paths that hold the present one
    for path, place in paths:
        while above and not path.startswith(above[-1][0]):
            above.pop()
        other = next((owner for _, owner in reversed(above) if owner != place), None)
        if other is not None and (later := max(place, other)) not in told:
            told.add(later)
            _tell(problems, agents[later], agents[min(place, other)].spec.name, path)
        above.append((path, place))
    _stores(agents, [(path, agents[place].spec.name) for path, place in paths], problems)


def _stores(agents: Sequence[Resolved], paths: list[tuple[str, str]], problems: Problems) -> None:
    """Notes one problem for each agent whose second place is a directory within a state path."""
    around: dict[str, tuple[str, str] | None] = {}  # many agents name the same one
    for one in agents:
        store = one.spec.state.store
        if not store or "://" in store or not one.spec.state.paths:
            continue
        if store not in around:
            inside = store.rstrip("/") + "/"
            around[store] = next((found for found in paths if inside.startswith(found[0])), None)
        if (found := around[store]) is not None:
            setting = one.settings.get(("state", "store"), Setting((), ""))
            told = f"{show_path(store)}, inside {show_path(found[0].rstrip('/'))}, which agent {found[1]} keeps"
            field = setting.field or f"agents.{one.spec.name}.state.store"
            problems.add(setting.line or one.line, field, told, ELSEWHERE, file=setting.file or one.file)


def _tell(problems: Problems, one: Resolved, other: str, path: str) -> None:
    setting = one.settings.get(("state", "paths"), Setting((), ""))
    field = setting.field or f"agents.{one.spec.name}.state.paths"
    found = f"{show_path(path.rstrip('/'))}, which agent {other} keeps as well"
    problems.add(setting.line or one.line, field, found, EACH_ITS_OWN, file=setting.file or one.file)
