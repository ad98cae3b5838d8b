"""One job as its function sees it: its arguments, its progress and content on the way, its errors in words.

Invariant: what is said goes to whoever waits for this job, in order. Called by every job; made by jobs.py.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from typing import Any

from holdfast.worker.protocol import PROGRESS_EVERY_S, Fault

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Call:
    """`args`: as the keeper gave them."""

    def __init__(self, link: socket.socket, args: dict[str, Any]) -> None:
        self._link = link
        self.args = args
        self._said_mono = 0.0
        self._stage = ""

    def progress(self, done: int, total: int = 0, what: str = "") -> None:
        """Say how far it is; may be called as often as one likes. A new `what` is always said."""
        now = time.monotonic()
        if what != self._stage or now - self._said_mono >= PROGRESS_EVERY_S:
            self._said_mono, self._stage = now, what
            self.say({"progress": {"done": done, "total": total, "what": what}})

    def chunk(self, data: bytes) -> None:
        """A piece of content, in order. Waits for whoever takes it."""
        if data:
            self._link.sendall(b'{"chunk":%d}\n' % len(data) + data)

    def say(self, message: dict[str, Any]) -> None:
        """One message in the words of protocol.py."""
        self._link.sendall(json.dumps(message).encode() + b"\n")


def explain(error: Exception) -> tuple[str, str | dict[str, str], bool]:
    """An exception of a job in the protocol's words. Pure."""
    from holdfast.errors import HoldfastError
    from holdfast.state.store.damage import Damaged, MissingBlob
    from holdfast.state.store.objects import Missing, StoreError

    if isinstance(error, HoldfastError):
        return error.kind.code, {key: str(value) for key, value in error.detail.items()}, False
    if isinstance(error, (Damaged, MissingBlob)):
        return Fault.DAMAGED, str(error), True
    if isinstance(error, OSError):
        kind = Fault.FULL if error.errno in _NO_ROOM else Fault.FAILED
        named = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        return kind, f"{error.strerror or error}{named}", False
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
        return Fault.FULL, str(error), False
    if isinstance(error, Missing):
        return Fault.NOT_FOUND, str(error), True
    if isinstance(error, StoreError):
        return Fault.STORE, str(error), error.lasting
    return Fault.FAILED, f"{type(error).__name__}: {error}", False
