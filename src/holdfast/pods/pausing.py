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

    __slots__ = ("_directory",)

    def __init__(self, directory: Path | str) -> None:
        self._directory = str(directory)

    def freeze(self) -> bool:
        return self._file().write_once("1") == 0

    def thaw(self) -> bool:
        return self._file().write_once("0") == 0

    def is_frozen(self) -> bool:
        return (self._file().read_once() or b"").startswith(b"1")

    def close(self) -> None:
        pass

    def _file(self) -> KeptFile:
        """Opened for each act: few of a large fleet are ever frozen."""
        return KeptFile(self._directory, os.O_RDWR, name="cgroup.freeze")


class FreezeV1:
    """freezer.state of one group; FREEZING counts."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Path | str) -> None:
        self._directory = str(directory)

    def freeze(self) -> bool:
        return self._file().write_once("FROZEN") == 0

    def thaw(self) -> bool:
        return self._file().write_once("THAWED") == 0

    def is_frozen(self) -> bool:
        return (self._file().read_once() or b"").startswith(b"FR")

    def close(self) -> None:
        pass

    def _file(self) -> KeptFile:
        return KeptFile(self._directory, os.O_RDWR, name="freezer.state")


class Signals:
    """SIGSTOP and SIGCONT to every member; twice, since a tree may fork while it is listed.

    After a restart of ours it counts as frozen when every member is stopped.
    """

    __slots__ = ("_frozen", "_members")

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
