"""Builds what `ps` and `describe` show from what the keeper knows. Pure but for reading the agent's place.

Invariant: every row can be built at any moment, also while init is away. Called by the keeper for the API.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.healing.model import Ladder, Phase, Tier
from holdfast.health.gate import has_gate
from holdfast.health.model import HealthValue
from holdfast.keeper.acting.permits import message
from holdfast.keeper.agent import Agent
from holdfast.keeper.density import sentences
from holdfast.keeper.density.shown import NOTHING, Shown
from holdfast.keeper.fleet import masked_agent
from holdfast.keeper.telling import words
from holdfast.keeper.telling.views import AgentRow, BeatView, Description, Levels, SeenView, UsageView
from holdfast.keeper.watching import behaviour
from holdfast.logs.ship_lag import Lag


def row(agent: Agent, now: float, usage: UsageView | None, heard: bool, memory: Shown = NOTHING) -> AgentRow:
    """The agent's line in `ps`. `heard`: an alert has somewhere to go; `memory`: as the leases see it."""
    return AgentRow(**_fields(agent, now, usage, heard, memory))


def description(
    agent: Agent,
    now: float,
    usage: UsageView | None,
    heard: bool,
    pod: dict[str, Any] | None,
    shipping: list[Lag] | None = None,
    memory: Shown = NOTHING,
) -> Description:
    """Everything known, secrets masked."""
    return Description(
        **_fields(agent, now, usage, heard, memory),
        spec=msgspec.to_builtins(masked_agent(agent.spec)),
        ladder=msgspec.to_builtins(agent.ladder),
        deaths=list(agent.memory.deaths),
        permit=None if agent.permit_held is None else message(agent.permit_held),
        pod=pod,
        shipping=shipping or [],
        seen=seen_of(agent),
    )


def seen_of(agent: Agent) -> SeenView:
    """What it was seen to take."""
    known = agent.memory.history
    return SeenView(
        readings=known.readings,
        worked=known.worked,
        work_bytes=known.mark_bytes,
        cpu=round(known.cpu, 3),
        disk_bytes=known.disk_bytes,
        start_peak_bytes=agent.memory.start_peak_bytes,
    )


def _fields(agent: Agent, now: float, usage: UsageView | None, heard: bool, memory: Shown) -> dict[str, Any]:
    ladder, world = agent.ladder, agent.world
    running = ladder.running and world.pid > 0
    seen = scene(agent, now, heard)
    return {
        "name": agent.name,
        "phase": ladder.phase,
        "pid": world.pid if running else None,
        "instance": ladder.instance,
        "health": levels(agent),
        "tier": int(max(ladder.tier, ladder.pending)),
        "restarts": ladder.restarts_total,
        "uptime_s": round(max(0.0, now - world.spawned_mono), 3) if running and world.spawned_mono else None,
        "rss_bytes": usage.memory_bytes if running and usage is not None else None,
        "usage": usage if running else None,
        "why": sentences.why(agent, memory) or words.why(seen),
        "next": sentences.next_step(agent, memory) or words.next_step(seen),
        "labels": agent.spec.labels,
        "priority": agent.spec.priority,
        "beat": beat(agent, now),
        "good_s": good_s(ladder, now),
        **memory.row(),
        "user": agent.place.user if agent.place is not None else agent.spec.user,
    }


def good_s(ladder: Ladder, now: float) -> float | None:
    """Since when a recovering agent is good, in seconds; None in every other phase, or when it is not."""
    since = ladder.good_since_mono
    if ladder.phase is not Phase.RECOVERING or not ladder.running or not ladder.gate_passed or since is None:
        return None
    return round(max(0.0, now - since), 3)


def scene(agent: Agent, now: float, heard: bool) -> words.Scene:
    """What the sentences are made from."""
    deaths = agent.memory.deaths
    return words.Scene(
        name=agent.name,
        ladder=agent.ladder,
        policy=agent.policy,
        now=now,
        exit=deaths[-1].exit if deaths else "",
        detail=agent.detail,
        asked=has_gate(agent.spec.health),
        doubtful=agent.endpoint not in (HealthValue.OK, HealthValue.OFF),
        leaving=agent.leaving,
        waits_for=agent.waits_for,
        taken=agent.taken,
        unsure=behaviour.unsure(agent),
        heard=heard,
    )


def beat(agent: Agent, now: float) -> BeatView | None:
    """What the running instance said of itself; None when it said nothing."""
    known = agent.beats
    if known is None or not agent.ladder.running or (known.last_mono is None and not known.ready):
        return None
    busy_s = (known.busy_until_mono or now) - now
    return BeatView(
        cycle=known.cycle,
        busy_s=round(busy_s, 3) if busy_s > 0 else None,
        idle=known.idle,
        tokens=known.tokens,
        quality=known.quality,
        status=known.status,
        last_s=None if known.last_mono is None else round(max(0.0, now - known.last_mono), 3),
        bad=known.bad,
    )


def levels(agent: Agent) -> Levels:
    """Health at the three levels."""
    ladder = agent.ladder
    if ladder.running:
        process = HealthValue.OK
    elif ladder.aside or ladder.phase in (Phase.STOPPED, Phase.FINISHED, Phase.QUEUED):
        process = HealthValue.OFF
    elif ladder.phase is Phase.STARTING and ladder.tier is Tier.NONE:
        process = HealthValue.UNKNOWN
    else:
        process = HealthValue.FAILING
    endpoint = HealthValue.OFF
    if agent.spec.health.http is not None:
        endpoint = agent.endpoint if ladder.running else HealthValue.UNKNOWN
    return Levels(
        process=process, endpoint=endpoint, behaviour=behaviour.level(agent) if ladder.running else HealthValue.OFF
    )
