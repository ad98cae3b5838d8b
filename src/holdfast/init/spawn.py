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

import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable
from typing import Any

from holdfast.init import joining, kernel

FDS_MAX = 1 << 20
MESSAGE_MAX_BYTES = 400_000  # environment and arguments of one agent; the kernel allows 2 MiB to exec
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_UMASK = 0o022
KEEPER = "@keeper"  # born as favoured as we are: while it comes up nobody holds memory; it gives that back itself
RESET_SIGNALS = (
    *(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores these two, and what is ignored stays so through exec
    *(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP),
)

Step = tuple[str, Callable[..., Any], tuple[Any, ...]]
"""Its stage in words, and the call."""
Image = tuple[list[bytes], "ctypes.Array[ctypes.c_char_p]", "ctypes.Array[ctypes.c_char_p]"]


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
    """Until init is gone. What every newborn has in common is set here once and inherited."""
    gc.disable()  # a collection in a newborn would copy every page it looks at
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    if null > 2:
        os.close(null)
    os.umask(DEFAULT_UMASK)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    favoured = os.getpriority(os.PRIO_PROCESS, 0) < 0
    joins = joining.Joining(link)
    while True:
        joins.work()
        raw = link.recv(MESSAGE_MAX_BYTES)
        if not raw:
            return
        request = json.loads(raw)
        if "join" in request:
            joins.asked(request["join"], born=False)
            continue
        answer = {"agent": request["agent"], "epoch": request["epoch"]}
        try:
            answer["pid"] = _give_birth(link, request, favoured)
        except Stage as failure:
            answer.update(failed=failure.error.errno or 0, stage=failure.name, reason=failure.error.strerror)
        else:
            joins.asked(request["def"], born=True)
        link.send(json.dumps(answer).encode())


def _give_birth(link: socket.socket, request: dict[str, Any], favoured: bool) -> int:
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
        steps = _steps(definition, lock, output, favoured, request["agent"] == KEEPER)
        image = _image(definition["argv"], request["env"])
        try:
            pid = kernel.clone_sibling(group)
        except OSError as error:
            raise Stage("fork", error) from error
        if pid == 0:
            _become(link, request, steps, image)
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


def _steps(definition: dict[str, Any], lock: int, output: int, favoured: bool, keeper: bool = False) -> list[Step]:
    """What the newborn does before its exec, worked out before it is born: it should touch as little as it can."""
    steps: list[Step] = [("setup", os.setsid, ())]
    if favoured:
        steps.append(("setup", _hurry, ()) if keeper else ("setup", os.setpriority, (os.PRIO_PROCESS, 0, 0)))
    steps += [("cgroup", _join, (f"{directory}/cgroup.procs",)) for directory in definition.get("cgroup_v1", ())]
    for kind, value in ((resource.RLIMIT_NOFILE, "nofile"), (resource.RLIMIT_DATA, "data_bytes")):
        wanted = definition.get(value)
        if wanted is not None and resource.getrlimit(kind) != (wanted, wanted):
            steps.append(("limits", _limit, (kind, wanted)))
    if definition.get("oom_score_adj") is not None:
        steps.append(("limits", _prefer, (definition["oom_score_adj"],)))
    steps += [
        ("output", os.dup2, (output, 1)),
        ("output", os.dup2, (output, 2)),
        ("output", os.set_inheritable, (lock, True)),
    ]
    if definition.get("uid") is not None:
        steps += [
            ("user", os.setgroups, (definition.get("groups", []),)),
            ("user", os.setgid, (definition["gid"],)),
            ("user", os.setuid, (definition["uid"],)),
        ]
    if definition.get("umask", DEFAULT_UMASK) != DEFAULT_UMASK:
        steps.append(("working_dir", os.umask, (definition["umask"],)))
    steps.append(("working_dir", os.chdir, (definition["cwd"],)))
    return steps


def _hurry() -> None:
    """Favoured it is by birth; where each session is weighed as one, its new session is not yet."""
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(os.getpriority(os.PRIO_PROCESS, 0)))
    except OSError:
        pass  # not in this kernel


def _image(argv: list[str], env: dict[str, str]) -> Image:
    """What to execute: every path to try in turn, arguments and environment as the kernel takes them."""
    program = argv[0]
    if "/" in program:
        paths = [os.fsencode(program)]
    else:
        directories = env.get("PATH", DEFAULT_PATH).split(":")
        paths = [os.fsencode(f"{directory or '.'}/{program}") for directory in directories]
    return paths, kernel.c_strings(argv), kernel.c_strings([f"{key}={value}" for key, value in env.items()])


def _become(link: socket.socket, request: dict[str, Any], steps: list[Step], image: Image) -> None:
    """In the newborn: take on the agent's identity and exec. Never returns."""
    stage = "setup"
    try:
        for stage, function, arguments in steps:  # noqa: B007  (told when the step fails)
            function(*arguments)
        stage = "command"
        paths, argv, env = image
        failed = errno.ENOENT
        for path in paths:
            number = kernel.execute(path, argv, env)
            if number not in (errno.ENOENT, errno.ENOTDIR):
                failed = number
        raise OSError(failed, os.strerror(failed))
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


def _join(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"0")
    os.close(fd)


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
