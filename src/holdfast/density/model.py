"""The words of the RAM semaphore: what a shell reads, what is remembered, what a shell has to do. Data only.

All bytes are bytes that cannot be dropped (anonymous, shared, kernel), never page cache. All `*_mono` and every `now`
are seconds of one monotonic clock. Everything is frozen. Rules: semaphore.py and the modules it joins; shells: keeper.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

MB = 1024 * 1024


class Phase(StrEnum):
    """What the shell sees of an agent. Who runs not, and is neither shed nor on its way, is left out of the reading."""

    STARTING = "starting"  # spawned; its start lease is not yet given back
    RUNNING = "running"
    LEAVING = "leaving"  # a stop or kill is under way, whoever wanted it; its memory is on its way
    SHED = "shed"  # down because it was shed; usage 0
    HIBERNATING = "hibernating"  # frozen because it was idle; its usage is what is not paged out


class Seen(Struct, frozen=True, kw_only=True):
    """One agent in a reading: what is declared and what is so now.

    `ceiling_bytes`: the ceiling that really holds (memory.high, limit_in_bytes); None: none below its declared limit.
    `hits`: how often it reached that ceiling, cumulative; page cache at the ceiling is no hit, and an agent that the
    kernel holds there (v1) counts in every reading. `frozen`: by us, or found so after a keeper's death; not by a
    snapshot. `floor_bytes`: its declared minimum, which is protected. `holdable`: the kernel can hold it at a ceiling.
    """

    name: str
    priority: int
    phase: Phase
    usage_bytes: int
    instance: int = 0  # another one: what was remembered of the former, and written into its groups, holds no more
    limit_bytes: int | None = None
    floor_bytes: int = 0
    start_bytes: int = 0  # its start lease, while STARTING, or what its start needs, while SHED; admission.start_need
    ceiling_bytes: int | None = None
    hits: int = 0
    holdable: bool = True  # counts only where Reading.ceilings
    frozen: bool = False
    idle: bool = False
    can_ask: bool = False  # its recipe knows a way to ask it for memory
    can_page: bool = False  # there is swap or zram for it, and it lets itself be paged out
    may_hibernate: bool = False  # `idle: {action: freeze|stop}`
    may_shed: bool = True  # False: Holdfast's own services
    grace_s: float = 5.0  # its stop.grace
    shed_mono: float | None = None  # SHED: since when; the shell's durable word, also after a keeper's death


class Want(Struct, frozen=True, kw_only=True):
    """The first in the admission queue, when only memory keeps it out: a need like any other."""

    name: str
    priority: int
    need_bytes: int
    since_mono: float


class Reading(Struct, frozen=True, kw_only=True):
    """What a shell read at one moment. `available_bytes`: what the node could still give, page cache included.

    `ceilings`: a kernel holds the leases, of all who are `holdable`. `protect_from`: priority from which agents are
    protected; None: the highest one present. `lowest`: the least priority of all who are wanted, also of those who have
    no memory now and wait for their start; None: of those in the reading. `swap_free_bytes`: 0 where there is none.
    """

    node_bytes: int
    reserve_bytes: int
    available_bytes: int
    agents: tuple[Seen, ...]
    ceilings: bool = True
    protect_from: int | None = None
    lowest: int | None = None
    swap_free_bytes: int = 0
    want: Want | None = None


class Lease(Struct, frozen=True, kw_only=True):
    """What one agent may use now. `ceiling_bytes` None: protected, or frozen; the slack is reserved all the same. More
    than the lease: it takes little, and is let breathe out of the reserve."""

    usage_bytes: int
    slack_bytes: int
    wanted_bytes: int  # slack it would have, were there room
    ceiling_bytes: int | None

    @property
    def lease_bytes(self) -> int:
        return self.usage_bytes + self.slack_bytes

    @property
    def short_bytes(self) -> int:
        return max(0, self.wanted_bytes - self.slack_bytes)


class Step(StrEnum):
    """How far an agent is on its way out. PAUSED is the only one it can come back from."""

    NONE = "none"
    PAUSED = "paused"
    STOPPING = "stopping"
    KILLING = "killing"


class Held(Struct, frozen=True, kw_only=True):
    """What is remembered of one agent."""

    instance: int = 0
    usage_bytes: int = 0
    read_mono: float = 0.0
    rate_bytes_s: float = 0.0  # smoothed, positive when it grows
    slack_bytes: int = 0  # wanted
    hits: int = 0
    growth_bytes: int = 0  # since the reading before
    pressing: bool = False  # it grows, or stands at its ceiling
    starved_mono: float | None = None  # since when its need is not covered
    stuck_mono: float = 0.0  # starved: since when it got not even the least slack
    stuck_bytes: int = 0  # and what it held then
    step: Step = Step.NONE
    step_mono: float = 0.0
    deadline_mono: float | None = None  # when the step ends
    victim_of: str = ""  # whose need
    braked: bool = False  # PAUSED because it outran its lease where no kernel holds it
    rested_mono: float = float("-inf")  # not to be paused again before
    leaving_mono: float | None = None  # since when it is on its way out
    soft_mono: float = float("-inf")  # last asked or paged out
    sheds_mono: tuple[float, ...] = ()  # when it was shed, as far as that counts
    told_starved: bool = False
    protected_bytes: int = 0  # the last Protect
    protected_known: bool = False  # there was one; before, its groups may hold what a former keeper wrote


class State(Struct, frozen=True, kw_only=True):
    """All that is remembered. Losing it costs nothing but the back-off of who was shed: everything is read again."""

    held: dict[str, Held] = {}
    leases: dict[str, Lease] = {}
    budget_bytes: int = 0
    free_bytes: int = 0  # of the budget, after usage, slack and starts; negative: the reserve is being eaten
    room_mono: dict[str, float] = {}  # shed agents: since when there is room for them
    want_mono: float | None = None  # since when the start in Reading.want is kept out
    over_mono: float | None = None  # since when the reserve is being eaten
    read_mono: float = float("-inf")
    due_mono: float = 0.0  # when to read next, unless the kernel tells something before


# --- actions: to be carried out in this order; each may come again when the next reading does not show it done --------


class SetCeiling(Struct, frozen=True, tag=True):
    """v2 memory.high, v1 limit_in_bytes with oom_kill_disable and eventfd. None: back to the declared limit."""

    agent: str
    bytes: int | None


class Protect(Struct, frozen=True, tag=True):
    """v2 memory.low = bytes (usage + slack), memory.min = floor. Elsewhere nothing."""

    agent: str
    bytes: int
    floor_bytes: int


class Ask(Struct, frozen=True, tag=True):
    """Ask it, in its recipe's way, to give memory back. Never waited for."""

    agent: str
    bytes: int


