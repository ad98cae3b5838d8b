"""Starting, finding, weighing and ending processes, so that a measurement leaves none behind.

The harness is a child subreaper: whatever it starts stays its descendant even when supervisors in between are killed.
It therefore never has to end a process by name, and `end_descendants` is complete. One thread reaps everything at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.005
_ended = threading.Condition()
_exit_codes: dict[int, int | None] = {}  # of commands that are waited for; others would meet a later user of their pid


class TooSlow(Exception):
    """A wait ran into its deadline; the text says what was waited for."""


class CommandFailed(Exception):
    """A command ended with another code than 0; the text holds the end of its output."""


def become_subreaper() -> None:
    """Call once, before anything is started."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    threading.Thread(target=_reap_for_ever, name="reaper", daemon=True).start()


def _reap_for_ever() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.02)
            continue
        with _ended:
            if pid in _exit_codes:
                _exit_codes[pid] = os.waitstatus_to_exitcode(status)
                _ended.notify_all()


def spawn(
    argv: Sequence[str | os.PathLike[str]],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    keep: Sequence[int] = (),
) -> int:
    """Start a process in a session of its own, output appended to `log`; returns its pid. `keep`: descriptors."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            pass_fds=keep,
            start_new_session=True,
        )
    process.returncode = 0  # the reaper thread collects it, not this object
    return process.pid


def command(
    argv: Sequence[str | os.PathLike[str]],
    log: Path,
    *,
    timeout_s: float,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    good: Sequence[int] = (0,),
) -> str:
    """Run a command to its end and return what it printed. Raises CommandFailed or TooSlow (then it was killed)."""
    log.unlink(missing_ok=True)
    with _ended:  # held while it starts: the reaper cannot overlook its end
        pid = spawn(argv, log, env=env, cwd=cwd)
        _exit_codes[pid] = None
        in_time = _ended.wait_for(lambda: _exit_codes[pid] is not None, timeout_s)
        code = _exit_codes.pop(pid)
        if not in_time:
            kill(pid)
            raise TooSlow(f"{argv[0]} did not end within {timeout_s:.0f} s")
    text = log.read_text(errors="replace")
    if code not in good:
        raise CommandFailed(f"{' '.join(map(str, argv[:4]))}: exit {code}: {text[-600:].strip()}")
    return text


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float, poll_s: float = POLL_S) -> None:
    """Poll `condition`; raises TooSlow naming `what`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TooSlow(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(poll_s)


def free_port() -> int:
    """A port on loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children() -> dict[int, list[int]]:
    """Every process of the machine by its parent; zombies are left out."""
    tree: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state not in "ZX":
            tree.setdefault(int(parent), []).append(int(entry))
    return tree


def descendants(roots: Iterable[int]) -> list[int]:
    """Roots that live and everything below them, parents before children."""
    tree = children()
    living = {pid for pids in tree.values() for pid in pids}
    found: dict[int, None] = {}  # ordered set
    level = [pid for pid in roots if pid in living]
    while level:
        found.update(dict.fromkeys(level))
        level = [child for pid in level for child in tree.get(pid, []) if child not in found]
    return list(found)


def argv_of(pid: int) -> list[str]:
    """Command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def kill(pid: int) -> None:
    """kill -9, without complaint when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def end_descendants(timeout_s: float = 30.0) -> tuple[int, int]:
    """Kill everything this harness started, parents first so that nothing is restarted.

    Returns how many had to be ended and how many are left when time is up.
    """
    ended: set[int] = set()
    living: list[int] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        living = [pid for pid in descendants([os.getpid()]) if pid != os.getpid()]
        if not living:
            break
        for pid in living:
            kill(pid)
        ended.update(living)
        time.sleep(0.02)
    return len(ended), len(living)


@dataclass(frozen=True, slots=True)
class Weight:
    """Memory of a set of processes in kB. `alone_kb`: private pages plus the largest shared part once, an estimate of
    the PSS when no other program on the machine shares the same libraries."""

    pss_kb: int
    rss_kb: int
    private_kb: int
    alone_kb: int
    processes: int


def weigh(pids: Iterable[int]) -> Weight:
    """Sum of smaps_rollup over the processes; those that end meanwhile are left out."""
    pss = rss = private = shared = count = 0
    for pid in pids:
        fields: dict[str, int] = {}
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                key, value = line.split(":")
                fields[key] = int(value.split()[0])
        except (OSError, ValueError):
            continue
        count += 1
        pss += fields["Pss"]
        rss += fields["Rss"]
        own = fields["Private_Clean"] + fields["Private_Dirty"]
        private += own
        shared = max(shared, fields["Rss"] - own)
    return Weight(pss, rss, private, private + shared, count)


@dataclass(frozen=True, slots=True)
class Use:
    """What a process has used so far: seconds on a CPU and voluntary context switches, summed over its threads."""

    cpu_s: float
    wakeups: int


def used(pid: int) -> Use | None:
    """From schedstat and status of every thread; None when the process is gone."""
    nanoseconds = switches = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            base = Path(f"/proc/{pid}/task/{thread}")
            nanoseconds += int((base / "schedstat").read_text().split()[0])
            for line in (base / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    switches += int(line.split()[1])
    except OSError:
        return None
    return Use(nanoseconds / 1e9, switches)


def use_over(
    pids: Iterable[int], seconds: float, meanwhile: Callable[[], object] | None = None, every_s: float = 5.0
) -> dict[int, Use]:
    """What each process used during the next `seconds`; those that did not live throughout are left out.

    `meanwhile` is called every `every_s` of them.
    """
    before = {pid: used(pid) for pid in pids}
    end_mono = time.monotonic() + seconds
    while (left_s := end_mono - time.monotonic()) > 0:
        if meanwhile is not None:
            meanwhile()
        time.sleep(min(left_s, every_s))
    spent: dict[int, Use] = {}
    for pid, start in before.items():
        end = used(pid)
        if start is not None and end is not None:
            spent[pid] = Use(end.cpu_s - start.cpu_s, end.wakeups - start.wakeups)
    return spent
