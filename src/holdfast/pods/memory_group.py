"""One agent's memory, behind one protocol for cgroup v2, v1 and none: read it, hold it, let it go again.

Invariants: reading never raises and never blocks; every act is idempotent and tells whether it took hold; `release`
leaves nothing behind: no ceiling, no protection, nothing paused, the kernel's own killing allowed again. Several
objects may follow one another on the same group: each begins with what it finds. Implementations: memory_v2, memory_v1,
memory_bare; chosen by memory_attach. Called by the loop that feeds density.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Memory(NamedTuple):
    """What was read. `there` False: the group is gone, and the rest is what was last known."""

    there: bool
    usage_bytes: int  # cannot be dropped: anonymous, shared, kernel
    ceiling_bytes: int | None  # what really holds below the declared limit
    hits: int  # cumulative: how often it reached the ceiling with memory that cannot be dropped
    frozen: bool  # by us, or found so at the beginning
    kills: int  # cumulative: processes in it that the kernel killed for memory


class MemoryGroup(Protocol):
    """See the module. `ceilings`: the kernel holds it. `notify_fd` and `notify_mask` are for epoll; the descriptor may
    appear with the first ceiling, and is closed by `close`."""

    ceilings: bool
    notify_mask: int

    @property
    def notify_fd(self) -> int | None: ...

    def heard(self) -> None:
        """Call when `notify_fd` is ready, and read afterwards."""

    def read(self, slack_bytes: int = 0) -> Memory:
        """`slack_bytes`: of its lease, which tells real hits from those of page cache."""

    def set_ceiling(self, ceiling_bytes: int | None) -> bool:
        """True when it holds now. A ceiling far below what the group holds comes down in steps: ask again."""

    def protect(self, keep_bytes: int, floor_bytes: int) -> bool: ...

    def freeze(self) -> bool: ...

    def thaw(self) -> bool: ...

    def page_out(self) -> int:
        """Bytes that were asked of the kernel; blocks for seconds: belongs into a thread."""

    def release(self) -> None: ...

    def close(self) -> None: ...


LOWER_STEP_BYTES = 32 * 1024 * 1024  # page cache dropped by one lowering, in the writer's own time: some 20 ms


def lowered(aim_bytes: int, held_bytes: int) -> int:
    """The ceiling to write now, on the way to `aim_bytes`, of a group that holds `held_bytes` with its cache. Pure."""
    return max(aim_bytes, held_bytes - LOWER_STEP_BYTES)
