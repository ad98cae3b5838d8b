"""Our own memory: what a burst of work left behind goes back to the machine.

The C library keeps what was freed, for the next burst; after a thousand starts that is two megabytes. Invariant: never
raises; where the C library knows no such thing, nothing is done. Called by the keeper's loop when the last start of a
burst is over.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def give_back() -> None:
    """Milliseconds; not for every turn of a loop."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # not every C library has it
        return None
    return found
