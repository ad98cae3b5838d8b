"""Standing an agent still for a moment, so that all its files belong to one moment.

Invariant: it goes on again, whatever happens to us: a watcher process lets it go when we are done, when the time is
up or when we are killed. Three ways, best first: its v2 cgroup, its v1 freezer cgroup, or SIGSTOP to its processes.
Called by capture.py and database.py, through what the worker's job gives them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Stillness(Protocol):
    """The agent, while it stands still."""

    deadline_mono: float  # monotonic seconds; it goes on then, whether or not we are done

    def lasted(self) -> bool:
        """Whether it has stood still without a break until now."""


class Freezer(Protocol):
    """What can stand an agent still."""

    def frozen(self) -> AbstractContextManager[Stillness]:
        """For the block, at most FREEZE_MAX_S. Raises CannotFreeze."""


class CannotFreeze(Exception):
    """The agent could not be stood still; str() says why. It runs."""
