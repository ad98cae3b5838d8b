"""One agent in the keeper's memory: what is desired, what is remembered, what was last seen of it.

Invariant: `Memory` is all that must survive the keeper (it is in the ledger and the store); the rest of `Agent`
is found again by asking init and the agent. Owned by keeper.py; status.py and health.py read it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from holdfast.density.admission import Standing
from holdfast.density.history import History
from holdfast.healing.model import Ladder, Policy
from holdfast.health.beats import Beats
from holdfast.health.gate import Gate
from holdfast.health.model import HealthValue, Observed
from holdfast.incidents.changes import Proven
from holdfast.incidents.model import Incident
from holdfast.keeper.acting.permits import Permit
from holdfast.keeper.density.asleep import Asleep, RestView
from holdfast.keeper.state.restore_course import Restoration
from holdfast.keeper.telling.views import Death
from holdfast.spec.model import AgentSpec

LIVING = frozenset({"spawning", "up", "stopping"})


class Memory(Struct, kw_only=True):
    """The durable part. `pod`: number of the agent's place, grows with each recreation."""

    ladder: Ladder
    deaths: tuple[Death, ...] = ()
    pod: int = 1
    start_cpu_s: float | None = None  # CPU seconds the last start was seen to take
    start_peak_bytes: int | None = None  # memory that its starts were seen to take at their peak
    start_peaks: tuple[int, ...] = ()  # of the last few of them that were watched whole, oldest first
    start_s: float | None = None  # how long the last one took until it was ready and flat
    settled_at: float = 0.0  # the last planned slot that was done or passed over; 0: none was looked at yet
    beat_instance: int = 0  # the last one that was heard to beat
    proven: Proven | None = None  # what the last instance ran with that was good for a while
    defined: str = ""  # digest of the definition that init confirmed
    restoration: Restoration | None = None  # the restore of its state that is not over yet
    restored_from: str = ""  # told in its environment until the next planned restart
    history: History = History()  # what it was seen to use; not in the ledger, so a lost store begins it anew
    leaked_at: float = 0.0  # wall clock of its last restart because of a leak
    asleep: Asleep | None = None  # put to sleep because it had nothing to do
    unheld: str = ""  # why no memory cgroup of ours holds what runs of it


class World(Struct, kw_only=True):
    """The agent as init knows it. `state` is one of the words of init/agent.py, or "unknown"."""

    state: str = "unknown"
    epoch: int = 0
    pid: int = 0
    starttime: int = 0
    spawned_mono: float = 0.0
    spawned_at: float = 0.0
    due_mono: float = 0.0


class Agent:
    """Everything about one agent in one place; plain data, changed only by the keeper's loop."""

    __slots__ = (
        "beats",
        "caught_live", "checked_mono", "detail", "endpoint", "fault_mono", "gate", "good_mono", "incident", "last_exit",
        "leaving", "memory", "observed", "oom_kills", "owner", "permit_held", "place", "policy", "rest_view", "spec",
        "standing", "stops", "taken", "tidied", "usage_of", "waits_for", "world",
    )  # fmt: skip

    def __init__(self, spec: AgentSpec, policy: Policy, memory: Memory) -> None:
        self.spec = spec
        self.policy = policy
        self.memory = memory
        self.world = World()
        self.place: Any = None  # what places.py built for it
        self.incident: Incident | None = None  # the open one
        self.endpoint = HealthValue.UNKNOWN
        self.detail = ""  # the last probe's answer, one clause
        self.checked_mono: float | None = None
        self.good_mono: float | None = None  # last good observation
        self.fault_mono: float | None = None  # first bad one after it
        self.gate: Gate | None = None
        self.permit_held: Permit | None = None  # what init holds; None: it has to be told
        self.leaving = False  # taken out of the fleet; forgotten when down
        self.last_exit: tuple[int | None, int | None, bool] | None = None  # code, signal, killed for memory
        self.oom_kills = 0  # of its pod, when the instance began
        self.stops = 0  # numbers the stops that write files first; only the newest is said
        self.owner: tuple[int, int] | None = None  # instance and port whose listener was found to be its own
        self.taken = ""  # who was last found to hold its port instead of it, one clause
        self.tidied = 0  # number of the pod whose predecessors are being taken away
        self.usage_of = 0  # instance whose memory is being read
        self.waits_for = ""  # whom its start waits for, one clause
        self.standing: Standing | None = None  # how it stands in the queue of starts
        self.beats: Beats | None = None  # what the running instance said of itself
        self.observed: dict[str, Observed] = {}  # by source: what each says of the running instance
        self.rest_view = RestView()  # whether it sleeps, and what that saved
        self.caught_live = True  # the last fault was seen as it happened, not told later

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def ladder(self) -> Ladder:
        return self.memory.ladder

    @property
    def is_frozen(self) -> bool:
        """It sleeps, and its processes are there: it can neither answer nor say anything."""
        return self.rest_view.asleep == "frozen"


_DEFAULT_LADDER = msgspec.to_builtins(Ladder())


def pack_ladder(ladder: Ladder) -> dict[str, Any]:
    """A ladder as JSON holds it in the ledger: only what differs from a new one."""
    return {key: value for key, value in msgspec.to_builtins(ladder).items() if value != _DEFAULT_LADDER[key]}


def unpack_ladder(packed: dict[str, Any]) -> Ladder:
    """Inverse of `pack_ladder`. Raises msgspec.ValidationError."""
    return msgspec.convert(packed, Ladder)
