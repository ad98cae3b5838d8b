"""The shapes in which the keeper shows itself. Data only; the API's description is generated from these.

Invariant: fields are only ever added. Built by `status.py`, encoded by the API.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from holdfast.healing.model import Phase
from holdfast.health.model import HealthValue
from holdfast.logs.ship_lag import Lag


class Levels(Struct, frozen=True, kw_only=True):
    """Health of an agent at the three levels."""

    process: HealthValue
    endpoint: HealthValue
    behaviour: HealthValue


class BeatView(Struct, frozen=True, kw_only=True):
    """What an agent said of itself by sd_notify. `last_s`: seconds since its last beat; `busy_s`: it is busy so long.

    `tokens` is cumulative, `quality` between 0 and 1; `bad` counts values that could not be understood.
    """

    cycle: int | None
    busy_s: float | None
    idle: bool
    tokens: int | None
    quality: float | None
    status: str
    last_s: float | None
    bad: int = 0


class UsageView(Struct, frozen=True, kw_only=True):
    """What a running agent uses. None: nobody knows, which is never guessed.

    `cpu_share`: of its cpu limit, or of one core without one; `cpu`: the same in cores. `memory_slope_bytes_s` only
    when growth is confirmed; `limit_in_s`: until its memory limit at that growth. Network only where an agent has a
    network of its own, since the kernel does not count by process.
    """

    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory_share: float | None = None
    memory_slope_bytes_s: float | None = None
    limit_in_s: int | None = None
    cpu_share: float | None = None
    cpu: float | None = None
    disk_bytes: int | None = None
    net_rx_bytes_s: float | None = None
    net_tx_bytes_s: float | None = None
    descriptors: int | None = None
    processes: int | None = None


class DiskView(Struct, frozen=True, kw_only=True):
    """A filesystem that Holdfast or an agent lives on. `share`: of its room or, if larger, of its number of files."""

    path: str
    share: float
    free_bytes: int


class NodeView(Struct, frozen=True, kw_only=True):
    """The machine. `incident`: the open one of the node; `held_back`: agents that are not healed because of it.

    Memory (None: nobody read it yet): the node has `memory_bytes`, `reserve_bytes` of them are kept, agents may use
    `budget_bytes` now, which shrinks when other software takes more. Of the budget `agents_bytes` are in use,
    `leased_bytes` are given out (in use, and what each may grow) and `free_bytes` are left: negative when the reserve
    is being eaten. `neighbours`: who takes so much that agents feel it.
    """

    starved: bool = False
    why: str = ""
    net_rx_bytes_s: float | None = None
    net_tx_bytes_s: float | None = None
    disks: list[DiskView] = []
    incident: str | None = None
    held_back: int = 0
    memory_bytes: int | None = None
    reserve_bytes: int | None = None
    budget_bytes: int | None = None
    agents_bytes: int | None = None
    leased_bytes: int | None = None
    free_bytes: int | None = None
    swap_free_bytes: int | None = None
    available_bytes: int | None = None
    memory_why: str = ""  # which memory the node's is
    queued: int = 0  # agents that wait for their start
    neighbours: list[str] = []


class QueuedView(Struct, frozen=True, kw_only=True):
    """How an agent stands in the queue of starts. `position` from 1; `estimate_s` None: nobody can tell."""

    position: int
    why: str
    estimate_s: float | None = None


class ReplicaView(Struct, frozen=True, kw_only=True):
    """One of a number of replicas that follows a queue. `wanted`: how many of the group run now."""

    group: str
    number: int
    wanted: int | None = None


class AgentRow(Struct, kw_only=True):
    """One agent in `ps`. `why` is one sentence, `next` says what happens when.

    `usage_bytes`: memory that cannot be dropped, as the leases count it; `lease_bytes`: what is kept for it,
    in use and to grow by; `ceiling_bytes`: where the kernel holds it, more than its lease while memory is free, None
    where nothing but its declared limit holds it; `start_lease_bytes`: what its start takes, while it starts.
    `shed_order`: 1 goes first when a more important agent needs memory; None: it is down or `protected`, since less
    important ones are there to go. `asleep`: "frozen" or "stopped", because it was idle; `saved_bytes`: what that gave
    back; `wake_s`: how long its last wake took. `awake`: why a running agent with `idle: {action}` does not sleep now,
    as of the last look, else "". `unheld`: why no memory cgroup holds it though agents get one here; "".
    """

    name: str
    phase: Phase
    pid: int | None
    instance: int
    health: Levels
    tier: int
    restarts: int
    uptime_s: float | None
    rss_bytes: int | None
    why: str
    next: str
    labels: dict[str, str]
    priority: int
    user: str | None
    beat: BeatView | None = None
    usage: UsageView | None = None
    good_s: float | None = None  # while it recovers: good for so long without a break
    lease_bytes: int | None = None
    usage_bytes: int | None = None
    ceiling_bytes: int | None = None
    start_lease_bytes: int | None = None
    protected: bool = False
    shed_order: int | None = None
    asleep: Literal["", "frozen", "stopped"] = ""
    awake: str = ""
    saved_bytes: int | None = None
    wake_s: float | None = None
    queued: QueuedView | None = None
    replica: ReplicaView | None = None
    unheld: str = ""


class ProcessRow(Struct, kw_only=True):
    """One of Holdfast's own processes."""

    name: str
    pid: int | None
    restarts: int


