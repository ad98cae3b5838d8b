"""Settings of one agent that cannot both hold: a minimum or a start above its limit, an idle time without an action.

Invariant: a setting that was refused contradicts nothing. Pure. Called by `resolve.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.spec import units
from holdfast.spec.layers import Setting
from holdfast.spec.model import AskMemory
from holdfast.spec.readers import REFUSED
from holdfast.spec.recipe import Path

_NODE_RECIPES = ("node", "openclaw")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two settings of one agent that cannot both hold; `at` is the one to be named."""

    at: Setting
    key: Path
    found: str
    expected: str


def contradictions(settings: Mapping[Path, Setting], own: Mapping[Path, Setting]) -> Iterator[Contradiction]:
    """`own`: what stands in the agent itself, or in its template."""
    limit = settings[("limits", "memory")]
    for name in ("min", "start"):
        one = settings[("memory", name)]
        if not isinstance(one.value, int) or not isinstance(limit.value, int) or one.value <= limit.value:
            continue
        at, key = (one, ("memory", name)) if one.line else (limit, ("limits", "memory"))
        most = f"at most limits.memory ({units.format_size(limit.value)})"
        yield Contradiction(at, key, f"{name} {units.format_size(one.value)}", most)
    ask = settings[("memory", "ask")]
    runs_node = settings[("recipe",)].value in _NODE_RECIPES
    if runs_node and isinstance(ask.value, AskMemory) and ask.value.signal == "SIGUSR1":
        yield Contradiction(ask, ("memory", "ask"), "SIGUSR1", "another way: Node opens its debugger on this signal")
    after, done = own.get(("idle", "after")), ("idle", "action")
    if after is not None and after.value is not REFUSED and done not in own and settings[done].value == "none":
        yield Contradiction(after, done, "nothing", "what becomes of it then: freeze or stop")
