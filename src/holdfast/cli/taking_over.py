"""Becoming the guard of a home in the foreground, also of one that another guard holds.

Invariants: never two guards (the home's lock decides), and agents are not touched: the former guard is told to leave,
which ends Holdfast's own processes only, and the new one adopts what runs. Called by `holdfast service run`, which a
service manager starts, and by `service install` and `uninstall`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from holdfast import errors, limits
from holdfast.cli import starting
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.node import systemd

IN_SCOPE_ENV = "HOLDFAST_SERVICE_SCOPED"


def run_guard(session: Session) -> NoReturn:
    """Replace this process by guard. Raises ALREADY_OWNED, HOME_UNUSABLE."""
    from holdfast.init import launch

    home = session.home
    home.prepare()
    starting.write_services(home, None)
    take_over(home)
    _enter_scope(home)
    argv = launch.interpreter_argv("guard", "--home", str(home.path), "--run", str(home.run))
    try:
        log = os.open(home.own_logs / "guard.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error
    # Not the service manager's own pipe: a journal that is restarted must not be able to end guard or init.
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.chdir("/")
    os.execve(argv[0], argv, launch.environment())


def take_over(home: Home) -> int | None:
    """Tell the guard that holds the home to leave its agents alone and go; its pid, None when there was none.

    Raises ALREADY_OWNED when it is still there after TAKE_OVER_S seconds.
    """
    if not starting.is_owned(home):
        return None
    last = 0

    def free() -> bool:
        nonlocal last
        if not starting.is_owned(home):
            return True
        pid = owner(home)
        if pid and pid != last:  # a killed guard is replaced by its init under another pid: told once more
            last = pid
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise HoldfastError(errors.ALREADY_OWNED, pid=pid, home=home.path) from error
        return False

    if not starting.wait_for(free, limits.TAKE_OVER_S):
        raise HoldfastError(errors.ALREADY_OWNED, pid=last or "unknown", home=home.path)
    return last or None


def owner(home: Home) -> int:
    """The pid of the guard of this home, seen to be one; 0 while there is none or it has just changed."""
    try:
        pid = int(home.guard_lock.read_text().strip() or 0)
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    wanted = b"\0--home\0" + os.fsencode(home.path) + b"\0"
    return pid if wanted in arguments + b"\0" and b"holdfast.init.guard" in arguments else 0


def _enter_scope(home: Home) -> None:
    """As a user's service under a systemd without DelegateSubgroup=: guard lives in a scope of its own.

    Such a systemd could not start the unit again once its cgroup has become an inner one with agents below.
    """
    if os.environ.pop(IN_SCOPE_ENV, None) or os.getuid() == 0 or "INVOCATION_ID" not in os.environ:
        return
    if not 0 < systemd.version() < systemd.SUBGROUP_SINCE:
        return
    launcher = starting._systemd_launcher()
    if launcher is None:
        return
    os.environ[IN_SCOPE_ENV] = "1"
    own = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(home.path), "service", "run"]
    os.execv(launcher[0], [*launcher, "-p", "Delegate=yes", "--", *own])
