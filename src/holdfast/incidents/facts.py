"""What was found out about an incident beside the ledger: the bundle, the kernel's words, memory, what changed.

Invariant: everything in it is masked and has a default, so that one written by another version can still be read.
Kept in HOME/incidents/ID.evidence.json; made by the keeper, read by the cause rules and the post-mortem.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from holdfast.evidence.kernel_log import KernelStory
from holdfast.evidence.model import Bundle


class Change(Struct, frozen=True, kw_only=True):
    """One thing that differs from the last good run. `at` 0: when is not known."""

    at: float
    what: str  # spec (what reaches its program), watch (how it is judged), care (neither), version, boot, file
    text: str


class MemoryFacts(Struct, frozen=True, kw_only=True):
    """`curve`: (wall clock, bytes) before the fault, oldest first. `limit_bytes`: declared; `lease_bytes`: the ceiling
    below it at which it was held, since others needed the memory."""

    limit_bytes: int | None = None
    lease_bytes: int | None = None
    peak_bytes: int | None = None
    used_bytes: int | None = None
    oom_kills: int | None = None  # in the place of the agent while this instance ran
    curve: tuple[tuple[float, int], ...] = ()


class ExitFacts(Struct, frozen=True, kw_only=True):
    """How an instance ended by itself during the incident."""

    instance: int
    at: float
    code: int | None = None
    signal: int | None = None
    oom: bool = False
    words: str = ""


class Facts(Struct, kw_only=True):
    """`asks`: exit codes that mean a refused configuration. `waits_on`: agents it depends on that were not well."""

    version: int = 1
    recipe: str = ""
    hung: bool = False  # it had to be killed while it ran
    bundle: Bundle | None = None
    exit: ExitFacts | None = None
    taken: str = ""  # who held its port instead of it
    asks: tuple[int, ...] = (78,)
    memory: MemoryFacts = MemoryFacts()
    kernel: KernelStory = KernelStory()
    changes: tuple[Change, ...] = ()
    proven_at: float = 0.0  # when an instance was last proven good; 0: none was yet
    waits_on: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


def joined(before: Facts, found: Facts) -> Facts:
    """What a later look adds to earlier ones of the same incident: what it did not see stays as it was."""
    return replace(
        found,
        hung=before.hung or found.hung,
        bundle=found.bundle or before.bundle,
        exit=found.exit or before.exit,
        taken=found.taken or before.taken,
        kernel=found.kernel if found.kernel.victims else before.kernel,
        memory=replace(found.memory, curve=found.memory.curve or before.memory.curve),
        gaps=tuple(dict.fromkeys((*before.gaps, *found.gaps))),
    )