class Own(Struct, kw_only=True):
    version: str
    processes: list[ProcessRow]


class Warning(Struct, frozen=True, kw_only=True):
    """Something a person should know, with what to do next."""

    code: str
    message: str
    next: str


class Status(Struct, kw_only=True):
    """The answer of `ps`."""

    holdfast: Own
    agents: list[AgentRow]
    warnings: list[Warning]
    node: NodeView | None = None


class Death(Struct, frozen=True, kw_only=True):
    """One of the last deaths of an agent. `exit` in words."""

    at: float
    instance: int
    exit: str
    cause: str
    lived_s: float | None


class SeenView(Struct, frozen=True, kw_only=True):
    """What an agent was seen to take over the last days. `work_bytes`: 95 of 100 `readings` were not above it.

    `worked`: they are readings of its work; else it was only seen waiting. `cpu`: cores on average.
    """

    readings: int = 0
    worked: bool = False
    work_bytes: int = 0
    cpu: float = 0.0
    disk_bytes: int = 0
    start_peak_bytes: int | None = None


class Description(AgentRow, kw_only=True):
    """One agent with everything known about it. Secrets in `spec` are masked."""

    spec: dict[str, Any]
    ladder: dict[str, Any]
    deaths: list[Death]
    permit: dict[str, Any] | None
    pod: dict[str, Any] | None
    shipping: list[Lag] = []  # log servers that are behind with its lines
    seen: SeenView = SeenView()


class KeyChange(Struct, frozen=True, kw_only=True):
    """One key of holdfast.yaml, as a person would write its values; secrets are masked. "": it does not stand there."""

    key: str
    before: str
    after: str


class AgentChange(Struct, frozen=True, kw_only=True):
    """What would happen to one agent. `restarts`: its process is replaced, with its own grace."""

    agent: str
    change: Literal["added", "changed", "removed"]
    restarts: bool = False
    keys: list[KeyChange] = []


class FleetChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a new fleet changed, by names of agents; of a dry run, what it would change, with every key."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    dry_run: bool = False
    details: list[AgentChange] = []
    fleet: list[KeyChange] = []  # keys of the file itself: alerts, last_resort


class AgentPhase(Struct, frozen=True, kw_only=True):
    """The answer to start, stop and restart."""

    agent: str
    phase: Phase


class Event(Struct, frozen=True, kw_only=True):
    """One ledger record as shown."""

    seq: int
    at: float
    kind: str
    agent: str
    text: str
    body: dict[str, Any]


class Check(Struct, frozen=True, kw_only=True):
    """One thing `doctor` looked at."""

    name: str
    ok: bool
    value: str
    why: str
    next: str
