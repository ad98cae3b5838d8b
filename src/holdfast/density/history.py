"""What was seen of one agent over time, in a few numbers: what it holds when it works, CPU, disk. Pure.

Invariant: bounded, whatever is added: counts in steps of a ninth (an octave has 8), halved when they grow old, so that
what an agent does now weighs more than last month. A mark is never below what was read, and at most a step above.
An agent waits most of its time, so readings of work are counted apart; who never worked is known by its waiting.
Called by the keeper, which keeps it with the rest of its memory, and by `capacity`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from holdfast import limits
from holdfast.density.model import MB

_STEPS = 8  # of an octave: 9 %, which is less than two runs of one agent differ by


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`work`, `wait`: how many readings fell into each step of size. `seen_s`, `cpu_s`: time and CPU, both aged."""

    work: dict[int, int] = {}
    wait: dict[int, int] = {}
    seen_s: float = 0.0
    cpu_s: float = 0.0
    disk_bytes: int = 0

    @property
    def readings(self) -> int:
        """How many readings its mark rests on."""
        return sum(self._counted().values())

    @property
    def cpu(self) -> float:
        """Cores it used on average, over all its time."""
        return self.cpu_s / self.seen_s if self.seen_s > 0 else 0.0

    @property
    def mark_bytes(self) -> int:
        """95 of 100 readings of its work were not above it; 0: nothing was seen."""
        counted = self._counted()
        left = math.ceil(sum(counted.values()) * limits.HISTORY_SHARE)
        for step in sorted(counted):
            left -= counted[step]
            if left <= 0:
                return upper_bytes(step)
        return 0

    @property
    def worked(self) -> bool:
        """Whether it was seen at work often enough to be judged by that."""
        return sum(self.work.values()) >= limits.HISTORY_READINGS_MIN

    def _counted(self) -> dict[int, int]:
        return self.work if self.worked else joined((self.work, self.wait))


def step_of(size_bytes: int) -> int:
    """The step of a size; everything up to one MB is the first."""
    return max(0, math.ceil(math.log2(max(size_bytes, 1) / MB) * _STEPS - 1e-9))


def upper_bytes(step: int) -> int:
    return math.ceil(MB * 2 ** (step / _STEPS))


def add(
    history: History,
    used_bytes: int,
    cores: float | None,
    elapsed_s: float,
    *,
    idle: bool,
    disk_bytes: int | None = None,
) -> History:
    """One more reading. `cores`: used since the one before, `elapsed_s` ago; None: nobody knows.

    `idle`: the agent says that it has nothing to do. It works when it does not say so and uses CPU.
    """
    works = not idle and (cores is None or cores >= limits.HISTORY_WORK_CORES)
    step = step_of(used_bytes)
    work, wait = dict(history.work), dict(history.wait)
    counts = work if works else wait
    counts[step] = counts.get(step, 0) + 1
    seen_s, cpu_s = history.seen_s, history.cpu_s
    if cores is not None and elapsed_s > 0:
        seen_s, cpu_s = seen_s + elapsed_s, cpu_s + max(0.0, cores) * elapsed_s
    if seen_s > limits.HISTORY_AGED_S:
        seen_s, cpu_s = seen_s / 2, cpu_s / 2
    return History(
        work=_aged(work),
        wait=_aged(wait),
        seen_s=round(seen_s, 1),
        cpu_s=round(cpu_s, 3),
        disk_bytes=history.disk_bytes if disk_bytes is None else disk_bytes,
    )


def merged(histories: Iterable[History]) -> History:
    """What is known of agents of one kind together; disk: that of the largest."""
    each = tuple(histories)
    return History(
        work=joined(one.work for one in each),
        wait=joined(one.wait for one in each),
        seen_s=sum(one.seen_s for one in each),
        cpu_s=sum(one.cpu_s for one in each),
        disk_bytes=max((one.disk_bytes for one in each), default=0),
    )


def joined(counts: Iterable[dict[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in counts:
        for step, count in one.items():
            found[step] = found.get(step, 0) + count
    return found


def _aged(counts: dict[int, int]) -> dict[int, int]:
    if sum(counts.values()) <= limits.HISTORY_READINGS_MAX:
        return counts
    return {step: count // 2 for step, count in counts.items() if count > 1}
