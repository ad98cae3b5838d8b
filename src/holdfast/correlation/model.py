"""Words of correlation: signs seen on the node, what was heard of agents, cases, and what follows. Data only.

All times are seconds of one monotonic clock. Used by rule.py and by keeper.node_watch.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Cause(StrEnum):
    STARVED = "starved"  # the machine leaves agents no CPU, memory or disk to answer with
    DISK = "disk"  # a filesystem is full
    NETWORK = "network"  # the loopback interface is down
    AWAY = "away"  # the clock jumped, or the machine slept: deadlines passed that nobody could keep
    TOGETHER = "together"  # many failed alike within seconds, and none has a cause of its own


# These are worth an incident even when no agent suffers yet.
ALONE = frozenset({Cause.DISK, Cause.NETWORK})


class Sign(Struct, frozen=True, kw_only=True):
    """A cause that holds now. `key` names it for as long as it lasts, e.g. "disk:/data"; `agents` None: all."""

    key: str
    cause: Cause
    why: str  # one clause
    agents: frozenset[str] | None = None


class Case(Struct, kw_only=True):
    """A cause that holds or held until a moment ago. An incident exists from `opened_mono` on."""

    key: str
    cause: Cause
    why: str
    concerns: frozenset[str] | None = None  # None: every agent
    kind: str = ""  # TOGETHER: how they failed
    began_mono: float = 0.0
    opened_mono: float | None = None
    calm_mono: float | None = None  # the sign is gone since
    alerted: bool = False
    agents: dict[str, float] = {}  # who suffered, since when
    held: set[str] = set()  # of these, who is held back now
    canary: str = ""  # TOGETHER: who was let go to see whether a restart helps
    canary_mono: float = 0.0
    canary_good: bool = False  # it did well since


class Bad(Struct, kw_only=True):
    """What was last heard of an agent that does badly. It ends with the first good word."""

    kind: str  # the verdict, or "behaviour:" and its sources
    since_mono: float
    last_mono: float
    count: int = 1
    ripe: bool = False  # its own patience is over: left alone, its ladder acts
    acted: bool = False  # and it did, or may do so: it is not held back any more


# --- what follows ---------------------------------------------------------------------------------------------


class Hold(Struct, frozen=True, kw_only=True):
    """Silence and bad answers of this agent say nothing about it now. `why` in words."""

    agent: str
    why: str


class LetGo(Struct, frozen=True, kw_only=True):
    """Its ladder is its own again."""

    agent: str


class Open(Struct, frozen=True, kw_only=True):
    """An incident of the node begins."""

    key: str


class Joined(Struct, frozen=True, kw_only=True):
    """More agents suffer from it."""

    key: str
    agents: tuple[str, ...]


class Close(Struct, frozen=True, kw_only=True):
    key: str
    why: str


class Tell(Struct, frozen=True, kw_only=True):
    """Tell a person, once for the whole case."""

    key: str


Action = Hold | LetGo | Open | Joined | Close | Tell
