"""The prober: a small single-threaded process of the keeper's that runs command probes, and nothing else.

It is told of runs on a socket, one JSON object a line: {"id", "agent", "mark", "argv", "env", "cwd", "timeout_s",
"roots", "uid", "gid", "groups"}, and answers {"id", "code" or "signal" or "timed_out" or "broken", "out"}. The first
line is {"roots", "home_id"}: what an earlier prober left behind is ended.

Invariants: a run has a session and cgroups of its own, so that neither its memory nor its end touches the agent; when
its main process ends, or its time is over, all of its tree is ended; output is read to the end and kept up to a bound;
when the keeper is gone (the socket says so) every run is ended and so is the prober; when the prober itself is killed,
the kernel ends the main processes and the next prober the rest. Standard library only; started by
keeper/watching/commands.py.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

from holdfast.health import probe_tree
from holdfast.init import kernel

OUTPUT_KEPT_BYTES = 16_384
READ_BYTES = 65_536
REQUEST_MAX_BYTES = 4 * 1024 * 1024
OOM_SCORE_ADJ = 900  # when memory is gone a probe goes before every agent
REMOVE_EVERY_S = 0.05
REMOVE_TRIES = 100
UNRUNNABLE = 127
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)


class Run:
    """One probe under way."""

    def __init__(self, request: dict[str, Any], pid: int, out: int, failure: int, directories: list[str]) -> None:
        self.id = int(request["id"])
        self.mark = str(request["mark"])
        self.pid, self.out, self.failure, self.directories = pid, out, failure, directories
        self.deadline_mono = time.monotonic() + float(request["timeout_s"])
        self.kept = bytearray()
        self.timed_out = False


class Prober:
    """The loop. `link` is the keeper's end of the socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._pending = bytearray()
        self._runs: dict[int, Run] = {}  # by pid
        self._leaving: list[tuple[list[str], int]] = []  # cgroups that hold a zombie yet, tries left
        self._number = 0
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)

    def serve(self, wakeup: int) -> None:
        """Until the keeper is gone."""
        self._poll.register(wakeup, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll(self._wait_ms()):
                if fd == wakeup:
                    os.read(wakeup, 4096)
                elif fd == self._link.fileno():
                    if not self._hear():
                        return
                else:
                    self._read_output(fd)
            self._reap()
            self._end_late()
            self._leaving = [(one, left - 1) for one, left in self._leaving if left and not probe_tree.remove(one)]

    def close(self) -> None:
        """End every run."""
        for run in self._runs.values():
            probe_tree.kill(run.pid, run.mark, run.directories)
        deadline_mono = time.monotonic() + 1.0
        while self._runs and time.monotonic() < deadline_mono:
            self._reap()
            time.sleep(0.005)
        for directories, _ in self._leaving:
            probe_tree.remove(directories)

    def _wait_ms(self) -> float | None:
        due = [run.deadline_mono for run in self._runs.values() if not run.timed_out]
        waits = [max(0.0, min(due) - time.monotonic())] if due else []
        if self._leaving:
            waits.append(REMOVE_EVERY_S)
        return min(waits) * 1000 + 1 if waits else None

    # --- requests ------------------------------------------------------------------------------------------------
    def _hear(self) -> bool:
        """Take requests in; False when the keeper is gone."""
        try:
            data = self._link.recv(READ_BYTES)
        except OSError:
            return False
        if not data or len(self._pending) > REQUEST_MAX_BYTES:
            return False
        self._pending += data
        while (end := self._pending.find(b"\n")) >= 0:
            request = json.loads(self._pending[:end])
            del self._pending[: end + 1]
            if "home_id" in request:
                probe_tree.sweep(request["roots"], request["home_id"])
            else:
                self._start(request)
        return True

    def _start(self, request: dict[str, Any]) -> None:
        self._number += 1
        name = f"{request['agent']}{probe_tree.INFIX}{os.getpid()}-{self._number}"
        directories = [f"{root}/{name}" for root in request["roots"]]
        try:
            for directory in directories:
                os.mkdir(directory)
            out, out_end = os.pipe()
            failure, failure_end = os.pipe()
            own, pid = os.getpid(), os.fork()
        except OSError as error:
            probe_tree.remove(directories)
            self._say({"id": request["id"], "broken": f"it could not be started: {error.strerror}"})
            return
        if pid == 0:
            _become(request, directories, out_end, failure_end, own)
        os.close(out_end)
        os.close(failure_end)
        os.set_blocking(out, False)
        self._runs[pid] = Run(request, pid, out, failure, directories)
        self._poll.register(out, select.POLLIN)

    # --- runs ----------------------------------------------------------------------------------------------------
    def _read_output(self, fd: int) -> None:
        run = next((one for one in self._runs.values() if one.out == fd), None)
        if run is not None and not self._drain(run):
            self._poll.unregister(fd)

    def _drain(self, run: Run) -> bool:
        """Read what is there; False at the end of the output."""
        try:
            data = os.read(run.out, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        run.kept += data[: max(0, OUTPUT_KEPT_BYTES - len(run.kept))]
        return bool(data)

    def _end_late(self) -> None:
        now = time.monotonic()
        for run in self._runs.values():
            if not run.timed_out and now >= run.deadline_mono:
                run.timed_out = True
                probe_tree.kill(run.pid, run.mark, run.directories)

    def _reap(self) -> None:
        """Collect the dead; strays of runs that have ended are among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self._runs.pop(pid, None)
            if run is not None:
                self._finish(run, status)

    def _finish(self, run: Run, status: int) -> None:
        """Its main process has ended: nothing of its tree stays, and the keeper hears of it."""
        probe_tree.kill(run.pid, run.mark, run.directories)
        self._drain(run)
        try:
            self._poll.unregister(run.out)
        except KeyError:
            pass
        told = os.read(run.failure, 4096)
        os.close(run.out)
        os.close(run.failure)
        if not probe_tree.remove(run.directories):
            self._leaving.append((run.directories, REMOVE_TRIES))
        answer: dict[str, Any] = {"id": run.id, "out": run.kept.decode("utf-8", "replace")}
        if told:
            answer["broken"] = f"it could not be started: {told.decode(errors='replace')}"
        elif run.timed_out:
            answer["timed_out"] = True
        elif os.WIFSIGNALED(status):
            answer["signal"] = signal.Signals(os.WTERMSIG(status)).name
        else:
            answer["code"] = os.waitstatus_to_exitcode(status)
        self._say(answer)

    def _say(self, answer: dict[str, Any]) -> None:
        try:
            self._link.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass  # the keeper is gone: the next look at the socket says so


def _become(request: dict[str, Any], directories: list[str], out: int, failure: int, prober: int) -> None:
    """In the newborn: take on the agent's identity and exec. Never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        probe_tree.join(directories)
        _oom_first()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.getpriority(os.PRIO_PROCESS, 0) < 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        os.umask(0o022)
        if request.get("uid") is not None:
            os.setgroups(request["groups"])
            os.setgid(request["gid"])
            os.setuid(request["uid"])
        kernel.die_with_parent(signal.SIGKILL)  # after the change of user, which would undo it
        if os.getppid() != prober:
            os._exit(UNRUNNABLE)
        os.chdir(request["cwd"])
        env = {**request["env"], probe_tree.MARK_ENV: request["mark"]}
        os.execvpe(request["argv"][0], request["argv"], env)
    except OSError as error:
        os.write(failure, (error.strerror or str(error)).encode()[:200])
    except BaseException as error:
        os.write(failure, type(error).__name__.encode())
    finally:
        os._exit(UNRUNNABLE)


def _oom_first() -> None:
    """A wish, not a limit."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(OOM_SCORE_ADJ))
    except OSError:
        pass


def _nothing(number: int, frame: object) -> None:
    """Makes SIGCHLD write to the wake-up descriptor."""


def main() -> int:
    """`python -P -m holdfast.health.prober FD`"""
    link = socket.socket(fileno=int(sys.argv[1]))
    link.set_inheritable(False)
    kernel.become_subreaper()
    kernel.name_process("holdfast-probe")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with the keeper, after its runs
    signal.signal(signal.SIGCHLD, _nothing)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    prober = Prober(link)
    try:
        prober.serve(ours.fileno())
    finally:
        prober.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
