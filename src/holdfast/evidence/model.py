"""What is asked of the collector and what it finds. Data only; written to disk, so every field has a default.

Invariant: a bundle holds no environment, and every text in it went through `secrets.mask` before it left the
collector. Called by the collector, the keeper and the post-mortem.
"""

from __future__ import annotations

from msgspec import Struct


class Order(Struct, frozen=True, kw_only=True):
    """Which tree to look at and until when. Comes on standard input: `secrets` must be in no command line.

    `until_mono`: seconds of CLOCK_MONOTONIC, which is the same for all processes. `cgroups`: where the tree may be
    found, best first. `quick`: only what /proc tells. `paused`: it stands still by our doing, so that nothing has to
    attach to it. `inspector_port`: where a Node agent may be asked for its stack.
    """

    agent: str
    instance: int
    pid: int
    starttime: int
    until_mono: float
    cgroups: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    quick: bool = False
    paused: bool = False
    inspector_port: int | None = None


class Frame(Struct, frozen=True, kw_only=True):
    """One call of a stack, innermost first in its list. `line` 0: not known."""

    function: str
    file: str = ""
    line: int = 0


class Thread(Struct, kw_only=True):
    """`syscall`: its number and arguments as the kernel prints them, "running", or "" when it may not be read."""

    tid: int
    name: str = ""
    state: str = ""  # one letter of /proc: R S D T t Z
    wchan: str = ""
    syscall: str = ""
    kernel_stack: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()
    again: tuple[Frame, ...] = ()  # a second sample of a thread that was busy
    waits_for_lock: bool = False


class Socket(Struct, frozen=True, kw_only=True):
    """`silent_s`: nothing was received for so long; None: the kernel does not tell. `unread_bytes`: not yet read."""

    fd: int
    kind: str
    local: str = ""
    remote: str = ""
    state: str = ""
    silent_s: float | None = None
    unread_bytes: int = 0


class Descriptor(Struct, frozen=True, kw_only=True):
    fd: int
    target: str


class Process(Struct, kw_only=True):
    """One process of the tree. `cpu_share`: of one core while we looked."""

    pid: int
    ppid: int = 0
    name: str = ""
    command: tuple[str, ...] = ()
    program: str = ""
    state: str = ""
    age_s: float = 0.0
    cpu_s: float = 0.0
    cpu_share: float | None = None
    rss_bytes: int = 0
    swap_bytes: int = 0
    pss_bytes: int | None = None
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    limits: dict[str, str] = {}
    descriptors_total: int = 0
    descriptors: tuple[Descriptor, ...] = ()
    sockets: tuple[Socket, ...] = ()
    threads_total: int = 0
    threads: tuple[Thread, ...] = ()
    stack_by: str = ""  # what the frames came from: py-spy, eu-stack, inspector


class Bundle(Struct, kw_only=True):
    """All that was found. `gaps`: one sentence for each thing that could not be had, and why."""

    version: int = 1
    agent: str
    instance: int
    taken_at: float = 0.0
    took_s: float = 0.0
    complete: bool = False
    main_pid: int = 0
    processes_total: int = 0
    processes: tuple[Process, ...] = ()
    group: dict[str, dict[str, str]] = {}  # file of the cgroup -> its counters
    gaps: tuple[str, ...] = ()


class KernelLine(Struct, frozen=True, kw_only=True):
    """One line of the kernel's log. `at`: wall clock, 0 where it could not be told."""

    at: float
    text: str
