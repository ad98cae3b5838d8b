"""How many bytes of an agent's output could not be stored, in logs/AGENT/state.json. Format: docs/formats/logs.md.

Invariant: the file has its full length before the disk is full, and is then written in place, so that the count can
be told while nothing else can be written. Standard library only, and no json, whose import
would cost the logger a megabyte.
Written by capture.py, read by read.py.
"""

from __future__ import annotations

import os

NAME = "state.json"
BYTES = 256
VERSION = 1


class Losses:
    """`dropped_bytes` counts for ever; `pending_bytes` of them are not yet told in the log itself."""

    __slots__ = ("_path", "dropped_bytes", "pending_bytes")

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, NAME)
        self.dropped_bytes = 0
        self.pending_bytes = 0
        self._load()

    def _load(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self.save("", 0.0)
            return
        except OSError:
            return
        try:
            text = os.read(fd, BYTES)
            self.dropped_bytes = _number(text, b"dropped_bytes")
            self.pending_bytes = _number(text, b"pending_bytes")
        except OSError:
            return
        finally:
            os.close(fd)

    def add(self, count: int) -> None:
        self.dropped_bytes += count
        self.pending_bytes += count

    def save(self, reason: str, changed_at: float) -> bool:
        """Best effort; `reason` is "" when nothing is being dropped. False: it could not be written."""
        safe = reason.replace('"', "'").replace("\\", "/")[:80]
        text = (
            f'{{"version":{VERSION},"dropped_bytes":{self.dropped_bytes},"pending_bytes":{self.pending_bytes},'
            f'"reason":"{safe}","changed_at":{changed_at:.3f}}}'
        )
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                return os.pwrite(fd, text.encode().ljust(BYTES - 1) + b"\n", 0) == BYTES
            finally:
                os.close(fd)
        except OSError:
            return False


def _number(text: bytes, key: bytes) -> int:
    """The whole number behind `key`; 0 when there is none."""
    digits = text.partition(b'"' + key + b'":')[2].partition(b",")[0].strip()
    return int(digits) if digits.isdigit() else 0
