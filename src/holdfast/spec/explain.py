"""What is in force for the node and for every agent, where it comes from, and why: `holdfast check --explain`.

Invariant: every key has exactly one row, and secrets are masked. Called by the command line through holdfast.recipes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.spec import units
from holdfast.spec.fields import FIELDS
from holdfast.spec.load import Loaded
from holdfast.spec.masking import MASK
from holdfast.spec.model import AgentSpec
from holdfast.spec.recipe import Path
from holdfast.spec.resolve import Resolved
from holdfast.spec.shown import shown

# Where nothing is declared: what holds then, and why.
_NODE_DEFAULTS = {
    "memory": ("all", "the limit of the memory cgroup that Holdfast was started in, else all of the machine's memory"),
    "reserve": (
        "8%, 256Mi or more",
        "what grows fast has room until somebody gave way; at most a quarter",
    ),
}
_ORDER = {path: number for number, path in enumerate(FIELDS)}


@dataclass(frozen=True, slots=True)
class Effective:
    """One key of one agent; of the node when `agent` is "".

    `source`: FILE:LINE (and which template), `recipe NAME`, or `default` (built in).
    """

    agent: str
    field: str
    value: str
    source: str
    why: str


def effective(loaded: Loaded) -> list[Effective]:
    """The node, then every key of every agent: agents in the order of the file, keys in the order of the reference."""
    return [*_node(loaded), *(row for one in loaded.agents for row in _rows(one))]


def _node(loaded: Loaded) -> list[Effective]:
    declared = {"memory": loaded.fleet.node.memory_bytes, "reserve": loaded.fleet.node.reserve_bytes}
    rows: list[Effective] = []
    for key, (value, why) in _NODE_DEFAULTS.items():
        size_bytes = declared[key]
        if size_bytes is None:
            rows.append(Effective("", f"node.{key}", value, "default", why))
        else:
            source = loaded.node_origins.get(key, loaded.file)
            rows.append(Effective("", f"node.{key}", units.format_size(size_bytes), source, ""))
    return rows


def _rows(one: Resolved) -> list[Effective]:
    hidden: tuple[Path, ...] = (("env_file",), ("template",))
    if one.spec.scaling is None:
        hidden += (("replicas",),)
    if one.spec.health.http is None:
        hidden += (("health", "start_gate"),)
    paths = [path for path in one.settings if path not in hidden]
    rows: list[Effective] = []
    for path in sorted(paths, key=lambda path: (_ORDER.get(path, _ORDER.get(path[:1], len(_ORDER))), path)):
        setting = one.settings[path]
        rows.append(
            Effective(one.spec.name, ".".join(path), _shown(one.spec, path, setting.value), setting.origin, setting.why)
        )
    return rows


def _shown(spec: AgentSpec, path: Path, value: Any) -> str:
    if path[0] == "env" and path[1] in spec.secret_env:
        return MASK
    if path == ("command",):
        value = spec.command
    elif path == ("working_dir",):
        value = spec.working_dir
    elif path == ("health", "command"):
        value = spec.health.command
    elif path == ("depends_on",):
        value = spec.depends_on
    return shown(path, value)
