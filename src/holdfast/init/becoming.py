"""Init becomes another program by exec, in its own place: guard when guard died, the next init at an upgrade.

Children stay ours through exec. Invariant: what is handed on is what the next program is told of on its command line,
and our agents' limit of open files. Called by main.py once the journal is settled; imported when init begins, for at
an upgrade the files on disk are the other release's.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import NoReturn

from holdfast.init import launch

CHECK_TIMEOUT_S = 20.0


def guard(options: launch.Options, notify_fd: int) -> NoReturn:
    """Run guard's code in our place, which starts a new init."""
    argv = launch.chosen_argv(
        options.home,
        "guard",
        *("--home", options.home, "--run", options.run),
        *("--lock-fd", str(options.lock_fd), "--notify-fd", str(notify_fd)),
        *("--restarts", str(options.guard_restarts + 1), "--init-restarts", str(options.restarts + 1)),
    )
    _execute(argv, (options.lock_fd, notify_fd), options.nofile)


def next_init(options: launch.Options, notify_fd: int, guard_fd: int) -> NoReturn:
    """Run the code that is installed now, told the same as we were."""
    argv = launch.chosen_argv(options.home, "main", *sys.argv[1:])
    _execute(argv, (options.lock_fd, notify_fd, guard_fd), options.nofile)


def why_not(options: launch.Options) -> str | None:
    """Why the code that is installed now must not take our place: as a child it has to read the journal first."""
    import subprocess  # only an upgrade needs it

    argv = launch.chosen_argv(options.home, "main", "--home", options.home, "--run", options.run, "--check", "yes")
    try:
        proof = subprocess.run(argv, env=launch.environment(), capture_output=True, timeout=CHECK_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if proof.returncode != 0 or not proof.stdout.startswith(b"ready"):
        return proof.stderr.decode(errors="replace")[-2000:] or "the new code did not answer"
    return None


def _execute(argv: list[str], handed_on: tuple[int, ...], nofile: int) -> NoReturn:
    """Nobody shall inherit the wake-up pipe, nor our raised limit of open files."""
    for fd in handed_on:
        os.set_inheritable(fd, True)
    signal.set_wakeup_fd(-1)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, hard))
    os.execve(argv[0], argv, launch.environment())
