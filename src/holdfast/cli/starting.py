"""Bringing Holdfast up in a home, and seeing whether it is there: shared by up, run and down.

Invariant: starting is idempotent; the home's lock decides who owns it, so two starters at once make one Holdfast.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast import errors
from holdfast.cli.client import KeeperClient
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError
from holdfast.files import write_atomic
from holdfast.home import Home

SCOPED_ENV = "HOLDFAST_SCOPED"  # set once we run inside a delegated scope, so that we re-execute only once
SYSTEMD_ANSWER_MAX_S = 5.0
INSTANCE_ENV = b"HOLDFAST_INSTANCE="  # what init puts into the environment of everything it starts
TELL_AFTER_S = 2.0  # a start that takes longer is worth a word


def service_argv(home: Home) -> dict[str, object]:
    """How init starts keeper and logger. `-P`: a directory named holdfast where we stand is not imported."""
    return {
        name: {"argv": [sys.executable, "-P", "-m", module, "--home", str(home.path)]}
        for name, module in (("keeper", "holdfast.keeper"), ("logger", "holdfast.logs"))
    }


def write_services(home: Home, last_resort: Sequence[str] | None) -> None:
    """Write services.json. `last_resort` None keeps the one that stands there."""
    write_services_text(home, services_text(home, last_resort))


def services_text(home: Home, last_resort: Sequence[str] | None) -> bytes:
    """What services.json says when this code shall run."""
    if last_resort is None:
        try:
            last_resort = json.loads(home.services.read_text()).get("last_resort", [])
        except (OSError, ValueError, AttributeError):
            last_resort = []
    from holdfast.init.launch import own_code

    # `code` and `pythonpath`: what init becomes at an upgrade, and where its keeper finds the same code.
    code = {"code": own_code(), "pythonpath": os.environ.get("PYTHONPATH")}
    services = {**service_argv(home), **code, "last_resort": list(last_resort or [])}
    return json.dumps(services, indent=1).encode() + b"\n"


def write_services_text(home: Home, text: bytes) -> None:
    """Replace services.json. Raises HOME_UNUSABLE."""
    try:
        write_atomic(home.services, text)
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error


def is_owned(home: Home) -> bool:
    """Whether a guard or an init holds the home."""
    try:
        fd = os.open(home.guard_lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def start_holdfast(session: Session, client: KeeperClient, last_resort: Sequence[str] | None, timeout_s: float) -> bool:
    """Make sure that a keeper answers. True when this call started Holdfast, False when it was there already.

    Raises HoldfastError: HOME_UNUSABLE, DAEMON_DID_NOT_START.
    """
    from holdfast.init.launch import start_guard

    home = session.home
    home.prepare()
    write_services(home, last_resort)
    if client.is_up():
        return False
    started = not is_owned(home)
    if started:
        from holdfast.cli.service_record import start_unit

        try:
            if not start_unit(home):
                start_guard(str(home.path), str(home.run))
        except OSError as error:
            raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error
    if not client.wait_until_up(min(timeout_s, TELL_AFTER_S)):
        session.hint(f"waiting for Holdfast in {home.path} …")
        if not client.wait_until_up(max(0.0, timeout_s - TELL_AFTER_S)):
            raise HoldfastError(errors.DAEMON_DID_NOT_START, timeout_s=f"{timeout_s:g}", log=home.own_logs)
    return started


def enter_delegated_scope(session: Session, arguments: Sequence[str]) -> None:
    """As an ordinary user under systemd: run this command once more inside a scope with a cgroup of its own.

    Returns when there is nothing to do or no way to do it; otherwise this process becomes systemd-run.
    """
    if os.environ.pop(SCOPED_ENV, None) or os.getuid() == 0 or is_owned(session.home):
        return
    launcher = _systemd_launcher()
    if launcher is None:
        return
    if not Path(f"/var/lib/systemd/linger/{_user_name()}").exists():
        session.hint("hint: agents end when you log out; `loginctl enable-linger` keeps them")
    os.environ[SCOPED_ENV] = "1"
    own = [sys.executable, "-P", "-m", "holdfast.cli", *arguments]
    os.execv(launcher[0], [*launcher, "-p", "Delegate=yes", "--", *own])


def _systemd_launcher() -> list[str] | None:
    """The start of a systemd-run command line that was just seen to work, or None."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    program = shutil.which("systemd-run")
    if not runtime or program is None or not Path("/run/systemd/system").is_dir():
        return None
    if not Path(runtime, "systemd", "private").exists():
        return None
    launcher = [program, "--user", "--scope", "--quiet", "--collect"]
    try:
        trial = subprocess.run([*launcher, "true"], capture_output=True, timeout=SYSTEMD_ANSWER_MAX_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return launcher if trial.returncode == 0 else None


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def agents_left(home: Home) -> dict[int, str]:
    """Processes of this home's agents that live now, found by their environment: pid to agent name.

    As an ordinary user only one's own processes can be seen.
    """
    try:
        marker = INSTANCE_ENV + home.home_id().encode() + b":"
    except OSError:
        return {}
    found: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue
        for variable in environment.split(b"\0"):
            if variable.startswith(marker):
                name = variable[len(marker) :].rsplit(b":", 1)[0]
                found[int(entry)] = name.decode("utf-8", "replace")
    return found


def wait_for(condition: Callable[[], bool], timeout_s: float, step_s: float = 0.05) -> bool:
    """True as soon as `condition` holds, False when it did not within `timeout_s` seconds."""
    deadline_mono = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline_mono:
            return False
        time.sleep(step_s)
    return True
