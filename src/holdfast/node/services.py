"""Holdfast as a service of the machine: the text of its unit, the line of a crontab, and who else starts services here.

Pure but for reading and writing a crontab. Invariants: the unit never takes agents down with it (KillMode=process),
one guard owns a home (the command takes over from a guard that runs already), and what is taken out again leaves every
other line as it was. Called by cli/service.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.init.guard import EXIT_DOWN
from holdfast.node import delegation, systemd

DEFAULT_NAME = "holdfast"
CRON_MARK = "# holdfast"


def unit_name(home: Home, is_default: bool) -> str:
    """`holdfast.service` for the default home; another home's unit carries the home's id."""
    return f"{DEFAULT_NAME}.service" if is_default else f"{DEFAULT_NAME}-{home.home_id()}.service"


def unit_text(home: Path, command: Sequence[str], scope: systemd.Scope, environment: Mapping[str, str]) -> str:
    """The whole unit. `command`: how to start holdfast, with `--home` and without a subcommand. Pure."""
    at_boot = "multi-user.target" if scope == "system" else "default.target"
    network = "After=network-online.target\nWants=network-online.target\n" if scope == "system" else ""
    variables = "".join(
        f"Environment={systemd.quote(f'{name}={value}')}\n" for name, value in sorted(environment.items())
    )
    start, stop, again = (systemd.quote_command([*command, "service", verb]) for verb in ("run", "stopping", "reload"))
    return f"""\
# Written by `holdfast service install`; taken away by `holdfast service uninstall`.
[Unit]
Description=Holdfast keeps agents alive ({str(home).replace("%", "%%")})
{network}StartLimitIntervalSec=0

[Service]
Type=exec
{variables}ExecStart={start}
# Does something only when the machine itself stops: agents are ended gracefully then.
ExecStop={stop}
# Takes the code that is installed now; agents are not touched.
ExecReload={again}
# Agents outlive Holdfast: stopping or restarting this unit leaves them alone, and the next start adopts them.
KillMode=process
TimeoutStopSec={limits.SERVICE_STOP_S:g}
Restart=always
RestartSec=1
SuccessExitStatus={EXIT_DOWN}
RestartPreventExitStatus={EXIT_DOWN}
Delegate=yes
DelegateSubgroup={delegation.LEAF}
OOMPolicy=continue
TasksMax=infinity
OOMScoreAdjust={"-900" if scope == "system" else "0"}
LimitNOFILE=524288

[Install]
WantedBy={at_boot}
"""


def others() -> list[str]:
    """Service managers other than systemd that seem to be at work here, for an honest message."""
    signs = (
        ("OpenRC", "/run/openrc"),
        ("runit", "/run/runit"),
        ("s6", "/run/s6"),
        ("s6", "/run/service"),
        ("cron", "/var/spool/cron"),
    )
    return list(dict.fromkeys(name for name, path in signs if os.path.isdir(path)))


# --- crontab -----------------------------------------------------------------------------------------------------
def cron_line(home: Path, command: Sequence[str]) -> str:
    """The @reboot line of a home. A `%` means a newline to cron. Pure."""
    words = shlex.join([*command, "up", "-d"]).replace("%", r"\%")
    return f"@reboot {words} {_mark(home)}"


def with_line(crontab: str, home: Path, line: str) -> str:
    """The crontab with the home's line once, at its end. Pure."""
    return without_line(crontab, home) + line + "\n"


def without_line(crontab: str, home: Path) -> str:
    """The crontab without the home's line, all others as they were. Pure."""
    kept = [each for each in crontab.splitlines(keepends=True) if not each.rstrip("\n").endswith(_mark(home))]
    text = "".join(kept)
    return text if not text or text.endswith("\n") else text + "\n"


def has_line(crontab: str, home: Path) -> bool:
    return any(each.endswith(_mark(home)) for each in crontab.splitlines())


def _mark(home: Path) -> str:
    return f"{CRON_MARK} {home}"


def read_crontab() -> str | None:
    """Our user's crontab, "" when there is none; None where there is no `crontab` program."""
    if shutil.which("crontab") is None:
        return None
    done = systemd.run_as(os.geteuid(), ["crontab", "-l"], limits.SYSTEMCTL_TIMEOUT_S)
    if done.returncode != 0 and "no crontab" not in done.stderr.lower():
        raise HoldfastError(errors.SERVICE_FAILED, program="crontab -l", reason=done.stderr.strip() or done.returncode)
    return done.stdout if done.returncode == 0 else ""


def write_crontab(text: str) -> None:
    """Replace our user's crontab; an empty one is removed. Raises SERVICE_FAILED."""
    import subprocess

    command = ["crontab", "-"] if text.strip() else ["crontab", "-r"]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=limits.SYSTEMCTL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HoldfastError(errors.SERVICE_FAILED, program="crontab", reason=error) from error
    if done.returncode != 0:
        raise HoldfastError(errors.SERVICE_FAILED, program="crontab", reason=done.stderr.strip() or done.returncode)
