"""What a helper process does first, between its fork and its work, and how it is ended.

Invariant: a helper holds nothing of ours open (locks, pipes, stores), and one that takes on another user's rights
shows that user nothing of our memory, which holds keys. Called by guard.py, freeze.py, validate.py and rehearsal.py.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal

from holdfast.state.model import Rights

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def keep_only(*kept: int) -> tuple[int, ...]:
    """Close every descriptor but these, which get new numbers, as returned; the standard ones lead nowhere."""
    high = max(kept) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, high) for fd in kept]
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    placed = [os.dup2(fd, 3 + number) for number, fd in enumerate(moved)]
    os.closerange(3 + len(placed), os.sysconf("SC_OPEN_MAX"))
    return tuple(placed)


NOBODY = Rights(uid=65_534, gid=65_534)  # the number that owns nothing on Linux


def shut_in(directory: str) -> None:
    """As root: see nothing but this directory, as nobody, for good. It takes files apart that an agent has written."""
    if os.geteuid() == 0:
        os.chroot(directory)
        os.chdir("/")
    become(NOBODY)


def become(rights: Rights | None) -> None:
    """Take on the agent's user for good, unseen by it, and end with the thread that forked us."""
    if rights is not None and os.geteuid() == 0:
        os.setgroups(rights.groups)
        os.setresgid(rights.gid, rights.gid, rights.gid)
        os.setresuid(rights.uid, rights.uid, rights.uid)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of user, which would undo it


def plain_signals(ignored: tuple[signal.Signals, ...] = ()) -> None:
    """Signals as in a fresh process, none blocked: what our parent does about them is not ours to do."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def end(pid: int) -> None:
    """Kill it and collect it: our helpers keep nothing that the kernel does not take back."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        return
