"""What the ladder can decide to do: one struct for each act. Data only; the rules that choose are in triage.py.

Every act names the instance it was decided about. init must ignore Start, RestartTree, Recreate and Restore when it
knows a later one (the world has moved on), and all but Start when that instance has finished its job. So all acts
may be sent twice. The shell stores the new state (and these) first, then acts.
Called by: triage and its rule modules, the keeper, and the simulator.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from holdfast.healing.model import Ladder, Tier


class Remember(Struct, frozen=True, tag=True):
    """Store the new state before the actions that follow. durable: fsynced. Absent: nothing worth storing changed."""

    level: Literal["plain", "durable"]


class Arm(Struct, frozen=True, tag=True):
    """Set the agent's only timer (replacing the older one) to state.due_mono; None: no timer."""

    due_mono: float | None


class AskSlot(Struct, frozen=True, tag=True):
    """The agent waits in QUEUED for a start slot. Level-triggered: every ladder in QUEUED waits for one."""


class Start(Struct, frozen=True, tag=True):
    """Spawn now, unless it runs. Tier NONE: a planned start."""

    instance: int
    tier: Tier


class RestartTree(Struct, frozen=True, tag=True):
    """Stop the whole tree, sweep, spawn. hung: take evidence first, do not hope for TERM."""

    instance: int
    tier: Tier
    hung: bool
    grace_s: float


class Recreate(Struct, frozen=True, tag=True):
    """Stop the tree if there is one, give the agent a new pod (cgroup, TMPDIR, sockets; state intact), start it."""

    instance: int
    grace_s: float


class Restore(Struct, frozen=True, tag=True):
    """Stop the tree, put back the known-good state, start it. Only with Policy.restore_available."""

    instance: int
    grace_s: float


class StopTree(Struct, frozen=True, tag=True):
    """Stop whatever instance there is and stay down. Repeated until Down: feed that too where init knows no agent."""

    instance: int
    grace_s: float


class OpenIncident(Struct, frozen=True, tag=True):
    incident: int
    cause: str


class CloseIncident(Struct, frozen=True, tag=True):
    """recovered: validated. escalated: a person took over after the alert, and it failed again (a new incident)."""

    incident: int
    outcome: Literal["recovered", "escalated"]


class Alert(Struct, frozen=True, tag=True):
    """Tell a person, once per incident (the number is the idempotency key)."""

    incident: int
    cause: str


Action = (
    Remember
    | Arm
    | AskSlot
    | Start
    | RestartTree
    | Recreate
    | Restore
    | StopTree
    | OpenIncident
    | CloseIncident
    | Alert
)
Outcome = tuple[Ladder, tuple[Action, ...]]
