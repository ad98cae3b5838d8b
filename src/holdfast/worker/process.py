"""The worker: a process of the keeper's that does nothing but fork a child for each job.

Invariants: single-threaded and small, with every library already imported, so that a job costs one fork and no start of
an interpreter; what a job leaks, breaks or allocates ends with its child. A job ends when its own socket does (see
jobs.py), so the deaths of keeper and worker, in any order, end all jobs; a worker whose keeper is gone (the line says
so) waits for its jobs, then ends them. Started by keeper/state/worker_link.py.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import time

from holdfast import limits
from holdfast.init import kernel

PACKET_BYTES = 4096


class Worker:
    """The loop. `line` is the keeper's."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._jobs: set[int] = set()  # pids
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)

    def serve(self, wakeup: int) -> None:
        """Until the keeper is gone."""
        self._poll.register(wakeup, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == wakeup:
                    os.read(wakeup, 4096)
                elif not self._hear():
                    return
            self._reap()

    def close(self) -> None:
        """The jobs have seen their sockets end: give them time to put away what they hold, then end them."""
        deadline_mono = time.monotonic() + limits.WORKER_JOB_ENDS_S
        while self._jobs and time.monotonic() < deadline_mono:
            self._reap()
            time.sleep(0.01)
        for pid in self._jobs:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _hear(self) -> bool:
        """One packet: a job. False when the keeper is gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self._line, PACKET_BYTES, 1)
        except OSError:
            return False
        if not data:
            return False
        if fds and "job" in json.loads(data):
            self._start(fds[0])
        return True

    def _start(self, fd: int) -> None:
        """The job's socket stays open in the child alone: its end is the end of the job."""
        own = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(fd)  # the keeper sees a job that was interrupted
            return
        if pid == 0:
            self._become(fd, own)
        os.close(fd)
        self._jobs.add(pid)

    def _become(self, fd: int, worker: int) -> None:
        """In the newborn. Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._line.close()
            from holdfast.worker import jobs

            if os.getppid() == worker:
                code = jobs.run(socket.socket(fileno=fd))
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._jobs.discard(pid)


def _nothing(number: int, frame: object) -> None:
    """Makes SIGCHLD write to the wake-up descriptor."""


def serve(line: socket.socket) -> None:
    """All of the worker's life."""
    from holdfast.worker import jobs

    kernel.name_process("holdfast-work")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with the keeper, after its jobs
    signal.signal(signal.SIGCHLD, _nothing)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    jobs.load()
    gc.collect()
    gc.freeze()  # children share these pages as long as nobody's collection touches them
    worker = Worker(line)
    try:
        worker.serve(ours.fileno())
    finally:
        worker.close()
