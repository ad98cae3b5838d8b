"""When an agent that does nothing goes to sleep, and when it wakes.

Idle is known, never guessed: the agent says so (X_IDLE), or every sign that can be seen is quiet and at least one can
be seen. Invariants: whoever has work, a task, a call or a connection is awake; nobody sleeps during its start, its
recovery or HIBERNATE_WAKE_S after it woke; nobody sleeps through its next schedule. Pure. Called by the keeper.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from holdfast import limits
from holdfast.sizes import counted

Action = Literal["freeze", "stop", "none"]


class Signs(Struct, frozen=True, kw_only=True):
    """What is seen of one agent. None: cannot be seen here, which is not the same as 0."""

    says_idle: bool | None = None  # X_IDLE; False: it says that it is busy
    tasks: int | None = None  # waiting or under way
    calls: int | None = None  # LLM calls under way
    connections: int | None = None  # established to its port, or waiting in its listen queue
    cpu_share: float | None = None  # of a core
    healthy: bool = True  # past its start gate, no incident, no planned act
    next_schedule_s: float | None = None  # until something planned needs it
    wanted: bool = False  # a person, an event or a task just asked for it


class Rest(Struct, frozen=True, kw_only=True):
    """What is remembered. `asleep_mono`: since when it sleeps; `how` it does."""

    idle_mono: float | None = None
    asleep_mono: float | None = None
    woken_mono: float = float("-inf")
    how: Action = "none"


class Sleep(Struct, frozen=True, tag=True):
    """Freeze and page out, or stop (a planned stop; a small proxy keeps its port)."""

    how: Action


class Wake(Struct, frozen=True, tag=True):
    why: str


IDLE_CPU_SHARE = 0.05  # an OpenClaw that waits takes 2 % on average and 4 % at times, one that works a multiple


NO_SIGN = (
    "it gives no sign of being idle: it does not say so (X_IDLE=1) and listens on no TCP port that can be seen; by "
    "itself it never sleeps, `holdfast sleep` puts it to sleep"
)


def idle(signs: Signs) -> bool:
    """Whether it does nothing now, as far as that is known for sure."""
    return not keeps_awake(signs)


def keeps_awake(signs: Signs) -> str:
    """What says that it is at work, or that nobody can tell, in one clause; "" when it is idle."""
    if signs.wanted:
        return "it is asked for"
    if not signs.healthy:
        return "it may not be put to sleep now"
    if signs.says_idle is False:
        return "it says that it works (X_IDLE=0 or X_BUSY_USEC)"
    if signs.tasks:
        return f"{counted(signs.tasks, 'task')} of its own not done yet"
    if signs.calls:
        return f"{counted(signs.calls, 'call')} to a model under way"
    if signs.connections:
        ways = "to it" if signs.says_idle else "to it or from it"
        return f"{counted(signs.connections, 'TCP connection')} {ways} open"
    if signs.says_idle:
        return ""
    if signs.tasks is None and signs.calls is None and signs.connections is None:
        return NO_SIGN
    if signs.cpu_share is None:
        return "the CPU it takes is not known yet"
    if signs.cpu_share >= IDLE_CPU_SHARE:
        return f"it takes {signs.cpu_share:.0%} of a core, {IDLE_CPU_SHARE:.0%} or more count as work"
    return ""


def wakes(signs: Signs, lead_s: float) -> str:
    """Why a sleeping agent has to wake; "". `lead_s`: how long its wake-up takes."""
    if signs.wanted:
        return "it is asked for"
    if signs.tasks:
        return "a task waits"
    if signs.calls:
        return "a call is under way"
    if signs.connections:
        return "somebody connects"
    if signs.next_schedule_s is not None and signs.next_schedule_s <= lead_s:
        return "its schedule is due"
    return ""


def soon(signs: Signs, lead_s: float) -> bool:
    """Whether something planned needs it before a sleep would be worth it."""
    return signs.next_schedule_s is not None and signs.next_schedule_s <= lead_s + limits.HIBERNATE_WAKE_S


def rested(rest: Rest, after_s: float, now: float) -> bool:
    """Whether it has been awake, or quiet, for so long that it may sleep, also for memory's sake."""
    awake_s = now - max(now if rest.idle_mono is None else rest.idle_mono, rest.woken_mono)
    return rest.asleep_mono is None and awake_s >= min(limits.HIBERNATE_WAKE_S, after_s)


def decide(
    rest: Rest, signs: Signs, action: Action, after_s: float, lead_s: float, scarce: bool, now: float
) -> tuple[Rest, tuple[Sleep | Wake, ...]]:
    """What follows. `scarce`: memory is short, so that whoever is idle sleeps at once. `lead_s` in seconds."""
    if rest.asleep_mono is not None:
        why = wakes(signs, lead_s) or ("it is no longer to sleep" if action == "none" else "")
        if why:
            return Rest(woken_mono=now), (Wake(why=why),)
        return rest, ()
    if not idle(signs):
        return (rest if rest.idle_mono is None else Rest(woken_mono=rest.woken_mono)), ()
    since = now if rest.idle_mono is None else rest.idle_mono
    rest = Rest(idle_mono=since, woken_mono=rest.woken_mono)
    patience_s = min(after_s, limits.HIBERNATE_WAKE_S) if scarce else after_s
    if action == "none" or soon(signs, lead_s) or now - since < patience_s or not rested(rest, after_s, now):
        return rest, ()
    return Rest(asleep_mono=now, woken_mono=rest.woken_mono, how=action), (Sleep(how=action),)
