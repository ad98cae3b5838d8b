"""What a new fleet would change, key by key, in the words of holdfast.yaml: the plan of an `up`.

Invariant: no secret value is ever shown, only that it changed. Pure. Called by the keeper for a dry run, and by the
command line where no keeper runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from holdfast.keeper import fleet as fleets
from holdfast.keeper.telling.views import AgentChange, FleetChange, KeyChange
from holdfast.spec.build import settings_of
from holdfast.spec.masking import MASK
from holdfast.spec.model import AgentSpec, FleetSpec
from holdfast.spec.recipe import Path
from holdfast.spec.shown import shown

ANOTHER = "(another value)"  # where both look the same because they are masked


def plan(old: FleetSpec, new: FleetSpec, runs: Callable[[str], bool] = lambda name: True) -> FleetChange:
    """`new` is what would be wanted; `runs`: whether an agent is up or being healed, so that a restart means it."""
    change = fleets.compare(old, new)
    before = {agent.name: agent for agent in old.agents}
    changed = set(change.changed)
    details = [AgentChange(agent=name, change="added") for name in change.added]
    for agent in new.agents:
        if agent.name in changed:
            former = before[agent.name]
            restarts = fleets.needs_new_process(former, agent) and runs(agent.name)
            keys = differences(former, agent)
            details.append(AgentChange(agent=agent.name, change="changed", restarts=restarts, keys=keys))
    details += [AgentChange(agent=name, change="removed") for name in change.removed]
    return replace(change, dry_run=True, details=details, fleet=_fleet_keys(old, new))


def differences(old: AgentSpec, new: AgentSpec) -> list[KeyChange]:
    """Each key that differs; "" before or after where it did not stand or no longer does."""
    before, after = settings_of(old), settings_of(new)
    found: list[KeyChange] = []
    for path in dict.fromkeys([*after, *before]):
        if path in before and path in after and before[path] == after[path]:
            continue
        was = _text(old, path, before) if path in before else ""
        will_be = _text(new, path, after) if path in after else ""
        if was == will_be:
            will_be = f"{will_be} {ANOTHER}"
        found.append(KeyChange(key=".".join(path), before=was, after=will_be))
    return found


def _text(spec: AgentSpec, path: Path, settings: dict[Path, Any]) -> str:
    if path[0] == "env" and path[1] in spec.secret_env:
        return MASK
    return shown(path, settings[path])


def _fleet_keys(old: FleetSpec, new: FleetSpec) -> list[KeyChange]:
    """Alerts are counted, never shown: their addresses are secrets."""
    found: list[KeyChange] = []
    if old.alerts != new.alerts:
        was, will_be = f"{len(old.alerts)}", f"{len(new.alerts)}"
        if was == will_be:
            will_be = f"{will_be} {ANOTHER}"
        found.append(KeyChange(key="alerts", before=was, after=will_be))
    if old.last_resort != new.last_resort:
        was, will_be = (shown(("command",), fleet.last_resort) for fleet in (old, new))
        found.append(KeyChange(key="last_resort", before=was, after=will_be))
    for key, was_bytes, will_be_bytes in (
        ("node.memory", old.node.memory_bytes, new.node.memory_bytes),
        ("node.reserve", old.node.reserve_bytes, new.node.reserve_bytes),
    ):
        if was_bytes != will_be_bytes:
            was, will_be = (shown(("limits", "memory"), value) for value in (was_bytes, will_be_bytes))
            found.append(KeyChange(key=key, before=was, after=will_be))
    return found
