"""What `why` and `next` say where memory, sleep or a queue is the reason; words.py has them for everything else. Pure.

Invariant: "" where there is nothing more to say than words.py does. Called by status.py.
"""

from __future__ import annotations

from holdfast.density.model import MB
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.shown import Shown
from holdfast.keeper.telling.words import span
from holdfast.sizes import size


def why(agent: Agent, shown: Shown) -> str:
    """One sentence on the present state, or ""."""
    if agent.ladder.phase is Phase.QUEUED and shown.queued is not None and not agent.waits_for:
        return shown.queued.why
    if shown.asleep == "frozen":
        since = "" if shown.asleep_s is None else f" for {span(shown.asleep_s)}"
        return f"asleep{since}" + (f": {agent.rest_view.why}" if agent.rest_view.why else "") + _saved(shown)
    if shown.asleep == "stopped" and agent.ladder.aside_text:
        return agent.ladder.aside_text + _saved(shown)
    return ""


def next_step(agent: Agent, shown: Shown) -> str:
    """What happens when, or ""."""
    phase, queued = agent.ladder.phase, shown.queued
    if phase is Phase.QUEUED and queued is not None and not agent.waits_for:
        if shown.need_bytes and shown.budget_bytes is not None and shown.need_bytes > shown.budget_bytes:
            return "is held back until the node has more memory; others are started meanwhile"
        soon_s = queued.estimate_s or 0.0
        when = f", starts in about {span(soon_s)}" if soon_s >= 1 else ""
        return f"number {queued.position} in the queue of starts{when}"
    if shown.asleep:
        woke = f"; its last wake-up took {span(shown.wake_s)}" if shown.wake_s is not None else ""
        return f"is woken by what needs it, or by `holdfast wake {agent.name}`{woke}"
    if phase is Phase.SHED and shown.need_bytes and shown.room_bytes is not None:
        if shown.room_bytes >= shown.need_bytes:
            return f"comes back by itself if the {size(shown.room_bytes)} that are free stay so for a moment"
        return f"comes back by itself when {size(shown.need_bytes)} are free ({size(max(0, shown.room_bytes))} now)"
    if phase is Phase.SPARE and shown.replica is not None and shown.replica.wanted is not None:
        return f"starts when {shown.replica.group} needs more than {shown.replica.wanted}, and there is memory for it"
    return ""


def _saved(shown: Shown) -> str:
    return f"; {size(shown.saved_bytes)} given back" if shown.saved_bytes and shown.saved_bytes >= MB else ""
