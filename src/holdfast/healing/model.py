"""The ladder's words: state of one agent and what can be observed. Data only; acts in actions.py, rules in triage.py.

All times named `*_mono` and every `now` are seconds of one monotonic clock. Everything here is frozen and survives
a round trip through JSON (msgspec), because the state is what the keeper stores before it acts.
Called by: triage and its rule modules, the keeper, and the simulator.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Literal

from msgspec import Struct

from holdfast.health.model import Verdict
from holdfast.limits import (
    CONFIRM_S,
    HUNG_GRACE_S,
    PROBE_STRIKES,
    QUIET_TRY_FIRST_S,
    QUIET_TRY_MAX_S,
    RESTART_BACKOFF_S,
    RESTART_JITTER,
    RESTART_WINDOW_S,
    START_PERIOD_S,
    STOP_GRACE_S,
)


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
    SHED = "shed"  # set aside: it went for another's memory, and comes back when there is room
    HIBERNATING = "hibernating"  # set aside: it was idle, and is woken by whatever needs it
    SPARE = "spare"  # set aside: a replica that is not needed now


Aside = Literal["", "shed", "hibernating", "spare"]
ASIDE_PHASES = frozenset({Phase.SHED, Phase.HIBERNATING, Phase.SPARE})


class Tier(IntEnum):
    NONE = 0
    RESTART = 1
    RECREATE = 2
    RESTORE = 3  # only where there is a snapshot to go back to (Policy.restore_available)
    ALERT = 4


class Policy(Struct, frozen=True, kw_only=True):
    """The numbers of the ladder for one agent; the reasons stand in limits/healing.py."""

    backoff_s: tuple[float, ...] = RESTART_BACKOFF_S
    window_s: float = RESTART_WINDOW_S
    spacing_s: float = 0.0
    retry_s: float = QUIET_TRY_FIRST_S
    retry_max_s: float = QUIET_TRY_MAX_S
    confirm_s: float = CONFIRM_S  # good checks for this long after the gate: recovered
    start_deadline_s: float = START_PERIOD_S
    stop_grace_s: float = STOP_GRACE_S
    hung_grace_s: float = HUNG_GRACE_S
    strikes: int = PROBE_STRIKES
    once: bool = False
    has_gate: bool = False  # False: a spawned process counts as started at once
    restore_available: bool = False
    hands_off: bool = False  # maintenance: failures are seen and held, nothing is done and nobody is told
    jitter: float = RESTART_JITTER  # fraction added to delays, drawn by the shell as `roll` in [0, 1)


class Ladder(Struct, frozen=True, kw_only=True):
    """Durable state of one agent. Everything triage needs to go on after a crash of the keeper."""

    wanted: bool = True  # desired: up
    phase: Phase = Phase.QUEUED
    tier: Tier = Tier.NONE  # highest tier used in the open incident
    instance: int = 0  # epoch of the last known instance
    running: bool = False  # a process of that instance lives
    gate_passed: bool = False
    strikes: int = 0  # bad checks in a row; before the gate: answers by somebody else in a row
    restarts_mono: tuple[float, ...] = ()  # tier-1 restarts that still count
    recreated_mono: float | None = None
    restored_mono: float | None = None
    quiet_tries: int = 0  # tries made at tier 4 since the alert
    next_try_mono: float | None = None  # tier 4: earliest time of the next quiet try
    alerted: bool = False  # one alert per incident
    started_mono: float | None = None  # when the running instance was spawned
    good_since_mono: float | None = None  # first good check of the present good run
    last_start_mono: float | None = None
    deadline_mono: float | None = None  # the gate must pass by then; None: no gate awaited, or frozen
    deadline_left_s: float | None = None  # what was left of it when the host became starved
    due_mono: float | None = None  # when the next planned act is due (restart, try, confirmation, deadline)
    by_init: bool = False  # BACKOFF: init was left a permit for this restart; due_mono is only the backstop
    planned_stop: bool = False  # a stop we asked for is under way: its exit is no death
    pending: Tier = Tier.NONE  # the tier whose act is under way or due
    incident: int = 0  # number of the open incident; 0: none
    incidents_seen: int = 0  # counter from which the next incident number is drawn
    restarts_total: int = 0  # unplanned starts over the agent's life
    starved: bool = False
    misbehaves: bool = False  # a source of behaviour says that the running instance fails
    blamed: tuple[str, ...] = ()  # which sources say so
    degraded: str = ""
    cause: str = ""  # of the open incident, one clause
    damaged: str = ""  # what is broken in its state, found in the open incident and not restored yet, one clause
    aside: Aside = ""  # wanted, but to be down for now: the phase it has, or will have once its stop is over
    aside_mono: float | None = None  # since when; with `aside` empty: called back before its stop was over
    aside_text: str = ""  # why, one clause
    aside_grace_s: float | None = None  # of the stop that sets it aside; None: the policy's
    memory_deaths_mono: tuple[float, ...] = ()  # deaths by its own use of memory that still count


class PermitTerms(Struct, frozen=True, kw_only=True):
    """What init may restart without asking; the keeper adds ask codes and guarded files.

    `delays_s[0]` is for the next restart and is consumed by it. Made for the world the keeper knows: init must ignore
    it when it has a later instance, or when `while_running` and that instance has ended. Else a restart unseen by the
    keeper would be given back to the budget. To be sent before the acts of the same decision.
    """

    delays_s: tuple[float, ...] = ()
    not_before_mono: float = 0.0
    instance: int = 0
    while_running: bool = False


# --- observations: one fact each; triage accepts any of them in any phase -------------------------------------


class Spawned(Struct, frozen=True, tag=True):
    """init started an instance. `cause` permit: by itself, without asking."""

    instance: int
    cause: Literal["start", "permit", "restart", "adopted"] = "start"


class Exited(Struct, frozen=True, tag=True):
    """The main process ended. Neither code nor signal: how is unknown. `expected`: init was stopping it."""

    instance: int
    code: int | None = None
    signal: int | None = None
    expected: bool = False
    lived_s: float = 0.0
    memory: bool = False  # the kernel killed it for the memory that it used itself


class SpawnFailed(Struct, frozen=True, tag=True):
    """No process came to be; init waits to be told. `instance`: the number spent on it, 0 when none was."""

    reason: str
    instance: int = 0
    cause: Literal["start", "permit", "restart", "adopted"] = "start"


class GatePassed(Struct, frozen=True, tag=True):
    """The start gate answered well for the first time."""

    instance: int


class StartProgressed(Struct, frozen=True, tag=True):
    """The agent is still busy starting (it burns its CPU under load): do not give up before `until_mono`."""

    instance: int
    until_mono: float


class Checked(Struct, frozen=True, tag=True):
    """One probe's verdict."""

    instance: int
    verdict: Verdict


