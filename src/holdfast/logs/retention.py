"""Which log files have to go. Pure.

Invariants: the oldest go first; the file being written is never chosen; what one agent may keep is decided before
what all may keep together. Called by archivist.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from holdfast.logs.archive import Identity
from holdfast.spec.model import Logs


class Kept(NamedTuple):
    """A log file on disk. `number`: of an archive, None for one that is not compressed. `bytes` with its index."""

    agent: str
    path: str
    number: int | None
    bytes: int
    last_ns: int  # when its newest line came
    identity: Identity


def too_many_or_too_old(rotated: list[Kept], logs: Logs, now_ns: int) -> list[Kept]:
    """By `max_files` and `max_age`. `rotated`: all but the one being written, oldest first."""
    surplus = max(0, len(rotated) + 1 - max(1, logs.max_files))
    oldest_ns = now_ns - int(logs.max_age_s * 1e9)
    return [file for place, file in enumerate(rotated) if place < surplus or file.last_ns < oldest_ns]


def over_total(rotated: list[Kept], written_bytes: int, total_bytes: int | None) -> list[Kept]:
    """By the agent's `total_bytes`; `written_bytes`: of the file being written."""
    if total_bytes is None:
        return []
    return _oldest(rotated, written_bytes + sum(file.bytes for file in rotated) - total_bytes)


def over_node_cap(rotated: Iterable[Kept], written_bytes: int, cap_bytes: int) -> list[Kept]:
    """By what all agents may keep together, whoever's is the oldest."""
    files = sorted(rotated, key=lambda file: (file.last_ns, file.path))
    return _oldest(files, written_bytes + sum(file.bytes for file in files) - cap_bytes)


def is_due(first_ns: int | None, last_ns: int, logs: Logs, now_ns: int) -> bool:
    """Whether the file being written is to be rotated for its age, so that its lines can go when they are too old."""
    age_ns = int(logs.max_age_s * 1e9)
    if last_ns < now_ns - age_ns:
        return True
    return logs.max_files > 1 and first_ns is not None and first_ns < now_ns - age_ns // (logs.max_files - 1)


def _oldest(files: list[Kept], surplus_bytes: int) -> list[Kept]:
    chosen = []
    for file in files:
        if surplus_bytes <= 0:
            break
        chosen.append(file)
        surplus_bytes -= file.bytes
    return chosen
