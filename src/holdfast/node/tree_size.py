"""How much directories hold on disk, counted gently: for trees that agents may change, or set traps in, meanwhile.

Standard library only, and also a program of its own: one line of JSON {"shared": [paths], "users": {"key": [own,
working, more…]}} in, one line {"key": [bytes, complete]} out for each. Invariant: below a directory no link is ever
followed and nothing but directories is opened, each by its parent's descriptor; depth, entries and time are bounded,
and a count that hit a bound says so. Run by keeper.disk_use as a process of its own with the lowest priority for CPU
and disk, so that it takes nothing from agents, and so that a disk that does not answer holds up nobody else.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

DEPTH_MAX = 64  # one open descriptor each
ENTRIES_MAX = 500_000  # of one agent
TIME_MAX_S = 20.0  # of one agent
ROUND_MAX_S = 290  # of the process: a dead disk must not leave it behind for ever
REST_EVERY = 2_000  # entries, then
REST_S = 0.02  # a rest as long as reading them took: at most about half of an idle core
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE = 3 << 13


def own_directories(users: Mapping[str, Sequence[str]], shared: Sequence[str]) -> dict[str, list[str]]:
    """What belongs to each user alone. The first of its paths always does; the second is where it works; that one and
    all more count, links in them resolved, unless somebody else works there or below, or one of `shared` lies there.
    "/home/*" among those stands for any user's home."""
    found = {name: [own, *map(os.path.realpath, more)] for name, (own, *more) in users.items()}
    # How many work in or below each directory: so a thousand users are not compared with a thousand others.
    working = Counter(above for paths in found.values() for above in _upwards(paths[1]))
    taken = {above for path in shared for above in _upwards(os.path.realpath(path))}
    return {
        name: [
            own,
            *(p for p in more if p not in taken and working[p] == (p in _upwards(more[0])) and not _home(p, shared)),
        ]
        for name, (own, *more) in found.items()
    }


def _upwards(path: str) -> Iterator[str]:
    """`path` and every directory above it."""
    yield path
    while (above := os.path.dirname(path)) != path:
        path = above
        yield path


def _home(path: str, shared: Sequence[str]) -> bool:
    return "/home/*" in shared and (path in ("/", "/home") or os.path.dirname(path) == "/home")


def measure(paths: list[str], entries_max: int = ENTRIES_MAX, time_max_s: float = TIME_MAX_S) -> tuple[int, bool]:
    """Allocated bytes of all that is below `paths`, each file once, within each one's filesystem; and whether that is
    all of it. What is missing or may not be read holds nothing."""
    walk = _Walk(entries_max, time.monotonic() + time_max_s)
    for path in paths:
        with contextlib.suppress(OSError):
            fd = os.open(path, _OPEN)
            walk.below(fd)
    return walk.total_bytes, walk.complete


class _Walk:
    def __init__(self, entries_max: int, until_mono: float) -> None:
        self.total_bytes = 0
        self.complete = True
        self._left = entries_max
        self._until_mono = until_mono
        self._linked: set[tuple[int, int]] = set()  # files with several names, and every directory entered

    def below(self, fd: int) -> None:
        """Count what is below an open directory, and close it."""
        device = os.fstat(fd).st_dev
        open_fds = [fd]
        waiting: list[list[str]] = []
        try:
            waiting.append(self._names(fd, device))
            while open_fds:
                if not waiting[-1]:
                    waiting.pop()
                    os.close(open_fds.pop())
                    continue
                name = waiting[-1].pop()
                if len(open_fds) >= DEPTH_MAX or (not self.complete and self._left <= 0):
                    self.complete = False
                    continue
                with contextlib.suppress(OSError):
                    child = os.open(name, _OPEN, dir_fd=open_fds[-1])
                    open_fds.append(child)
                    waiting.append(self._names(child, device))
        finally:
            for each in open_fds:
                os.close(each)

    def _names(self, fd: int, device: int) -> list[str]:
        """Count the entries of one directory; the names of those to go into."""
        own = os.fstat(fd)
        if own.st_dev != device or (own.st_dev, own.st_ino) in self._linked:
            return []
        self._linked.add((own.st_dev, own.st_ino))
        names: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._left -= 1
                if self._left <= 0 or time.monotonic() > self._until_mono:
                    self.complete = False
                    self._left = 0
                    break
                if self._left % REST_EVERY == 0:
                    time.sleep(REST_S)
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    identity = (status.st_dev, status.st_ino)
                    if status.st_dev != device or (status.st_nlink > 1 and identity in self._linked):
                        continue
                    self.total_bytes += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
                    elif status.st_nlink > 1:
                        self._linked.add(identity)
        return names


def be_gentle() -> None:
    """The lowest priority for CPU and, where the kernel's scheduler knows it, for disk."""
    with contextlib.suppress(OSError):
        os.nice(19)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)


def main() -> int:
    be_gentle()
    signal.alarm(ROUND_MAX_S)
    asked = json.loads(sys.stdin.readline())
    for key, paths in own_directories(asked["users"], asked["shared"]).items():
        print(json.dumps({key: measure(paths)}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
