"""Stopping an agent's tree for a while and letting it go on: v2 cgroup, v1 freezer, or signals.

Invariant: thawing is always possible and never fails because of what freezing did. A v1 frozen process dies only after
the thaw; a v2 frozen one at once. Called by the memory groups.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from holdfast.node import processes
from holdfast.node.kept_file import KeptFile

Members = Callable[[], Iterable[int]]


class Pause(Protocol):
    def freeze(self) -> bool: ...

    def thaw(self) -> bool: ...

    def is_frozen(self) -> bool: ...

    def close(self) -> None: ...


class FreezeV2:
    """cgroup.freeze: the wish counts, for a process in an uninterruptible wait only stands still after it."""

    def __init__(self, directory: Path) -> None:
        self._file = KeptFile(directory / "cgroup.freeze", os.O_RDWR)

    def freeze(self) -> bool:
        return self._file.write("1") == 0

    def thaw(self) -> bool:
        return self._file.write("0") == 0

    def is_frozen(self) -> bool:
        return (self._file.read() or b"").startswith(b"1")

    def close(self) -> None:
        self._file.close()


class FreezeV1:
    """freezer.state of one group; FREEZING counts."""

    def __init__(self, directory: Path) -> None:
        self._file = KeptFile(directory / "freezer.state", os.O_RDWR)

    def freeze(self) -> bool:
        return self._file.write("FROZEN") == 0

    def thaw(self) -> bool:
        return self._file.write("THAWED") == 0

    def is_frozen(self) -> bool:
        return (self._file.read() or b"").startswith(b"FR")

    def close(self) -> None:
        self._file.close()


class Signals:
    """SIGSTOP and SIGCONT to every member; twice, since a tree may fork while it is listed.

    After a restart of ours it counts as frozen when every member is stopped.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        found = [stat.state for pid in members() if (stat := processes.stat(pid)) is not None]
        self._frozen = bool(found) and all(state in "TZX" for state in found)

    def freeze(self) -> bool:
        self._frozen = True
        seen: set[int] = set()
        for _ in range(3):
            fresh = [pid for pid in self._members() if pid not in seen]
            if not fresh:
                break
            self._send(fresh, signal.SIGSTOP)
            seen.update(fresh)
        return bool(seen)

    def thaw(self) -> bool:
        self._frozen = False
        self._send(self._members(), signal.SIGCONT)
        return True

    def is_frozen(self) -> bool:
        return self._frozen

    def close(self) -> None:
        pass

    @staticmethod
    def _send(pids: Iterable[int], number: int) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
