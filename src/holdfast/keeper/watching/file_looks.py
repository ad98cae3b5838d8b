"""Looks at files that belong to agents, without ever waiting for them.

A path below an agent's own directories may lead into a file system that does not answer. So looks are done in a thread
that is given up when one of them takes too long, and a path that holds one up is not asked again until it answered.
Invariants: only the name is looked up (O_PATH, no link followed at its end): nothing is opened for reading and no
content is touched; answers arrive in the loop, each once. Called by sources.py.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable

from holdfast import limits

Stamp = tuple[int, int, int]  # time of change in ns, size, inode
Answer = Callable[[Stamp | None, str], None]  # `blocked`: why it cannot be looked at, "" when it can
NO_ANSWER = "its file system does not answer"


def look(path: str) -> tuple[Stamp | None, str]:
    """One look; (None, "") when there is no such file."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return None, "" if missing else error.strerror or str(error)
    try:
        status = os.fstat(fd)
    except OSError as error:
        return None, error.strerror or str(error)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        return None, "it is a link" if stat.S_ISLNK(status.st_mode) else "it is no ordinary file"
    return (status.st_mtime_ns, status.st_size, status.st_ino), ""


class _Worker:
    """One thread and its queue. `busy_since_mono` is None while it waits for work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queue: deque[tuple[str, Answer]] = deque()
        self.busy_with = ""
        self.busy_since_mono: float | None = None
        self.given_up = False
        self._loop = loop
        self._work = threading.Semaphore(0)
        threading.Thread(target=self._run, name="file-looks", daemon=True).start()

    def put(self, item: tuple[str, Answer]) -> None:
        self.queue.append(item)
        self._work.release()

    def _run(self) -> None:
        while not self.given_up:
            self._work.acquire()
            try:
                path, answer = self.queue.popleft()
            except IndexError:
                continue
            self.busy_with, self.busy_since_mono = path, self._loop.time()
            found = look(path)
            self.busy_since_mono = None
            try:
                self._loop.call_soon_threadsafe(answer, *found)
            except RuntimeError:
                return  # the loop is closed


class FileLooks:
    """The door: `ask` never blocks."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None
        self._stuck: dict[str, _Worker] = {}  # path -> the thread it holds up

    def ask(self, path: str, answer: Answer) -> None:
        """`answer(stamp, blocked)` is called in the loop, later."""
        loop = asyncio.get_running_loop()
        worker = self._awake(loop)
        held = self._stuck.get(path)
        if held is not None:
            if held.busy_since_mono is not None:
                loop.call_soon(answer, None, NO_ANSWER)
                return
            del self._stuck[path]
        worker.put((path, answer))

    def is_held_up(self, path: str) -> bool:
        """Whether a look at this path is not answered. What waits behind it goes on."""
        self._awake(asyncio.get_running_loop())
        held = self._stuck.get(path)
        return held is not None and held.busy_since_mono is not None

    def close(self) -> None:
        """The thread ends with its next turn; one that is stuck ends with the process."""
        if self._worker is not None:
            self._worker.given_up = True
            self._worker.put(("/", lambda stamp, blocked: None))

    def _awake(self, loop: asyncio.AbstractEventLoop) -> _Worker:
        """A worker that is not held up; the queue of one that is goes over to a new one."""
        worker = self._worker
        if worker is not None:
            since = worker.busy_since_mono
            if since is None or loop.time() - since < limits.FILE_LOOK_TIMEOUT_S:
                return worker
            worker.given_up = True
            self._stuck[worker.busy_with] = worker
        self._worker = _Worker(loop)
        while worker is not None and worker.queue:
            try:
                self._worker.put(worker.queue.popleft())
            except IndexError:
                break
        return self._worker