class Behaved(Struct, frozen=True, tag=True):
    """What all sources of behaviour together say of the running instance. `cause`: one clause, "" when it is well.

    Needs no strikes: each source has its own patience. `sources`: those that say it fails. A source that does not
    know says nothing: what it said before stands. Level-triggered: told until the ladder holds the same.
    """

    instance: int
    failing: bool
    cause: str = ""
    sources: tuple[str, ...] = ()


class StateDamaged(Struct, frozen=True, tag=True):
    """What the agent keeps on disk was looked at after it failed, and is damaged. `cause`: what and where, one clause.

    Said of the last known instance while it is down or has not passed its gate; a restart would only fail again.
    """

    instance: int
    cause: str = ""


class Degraded(Struct, frozen=True, tag=True):
    """The agent says it works less well; empty text: no longer. Never restarts anything."""

    text: str


class Starved(Struct, frozen=True, tag=True):
    """The host (or our own lag) leaves the agent no CPU: silence means nothing now."""

    on: bool


class Commanded(Struct, frozen=True, tag=True):
    """A person said so."""

    what: Literal["start", "stop", "restart"]


class SetAside(Struct, frozen=True, tag=True):
    """It shall be down for now, though it is wanted: no failure, no budget, nobody is told.

    `grace_s` of its stop; None: as for any planned stop. For one that is aside already, `shed` changes nothing but the
    time it is given to go; the others change why it is aside. Level-triggered: may be said again.
    """

    why: Literal["shed", "hibernating", "spare"]
    text: str = ""
    grace_s: float | None = None


class CalledBack(Struct, frozen=True, tag=True):
    """It shall run again: from aside into the queue of starts. Nothing for one that is not aside."""

    text: str = ""


class Swept(Struct, frozen=True, tag=True):
    """The rest of the tree is gone; `left` processes had to be killed."""

    instance: int
    left: int = 0


class Down(Struct, frozen=True, tag=True):
    """init will not spawn the agent by itself any more. (Reason `asking` is the observation Asked.)"""

    reason: Literal["stopped", "finished"]
    instance: int = 0


class Asked(Struct, frozen=True, tag=True):
    """The agent is down and init has no valid permit: budget used, guarded file changed, or an ask code."""

    instance: int = 0
    why: str = ""


class Timer(Struct, frozen=True, tag=True):
    """due_mono was reached. Early or superfluous ones do no harm."""


class Adopted(Struct, frozen=True, tag=True):
    """The keeper came back and found the world so (init's answer to hello).

    To be fed when the events up to that answer's `seq` were fed (they tell how an instance ended), before later ones
    and before any Timer: what is overdue may only be because nobody watched. Where init's state is `finished`, feed
    Down(finished) instead.
    """

    instance: int
    running: bool


class NodeBooted(Struct, frozen=True, tag=True):
    """The machine was rebooted: nothing runs, all monotonic times are void, nobody is to blame.

    To be fed before anything else of this boot; init's events from before the boot must not be fed any more.
    `instance` and `finished`: what init knows of the agent (its job was done, which may not have been heard here).
    """

    instance: int = 0
    finished: bool = False


class SlotGranted(Struct, frozen=True, tag=True):
    """The queued agent may start now (density/admission.py)."""


Observation = (
    Spawned
    | Exited
    | SpawnFailed
    | GatePassed
    | StartProgressed
    | Checked
    | Behaved
    | StateDamaged
    | Degraded
    | Starved
    | Commanded
    | SetAside
    | CalledBack
    | Swept
    | Down
    | Asked
    | Timer
    | Adopted
    | NodeBooted
    | SlotGranted
)
