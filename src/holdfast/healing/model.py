"""The ladder's words: state of one agent, what can be observed, what can be done. Data only; rules in triage.py.

All times named `*_mono` and every `now` are seconds of one monotonic clock.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from msgspec import Struct


class Phase(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    RECOVERING = "recovering"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    ESCALATED = "escalated"


class Tier(IntEnum):
    NONE = 0
    RESTART = 1
    RECREATE = 2
    RESTORE = 3  # has its place; absent until versioned state exists (Policy.restore_available)
    ALERT = 4


class Policy(Struct, frozen=True, kw_only=True):
    """The numbers of the ladder for one agent; the reasons stand in limits.py."""

    backoff_s: tuple[float, ...] = (0.0, 10.0, 60.0)
    window_s: float = 900.0
    spacing_s: float = 0.0
    retry_s: float = 300.0
    retry_max_s: float = 3600.0
    confirm_s: float = 60.0  # good checks for this long after the gate: recovered
    start_deadline_s: float = 30.0
    strikes: int = 3
    once: bool = False
    has_gate: bool = False  # False: a spawned process counts as started at once
    restore_available: bool = False
    jitter: float = 0.1  # fraction added to delays, drawn by the shell as `roll` in [0, 1)


class Ladder(Struct, frozen=True, kw_only=True):
    """Durable state of one agent. Everything triage needs to go on after a crash of the keeper."""

    wanted: bool = True  # desired: up
    phase: Phase = Phase.QUEUED
    tier: Tier = Tier.NONE
    instance: int = 0  # epoch of the last known instance
    running: bool = False  # a process of that instance lives
    gate_passed: bool = False
    strikes: int = 0
    restarts_mono: tuple[float, ...] = ()  # tier-1 restarts inside the window
    recreated_mono: float | None = None
    restored_mono: float | None = None
    quiet_tries: int = 0  # tries made at tier 4 since the alert
    alerted: bool = False  # one alert per incident
    started_mono: float | None = None  # when the running instance was spawned
    good_since_mono: float | None = None  # first good check of the present good run
    last_start_mono: float | None = None
    due_mono: float | None = None  # when the next planned act is due (restart, try, confirmation, deadline)
    planned_stop: bool = False  # a stop we asked for is under way: its exit is no death
    pending: Tier = Tier.NONE  # the tier whose act is under way or due
    incident: int = 0  # number of the open incident; 0: none
    incidents_seen: int = 0  # counter from which the next incident number is drawn
    restarts_total: int = 0
    starved: bool = False
    degraded: str = ""
    cause: str = ""  # of the open incident, one clause
