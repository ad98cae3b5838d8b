"""What init says, as the ladder understands it. Pure: one event in, an observation and a view of the world out.

Invariant: every durable event of init/protocol.py has a meaning here or is said to have none; nothing is guessed,
an unknown exit stays unknown. Called by the keeper for every event.
"""

from __future__ import annotations

import signal
from typing import Any, Literal

from holdfast.healing.model import Asked, Down, Exited, Observation, Spawned, SpawnFailed, Swept
from holdfast.keeper.agent import World

Event = dict[str, Any]


def observation(event: Event) -> Observation | None:
    """None: nothing for the ladder."""
    epoch = int(event.get("epoch", 0))
    match event.get("ev"):
        case "spawned":
            return Spawned(instance=epoch, cause=_cause(str(event.get("cause", ""))))
        case "exited":
            status = event.get("status") or {}
            return Exited(
                instance=epoch,
                code=status.get("code"),
                signal=status.get("signal"),
                expected=bool(event.get("expected")),
                lived_s=float(event.get("lived_s") or 0.0),
            )
        case "swept":
            return Swept(instance=epoch, left=int(event.get("left", 0)))
        case "down":
            reason = event.get("reason")
            if reason == "asking":
                return Asked(instance=epoch, why=str(event.get("why", "")))
            return Down(instance=epoch, reason="finished" if reason == "finished" else "stopped")
        case "spawn_failed":
            reason, cause = str(event.get("reason", "unknown")), _cause(str(event.get("cause", "start")))
            return SpawnFailed(reason=reason, instance=epoch, cause=cause)
    return None


def _cause(word: str) -> Literal["start", "permit", "restart", "adopted"]:
    """init repeats the words of a restart as they were given."""
    match word:
        case "start" | "permit" | "adopted":
            return word
    return "restart"


def apply(world: World, event: Event) -> None:
    """Bring the view of the world up to the event."""
    epoch = int(event.get("epoch", 0))
    if epoch < world.epoch:
        return
    world.epoch = epoch
    match event.get("ev"):
        case "spawned":
            world.state, world.pid = "up", int(event.get("pid", 0))
            world.starttime = int(event.get("starttime", 0))
            world.spawned_mono, world.spawned_at = float(event.get("mono", 0.0)), float(event.get("at", 0.0))
        case "exited":
            world.state, world.pid = "sweeping", 0
        case "spawn_failed":
            world.state, world.pid = "down", 0
        case "waiting":
            world.state, world.pid = "waiting", 0
            world.due_mono = float(event.get("mono", 0.0)) + float(event.get("delay_s", 0.0))
        case "down":
            reason = event.get("reason")
            world.state = reason if reason in ("asking", "finished") else "down"
            world.pid = 0


def world_of(told: dict[str, Any]) -> World:
    """An agent in the answer to hello."""
    return World(
        state=str(told.get("state", "unknown")),
        epoch=int(told.get("epoch", 0)),
        pid=int(told.get("pid") or 0),
        starttime=int(told.get("starttime") or 0),
        spawned_mono=float(told.get("spawned_mono") or 0.0),
        spawned_at=float(told.get("spawned_at") or 0.0),
        due_mono=float(told.get("due_mono") or 0.0),
    )


def signal_words(number: int) -> str:
    """SIGKILL, SIGTERM, ..., or the number of one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
