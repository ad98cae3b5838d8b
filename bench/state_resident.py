"""Holdfast's worker, resident as the keeper keeps it, and what its jobs cost.

Run as a script (`python -P state_resident.py LINE REPORT`) it is that worker: holdfast.worker's own loop, which writes
on SIGUSR1 what it and all its children have used so far. The class is the keeper's side of the line, without a keeper.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Self

WAIT_S = 600.0


class JobRefused(Exception):
    """A job ended without a result; the text says why."""


class Resident:
    """A worker that lives for the block. Jobs one after the other; `used` between them."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        from bench import processes

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        heard, hear = os.pipe()
        self._line, self._report = ours, os.fdopen(heard, "rb")
        with theirs:
            for fd in (theirs.fileno(), hear):
                os.set_inheritable(fd, True)
            argv = [sys.executable, "-P", __file__, str(theirs.fileno()), str(hear)]
            self.pid = processes.spawn(argv, self._log, keep=(theirs.fileno(), hear))
        os.close(hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._report.close()

    def job(self, name: str, args: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """(its result, seconds from asking to the answer); its process has been collected. Raises JobRefused."""
        ours, theirs = socket.socketpair()
        ours.settimeout(WAIT_S)
        begun_mono = time.monotonic()
        with theirs:
            ours.sendall(json.dumps({"job": name, "args": args, "gentle": False}).encode() + b"\n")
            socket.send_fds(self._line, [json.dumps({"job": name}).encode()], [theirs.fileno()])
        pid = 0
        with ours, ours.makefile("rb") as said:
            for line in said:
                message = json.loads(line)
                pid = message.get("begun", pid)
                if "result" in message or "error" in message:
                    took_s = time.monotonic() - begun_mono
                    self._await_end(pid)
                    if "error" in message:
                        raise JobRefused(f"{name}: {message['error']}")
                    return message["result"], took_s
        raise JobRefused(f"{name}: the worker was ended")

    def used(self) -> dict[str, float]:
        """Of the worker and all its jobs so far: `cpu_s`, and `rss_mb` of the largest process among the jobs."""
        os.kill(self.pid, signal.SIGUSR1)
        told: dict[str, float] = json.loads(self._report.readline())
        return told

    def _await_end(self, pid: int) -> None:
        while pid and os.path.exists(f"/proc/{pid}"):
            time.sleep(0.001)


def main() -> None:
    from holdfast.worker.process import serve

    line, report = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    line.set_inheritable(False)
    os.set_inheritable(report, False)

    def tell(number: int, frame: object) -> None:
        own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime
        os.write(report, json.dumps({"cpu_s": cpu_s, "rss_mb": below.ru_maxrss / 1024}).encode() + b"\n")

    signal.signal(signal.SIGUSR1, tell)
    serve(line)


if __name__ == "__main__":
    main()
