"""Readings for the tables of density."""

from __future__ import annotations

from typing import Any

from holdfast.density.model import MB, Phase, Reading, Seen

NODE = 2048 * MB
RESERVE = 256 * MB


def seen(name: str, priority: int = 50, used_mb: float = 100, **more: Any) -> Seen:
    phase = more.pop("phase", Phase.RUNNING)
    return Seen(name=name, priority=priority, phase=phase, usage_bytes=int(used_mb * MB), **more)


def reading(*agents: Seen, node: int = NODE, reserve: int = RESERVE, others_mb: float = 0, **more: Any) -> Reading:
    used = sum(one.usage_bytes for one in agents)
    available = max(0, node - used - int(others_mb * MB))
    return Reading(node_bytes=node, reserve_bytes=reserve, available_bytes=available, agents=agents, **more)
