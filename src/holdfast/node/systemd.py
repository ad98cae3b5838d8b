"""systemd as a tool: units as text, asking and telling systemctl, lingering. Nothing here decides.

Invariant: every call has a time-out and ends in a HoldfastError SERVICE_FAILED with systemd's own words, or in facts.
A user's manager is spoken to as that user. Called by services (our own unit) and by adoption (units of others).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from holdfast import errors, limits
from holdfast.errors import HoldfastError

Scope = Literal["system", "user"]
SUBGROUP_SINCE = 254  # DelegateSubgroup=
RUNTIME_ENV = "HOLDFAST_SYSTEMD_RUN"  # where systemd says that it runs; tests point elsewhere
_ENABLED = ("enabled", "enabled-runtime", "linked", "linked-runtime", "alias")
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "FragmentPath", "TimeoutStopUSec")


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of one unit."""

    load: str
    active: str
    file_state: str
    main_pid: int
    path: str
    stop_timeout_s: float | None = None  # None: not told, or without end

    @property
    def exists(self) -> bool:
        return self.load == "loaded"

    @property
    def is_active(self) -> bool:
        return self.active in ("active", "activating", "reloading", "deactivating")

    @property
    def is_enabled(self) -> bool:
        return self.file_state in _ENABLED


@dataclass(frozen=True, slots=True)
class Systemctl:
    """One manager: the system's, or the one of user `uid`."""

    scope: Scope
    uid: int

    def available(self) -> bool:
        """Whether this manager runs and answers."""
        if shutil.which("systemctl") is None or not runs():
            return False
        try:
            return self._run("show-environment").returncode == 0
        except HoldfastError:
            return False

    def show(self, unit: str) -> UnitState:
        """Raises SERVICE_FAILED when systemd does not answer; a unit it does not know has `load` not-found."""
        done = self._must("show", unit, "--property=" + ",".join(_PROPERTIES))
        return parse_show(done.stdout)

    def tell(self, *arguments: str, timeout_s: float = limits.SYSTEMCTL_TIMEOUT_S) -> None:
        """Carry out one command. Raises SERVICE_FAILED with the reason."""
        self._must(*arguments, timeout_s=timeout_s)

    def try_to(self, *arguments: str) -> str:
        """As `tell`; the reason instead of an error, "" when it was done."""
        try:
            self._must(*arguments)
        except HoldfastError as error:
            return str(error.detail.get("reason", error.summary))
        return ""

    def state(self) -> str:
        """running, degraded, stopping, …; "" when the manager does not answer."""
        try:
            return self._run("is-system-running").stdout.strip()
        except HoldfastError:
            return ""

    def unit_directory(self) -> Path:
        """Where units made by people belong."""
        if self.scope == "system":
            return Path("/etc/systemd/system")
        return _config_home(self.uid) / "systemd/user"

    def runtime_directory(self) -> Path:
        """Where units live until the next boot."""
        if self.scope == "system":
            return Path("/run/systemd/system")
        own = os.environ.get("XDG_RUNTIME_DIR") if self.uid == os.geteuid() else None
        return Path(own or f"/run/user/{self.uid}", "systemd/user")

    def _must(self, *arguments: str, timeout_s: float = limits.SYSTEMCTL_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        done = self._run(*arguments, timeout_s=timeout_s)
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            reason = words[-1] if words else f"exit code {done.returncode}"
            raise HoldfastError(errors.SERVICE_FAILED, program=f"systemctl {arguments[0]}", reason=reason)
        return done

    def _run(self, *arguments: str, timeout_s: float = limits.SYSTEMCTL_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        command = ["systemctl", *(("--user",) if self.scope == "user" else ()), "--no-pager", "--no-ask-password"]
        return run_as(self.uid if self.scope == "user" else os.geteuid(), [*command, *arguments], timeout_s)


def parse_show(text: str) -> UnitState:
    """The answer of `systemctl show`, one NAME=VALUE a line. Pure."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    pid = found.get("MainPID", "0")
    return UnitState(
        load=found.get("LoadState", "not-found"),
        active=found.get("ActiveState", "inactive"),
        file_state=found.get("UnitFileState", ""),
        main_pid=int(pid) if pid.isdecimal() else 0,
        path=found.get("FragmentPath", ""),
        stop_timeout_s=parse_span(found.get("TimeoutStopUSec", "")),
    )


def parse_span(text: str) -> float | None:
    """A time span as systemd prints it ("1min 30s", "330s", "infinity") in seconds; None without an end. Pure."""
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(us|ms|min|s|h|d|w)", text)
    return sum(float(number) * units[unit] for number, unit in parts) if parts else None


def runs() -> bool:
    """Whether systemd is this machine's init; the directory is what systemd itself documents for asking that."""
    return Path(os.environ.get(RUNTIME_ENV, "/run/systemd/system")).is_dir()


def version() -> int:
    """systemd's number; 0 when it cannot be told."""
    try:
        done = subprocess.run(
            ["systemctl", "--version"],
            capture_output=True,
            text=True,
            timeout=limits.SYSTEMCTL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.match(r"systemd (\d+)", done.stdout)
    return int(match[1]) if match else 0


def lingers(uid: int) -> bool:
    """Whether the user's manager outlives their logout and starts at boot."""
    return Path("/var/lib/systemd/linger", user_name(uid)).exists()


def set_linger(uid: int, on: bool) -> str:
    """Switch lingering; "" when done, else the reason."""
    command = ["loginctl", "enable-linger" if on else "disable-linger", user_name(uid)]
    try:
        done = run_as(os.geteuid(), command, limits.SYSTEMCTL_TIMEOUT_S)
    except HoldfastError as error:
        return str(error.detail.get("reason", error.summary))
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")


def run_as(
    uid: int, command: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as a user, with what that user's session would have. Raises SERVICE_FAILED when it cannot."""
    other: dict[str, Any] = {}
    environment = {**os.environ, **(env or {})}
    if uid != os.geteuid():
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise HoldfastError(errors.SERVICE_FAILED, program=command[0], reason=f"no user has number {uid}") from None
        other = {"user": uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(entry.pw_name, entry.pw_gid)}
        for name in [name for name in environment if name.startswith("XDG_")]:
            del environment[name]
        environment |= {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    if "--user" in command:
        environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{uid}")
        environment.setdefault("DBUS_SESSION_BUS_ADDRESS", f"unix:path=/run/user/{uid}/bus")
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            **other,
        )
        return done
    except subprocess.TimeoutExpired:
        reason = f"no answer within {timeout_s:g} s"
        raise HoldfastError(errors.SERVICE_FAILED, program=command[0], reason=reason) from None
    except OSError as error:
        raise HoldfastError(errors.SERVICE_FAILED, program=command[0], reason=error.strerror or error) from error


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def quote(argument: str) -> str:
    """One argument of ExecStart= or Environment=, safe from systemd's own specifiers and expansion. Pure."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{escaped}"' if re.search(r"[^\w@%+=:,./-]", argument) or not argument else escaped


def quote_command(arguments: Sequence[str]) -> str:
    """A whole command line; `$` is doubled, since ExecStart= replaces variables. Pure."""
    return " ".join(quote(each.replace("$", "$$")) for each in arguments)


def _config_home(uid: int) -> Path:
    if uid == os.geteuid() and os.environ.get("XDG_CONFIG_HOME"):
        return Path(os.environ["XDG_CONFIG_HOME"])
    try:
        home = os.environ.get("HOME") if uid == os.geteuid() else None
        return Path(home or pwd.getpwuid(uid).pw_dir) / ".config"
    except KeyError:
        return Path("/nonexistent")
