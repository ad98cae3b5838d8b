"""The spawner: a small single-threaded process that gives birth to agents as init's own children.

Init asks over a SEQPACKET pair: {"agent","epoch","def","env"}. The spawner answers {"agent","epoch","pid"} or
{"agent","epoch","failed": errno, "stage", "reason"}; the newborn itself reports a failure between its birth and
its exec on the same socket. Three facts make double starts impossible:

- the agent's lock is taken before the birth and inherited through exec, so a second birth is refused while any
  process of the first lives ("busy");
- the spawner dies with init and holds `spawner.lock`, as does every newborn until its exec: whoever holds that
  lock next knows that nothing is in flight;
- the instance id is in the environment of everything that got past exec.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import socket
import stat
from typing import Any

from holdfast.init import kernel

FDS_MAX = 1 << 20
MESSAGE_MAX_BYTES = 400_000  # environment and arguments of one agent; the kernel allows 2 MiB to exec
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)


class Stage(Exception):
    """Where a birth failed."""

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(name)
        self.name, self.error = name, error


def start(lock_fd: int) -> tuple[int, socket.socket]:
    """Fork the spawner. `lock_fd` holds spawner.lock and is handed over: the caller closes its copy."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for side in (ours, theirs):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            side.setsockopt(socket.SOL_SOCKET, option, MESSAGE_MAX_BYTES)
    pid = os.fork()
    if pid == 0:
        try:
            kernel.die_with_parent(signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in RESET_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            ours.close()
            keep = sorted((lock_fd, theirs.fileno()))
            for low, high in ((3, keep[0]), (keep[0] + 1, keep[1]), (keep[1] + 1, FDS_MAX)):
                os.closerange(low, high)
            kernel.name_process("holdfast-spawn")
            serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    ours.setblocking(False)
    return pid, ours


def serve(link: socket.socket) -> None:
    """Until init is gone."""
    while True:
        raw = link.recv(MESSAGE_MAX_BYTES)
        if not raw:
            return
        request = json.loads(raw)
        answer = {"agent": request["agent"], "epoch": request["epoch"]}
        try:
            answer["pid"] = _give_birth(link, request)
        except Stage as failure:
            answer.update(failed=failure.error.errno or 0, stage=failure.name, reason=failure.error.strerror)
        link.send(json.dumps(answer).encode())


def _give_birth(link: socket.socket, request: dict[str, Any]) -> int:
    definition = request["def"]
    opened: list[int] = []
    try:
        lock = _open("lock", definition["lock"], os.O_RDWR | os.O_CREAT, opened)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Stage("busy", error) from error
        output = _open_output(definition["fifo"], opened)
        group = None
        if definition.get("cgroup_v2"):
            group = _open("cgroup", definition["cgroup_v2"], os.O_RDONLY | os.O_DIRECTORY, opened)
        try:
            pid = kernel.clone_sibling(group)
        except OSError as error:
            raise Stage("fork", error) from error
        if pid == 0:
            _become(link, request, lock, output)
        return pid
    finally:
        for fd in opened:
            os.close(fd)


def _open(stage: str, path: str, flags: int, opened: list[int]) -> int:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Stage(stage, error) from error
    opened.append(fd)
    return fd


def _open_output(path: str, opened: list[int]) -> int:
    """A FIFO is opened for reading too, so that its writers outlive every reader; a file is appended to."""
    try:
        is_fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except FileNotFoundError:
        is_fifo = False
    except OSError as error:
        raise Stage("output", error) from error
    flags = os.O_RDWR if is_fifo else os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return _open("output", path, flags, opened)


def _become(link: socket.socket, request: dict[str, Any], lock: int, output: int) -> None:
    """In the newborn: take on the agent's identity and exec. Never returns."""
    stage = "setup"
    definition = request["def"]
    try:
        os.setsid()
        if os.getpriority(os.PRIO_PROCESS, 0) < 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        stage = "cgroup"
        for directory in definition.get("cgroup_v1", ()):
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write("0")
        stage = "limits"
        _limit(resource.RLIMIT_NOFILE, definition.get("nofile"))
        _limit(resource.RLIMIT_DATA, definition.get("data_bytes"))
        if definition.get("oom_score_adj") is not None:
            _prefer(definition["oom_score_adj"])
        stage = "output"
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(lock, True)
        if null > 2:
            os.close(null)
        stage = "user"
        if definition.get("uid") is not None:
            os.setgroups(definition.get("groups", []))
            os.setgid(definition["gid"])
            os.setuid(definition["uid"])
        stage = "working_dir"
        os.umask(definition.get("umask", 0o022))
        os.chdir(definition["cwd"])
        stage = "command"
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        _exec(definition["argv"], request["env"])
    except OSError as error:
        answer = {
            "agent": request["agent"],
            "epoch": request["epoch"],
            "pid": os.getpid(),
            "failed": error.errno or 0,
            "stage": stage,
            "reason": error.strerror,
        }
        link.send(json.dumps(answer).encode())
    finally:
        os._exit(127)


def _exec(argv: list[str], env: dict[str, str]) -> None:
    program = argv[0]
    if "/" in program:
        os.execve(program, argv, env)
    denied: OSError | None = None
    for directory in env.get("PATH", DEFAULT_PATH).split(":"):
        try:
            os.execve(f"{directory or '.'}/{program}", argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _prefer(oom_score_adj: int) -> None:
    """A wish, not a limit: lowering it needs a right that even root may lack in a container."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(oom_score_adj))
    except PermissionError:
        pass


def _limit(kind: int, value: int | None) -> None:
    """Set the soft limit, and the hard one where we may; an ordinary user cannot raise the hard one."""
    if value is None:
        return
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or value <= hard:
        resource.setrlimit(kind, (value, value))
    else:
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):
            resource.setrlimit(kind, (hard, hard))