class PageOut(Struct, frozen=True, tag=True):
    """Page out an idle agent. It goes on running."""

    agent: str


class Hibernate(Struct, frozen=True, tag=True):
    """Put an idle agent to sleep in the way it declared."""

    agent: str


class Freeze(Struct, frozen=True, tag=True):
    """Stop it from running until Thaw, Stop or Kill; `until_mono` goes to init, which frees it a bit later itself."""

    agent: str
    until_mono: float


class Thaw(Struct, frozen=True, tag=True):
    agent: str


class TakeEvidence(Struct, frozen=True, tag=True):
    """Look into it from outside; whatever is there after `within_s` is all there is."""

    agent: str
    within_s: float


class Stop(Struct, frozen=True, tag=True):
    """TERM to the tree (thaw it first). The kill after the grace is ours, not the shell's."""

    agent: str
    grace_s: float


class Kill(Struct, frozen=True, tag=True):
    """The whole tree at once, frozen or not."""

    agent: str


class Shed(Struct, frozen=True, tag=True):
    """For the ledger, before the act: `victim` goes because `needer` needs memory. Planned: no budget, no strike."""

    victim: str
    needer: str
    victim_priority: int
    needer_priority: int
    usage_bytes: int
    lease_bytes: int
    rate_bytes_s: int
    short_bytes: int
    reason: str


class Spared(Struct, frozen=True, tag=True):
    """For the ledger: it was paused to be shed, and room came."""

    agent: str


class ComeBack(Struct, frozen=True, tag=True):
    """There is room for a shed agent again: put it into the admission queue."""

    agent: str


class Starved(Struct, frozen=True, tag=True):
    """Tell its ladder (healing.model.Starved): paused or throttled, its silence says nothing."""

    agent: str
    on: bool


Action = (
    SetCeiling
    | Protect
    | Ask
    | PageOut
    | Hibernate
    | Freeze
    | Thaw
    | TakeEvidence
    | Stop
    | Kill
    | Shed
    | Spared
    | ComeBack
    | Starved
)
Outcome = tuple[State, tuple[Action, ...]]
