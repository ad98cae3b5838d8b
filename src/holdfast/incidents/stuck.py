"""Where a tree was stuck: the one function to name, and questions the cause rules ask of a bundle. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from holdfast import limits
from holdfast.evidence.model import Bundle, Frame, Process, Socket, Thread

# Code in which every program waits: the function that called it is the one to name.
_LIBRARY_PARTS = (
    "/lib/python", "/lib64/python", "/site-packages/", "/dist-packages/", "<frozen ", "node:", "/node_modules/",
    "libc.so", "ld-linux", "libpthread",
)  # fmt: skip
_INSTALLED_PARTS = ("/site-packages/", "/dist-packages/", "/node_modules/")
_NATIVE_WAITS = frozenset((
    "poll", "epoll_wait", "epoll_pwait", "select", "read", "recv", "nanosleep", "clock_nanosleep", "syscall", "pause",
    "futex_wait", "libc_start_main", "libc_start_call_main", "start",
))  # fmt: skip
NETWORK_FUNCTIONS = frozenset((
    "recv", "recv_into", "recvfrom", "read_until", "readinto", "connect", "create_connection", "sock_connect",
    "do_handshake", "getaddrinfo", "getresponse", "_read_status", "urlopen", "send_request", "sendall",
))  # fmt: skip
_RECEIVING = frozenset({"45", "47", "207", "212"})  # recvfrom and recvmsg, on x86-64 and arm64
_RECEIVING_IN_KERNEL = ("tcp_recv", "sk_wait_data", "inet_recvmsg", "unix_stream_read")


class Spot(Struct, frozen=True, kw_only=True):
    """`function` is the agent's own where there is one; `inner`: the innermost call."""

    pid: int
    thread: str
    function: str
    file: str
    line: int
    inner: str


def spot(bundle: Bundle | None) -> Spot | None:
    """The function to name: of the main process's main thread, else of the first thread with a stack."""
    for process, thread in _stacked(bundle):
        frame = own_frame(thread.frames)
        if frame is not None:
            return Spot(
                pid=process.pid,
                thread=thread.name,
                function=frame.function,
                file=frame.file,
                line=frame.line,
                inner=thread.frames[0].function,
            )
    return None


def own_frame(frames: tuple[Frame, ...]) -> Frame | None:
    """The innermost frame of the agent's own code; without one, the innermost.

    The program may be an installed package, with nothing of its own but a launcher in bin/: then its packages are it.
    """
    for frame in frames:
        if _is_launcher(frame):
            break
        if not any(part in frame.file for part in _LIBRARY_PARTS) and frame.function.lstrip("_") not in _NATIVE_WAITS:
            return frame
    installed = (frame for frame in frames if any(part in frame.file for part in _INSTALLED_PARTS))
    return next(installed, frames[0] if frames else None)


def _is_launcher(frame: Frame) -> bool:
    return frame.function == "<module>" and frame.file.rpartition("/")[0].endswith("/bin")


def place(spot: Spot) -> str:
    """ "stuck_here (agent.py:12)"."""
    name = spot.file.rpartition("/")[2]
    return f"{spot.function} ({name}:{spot.line})" if name and spot.line else spot.function


def _stacked(bundle: Bundle | None) -> Iterator[tuple[Process, Thread]]:
    if bundle is None:
        return
    for process in bundle.processes:
        main = [thread for thread in process.threads if thread.tid == process.pid]
        rest = [thread for thread in process.threads if thread.tid != process.pid]
        for thread in main + rest:
            if thread.frames:
                yield process, thread


def main_process(bundle: Bundle | None) -> Process | None:
    if bundle is None:
        return None
    return next((process for process in bundle.processes if process.pid == bundle.main_pid), None)


def threads_in(bundle: Bundle | None, *states: str) -> list[tuple[Process, Thread]]:
    """Threads in one of the states, of all processes."""
    if bundle is None:
        return []
    return [(process, thread) for process in bundle.processes for thread in process.threads if thread.state in states]


def all_wait_for_locks(process: Process) -> bool:
    """Whether every thread sleeps on a lock, and at least one of them shows where."""
    threads = process.threads
    if not threads or len(threads) < process.threads_total:
        return False
    return all(_on_lock(thread) for thread in threads) and any(thread.frames for thread in threads)


def _on_lock(thread: Thread) -> bool:
    return thread.state == "S" and (thread.waits_for_lock or "futex" in thread.wchan)


def same_twice(process: Process) -> Frame | None:
    """The function in which a busy thread was in both samples."""
    for thread in process.threads:
        first, second = own_frame(thread.frames), own_frame(thread.again)
        if first is not None and second is not None and first.function == second.function:
            return first
    return None


def reads_network(process: Process) -> Thread | None:
    """A thread that waits for data of a peer: its innermost calls or the kernel say so."""
    for thread in process.threads:
        inner = {frame.function.rpartition(".")[2] for frame in thread.frames[:6]}
        kernel = " ".join((thread.wchan, *thread.kernel_stack))
        receives = thread.syscall.split(" ")[0] in _RECEIVING or any(word in kernel for word in _RECEIVING_IN_KERNEL)
        if thread.state == "S" and (inner & NETWORK_FUNCTIONS or receives):
            return thread
    return None


def silent_sockets(process: Process, least_s: float = limits.SOCKET_OLD_S) -> list[Socket]:
    """Connections of which nothing was heard for so long, longest first."""
    found = [
        each
        for each in process.sockets
        if each.remote and each.kind == "tcp" and each.silent_s is not None and each.silent_s >= least_s
    ]
    return sorted(found, key=lambda each: -(each.silent_s or 0.0))
