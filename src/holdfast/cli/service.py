"""`holdfast service`: have the machine start Holdfast at boot and again whenever it ends. Agents are not touched by it.

What was done is kept in HOME/service.json, so that `uninstall` takes away exactly that. `run`, `stopping` and `reload`
are what the unit itself calls.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from holdfast import errors, limits
from holdfast.cli.service_record import RECORD, manager_of, read_record, write_record
from holdfast.cli.session import Command, Group, Session, pass_session
from holdfast.errors import HoldfastError
from holdfast.home import Home

UP_MAX_S = 60.0
IN_CHARGE_LOOK_S = 0.2  # each look asks systemd
PASSED_ON = ("PYTHONPATH", "HOLDFAST_CGROUPS", "HOLDFAST_USERS")  # choices made for this home
MARK = "# Written by `holdfast service install`"


@click.group(
    cls=Group,
    examples=[
        "holdfast service install             start at boot, and again whenever it ends",
        "holdfast service install --dry-run   show the unit only",
        "holdfast service uninstall",
    ],
)
def service() -> None:
    """Holdfast as a service of this machine: it survives reboots, logouts and power cuts."""


@service.command("install", cls=Command, examples=["holdfast service install", "holdfast service install --cron"])
@click.option("--user", "scope", flag_value="user", help="A unit of your own; the default for an ordinary user.")
@click.option("--system", "scope", flag_value="system", help="A unit of the machine; the default for root.")
@click.option("--cron", "scope", flag_value="cron", help="A @reboot line in your crontab, where there is no systemd.")
@click.option("--dry-run", is_flag=True, help="Only print what would be written.")
@pass_session
def install(session: Session, scope: str | None, dry_run: bool) -> None:
    """Install and start the service. A Holdfast that runs already is taken over; agents keep running."""
    done = install_service(session, scope, dry_run)
    session.answer(done) if session.as_json else session.say(str(done["text"]))


@service.command("uninstall", cls=Command)
@pass_session
def uninstall(session: Session) -> None:
    """Take the service away again. What runs goes on running; only nobody starts it at the next boot."""
    record = read_record(session.home)
    if record is None:
        session.answer({"removed": False}) if session.as_json else session.say("no service is installed for this home")
        return
    if record["kind"] == "cron":
        _remove_cron(session.home)
    else:
        _remove_unit(session, record)
    (session.home.path / RECORD).unlink(missing_ok=True)
    session.answer({"removed": True}) if session.as_json else session.say("the service is gone; agents were left alone")


@service.command("status", cls=Command, examples=["holdfast service status", "holdfast service status --json"])
@pass_session
def status(session: Session) -> int:
    """Whether the service is installed, starts at boot, and is the one that runs. Exit code 1 when it is not."""
    found = service_status(session.home)
    session.answer(found) if session.as_json else session.say(str(found["text"]))
    return 0 if found["ok"] else 1


@service.command("run", cls=Command, hidden=True)
@pass_session
def run(session: Session) -> None:
    """Run Holdfast in the foreground; what a service manager starts. TERM ends Holdfast and leaves agents running."""
    from holdfast.cli.taking_over import run_guard

    run_guard(session)


@service.command("stopping", cls=Command, hidden=True)
@pass_session
def stopping(session: Session) -> None:
    """What the unit calls before it is stopped: ends the agents gracefully when the whole machine stops."""
    from holdfast.cli import starting
    from holdfast.cli.down import bring_down

    record = read_record(session.home) or {}
    if record.get("kind") != "systemd" or not starting.is_owned(session.home):
        return
    if manager_of(record["scope"]).state() == "stopping":
        bring_down(session, limits.SERVICE_STOP_S - 30)


@service.command("reload", cls=Command, hidden=True)
@pass_session
def reload(session: Session) -> None:
    """Take the installed code: init becomes it, keeper and logger are restarted; agents are not touched."""
    from holdfast.cli.renewing import renew

    renew(session.home, session.client(), limits.RENEW_S)
    session.say("the installed code runs")


# --- install -----------------------------------------------------------------------------------------------------
def install_service(session: Session, scope: str | None, dry_run: bool) -> dict[str, Any]:
    """Install, enable and start. The answer's `text` is for people. Raises SERVICE_UNAVAILABLE, SERVICE_FAILED."""
    chosen = scope or ("system" if os.getuid() == 0 else "user")
    if chosen == "system" and os.getuid() != 0:
        raise HoldfastError(errors.USAGE, reason="a unit of the machine needs root", command="holdfast service install")
    session.home.prepare()
    return _install_cron(session, dry_run) if chosen == "cron" else _install_unit(session, chosen, dry_run)


def _install_unit(session: Session, scope: str, dry_run: bool) -> dict[str, Any]:
    from holdfast.cli import starting
    from holdfast.cli.taking_over import owner
    from holdfast.files import write_atomic
    from holdfast.node import installation, services, systemd

    home, manager = session.home, manager_of(scope)
    unit = services.unit_name(home, home.path == find_home_default())
    path = manager.unit_directory() / unit
    environment = {"HOLDFAST_HOME": str(home.path), **{n: os.environ[n] for n in PASSED_ON if os.environ.get(n)}}
    if scope == "user":
        environment["PATH"] = os.environ.get("PATH", os.defpath)  # agents of an ordinary user get it
    text = services.unit_text(home.path, installation.command(home), manager.scope, environment)
    answer: dict[str, Any] = {"kind": "systemd", "scope": scope, "unit": unit, "path": str(path), "content": text}
    if dry_run:
        return {**answer, "installed": False, "text": f"# {path}\n{text}"}
    if not manager.available():
        raise HoldfastError(errors.SERVICE_UNAVAILABLE, reason=_why_not(scope), home=home.path)
    if path.exists() and not path.read_text(errors="replace").startswith(MARK):
        raise HoldfastError(errors.SERVICE_UNAVAILABLE, reason=f"{path} exists and is not ours", home=home.path)
    former = read_record(home) or {}
    lingered = bool(former.get("lingered", scope == "system" or systemd.lingers(os.getuid())))
    write_record(home, {"kind": "systemd", "scope": scope, "unit": unit, "path": str(path), "lingered": lingered})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode(), mode=0o644)
    except OSError as error:
        raise HoldfastError(errors.SERVICE_FAILED, program=f"writing {path}", reason=error.strerror or error) from error
    warnings = []
    if scope == "user" and not systemd.lingers(os.getuid()):
        refused = systemd.set_linger(os.getuid(), True)
        if refused:
            warnings.append(f"it ends at logout: loginctl enable-linger: {refused}")
    manager.tell("daemon-reload")
    manager.tell("enable", unit)
    # Restart rather than start: a unit that ran with a former text takes the new one; agents do not notice.
    manager.tell("restart", unit, timeout_s=limits.TAKE_OVER_S * 2)
    # The unit's own guard first: until then the keeper that answers may be the former one, on its way out.
    in_charge = starting.wait_for(lambda: owner(home) == manager.show(unit).main_pid > 0, UP_MAX_S, IN_CHARGE_LOOK_S)
    if not in_charge or not session.client().wait_until_up(UP_MAX_S):
        raise HoldfastError(errors.DAEMON_DID_NOT_START, timeout_s=f"{UP_MAX_S:g}", log=home.own_logs)
    lines = [f"installed and started {unit} ({path})", *(f"warning: {each}" for each in warnings)]
    return {**answer, "installed": True, "warnings": warnings, "text": "\n".join(lines)}


def _install_cron(session: Session, dry_run: bool) -> dict[str, Any]:
    from holdfast.node import installation, services

    home = session.home.path
    line = services.cron_line(home, installation.command(session.home))
    answer: dict[str, Any] = {"kind": "cron", "line": line}
    if dry_run:
        return {**answer, "installed": False, "text": line}
    crontab = services.read_crontab()
    if crontab is None:
        raise HoldfastError(errors.SERVICE_UNAVAILABLE, reason="there is no crontab program", home=home)
    write_record(session.home, {"kind": "cron"})
    services.write_crontab(services.with_line(crontab, home, line))
    text = "added to your crontab:\n  " + line + "\nnobody starts Holdfast again between two boots, if all of it dies"
    return {**answer, "installed": True, "text": text}


def _why_not(scope: str) -> str:
    from holdfast.node import services, systemd

    if not systemd.runs():
        found = ", ".join(services.others())
        return "systemd does not run" + (f" (found: {found})" if found else "")
    if scope == "user":
        return "your user's systemd does not answer: log in with a session, or `loginctl enable-linger` once"
    return "systemd does not answer"


# --- uninstall, status -------------------------------------------------------------------------------------------
def _remove_unit(session: Session, record: dict[str, Any]) -> None:
    """Disable, let guard leave, delete our file; a Holdfast that ran goes on, no longer as a service."""
    from holdfast.cli import starting
    from holdfast.node import systemd

    manager, unit, path = manager_of(record["scope"]), record["unit"], Path(record["path"])
    ran = starting.is_owned(session.home)
    if manager.available():
        manager.try_to("disable", unit)
        manager.tell("stop", unit, timeout_s=limits.SERVICE_STOP_S)
    if path.exists() and path.read_text(errors="replace").startswith(MARK):
        path.unlink()
    if manager.available():
        manager.try_to("daemon-reload")
        manager.try_to("reset-failed", unit)
    if record["scope"] == "user" and not record.get("lingered", True):
        systemd.set_linger(os.getuid(), False)
    (session.home.path / RECORD).unlink(missing_ok=True)
    if ran:
        starting.start_holdfast(session, session.client(), None, UP_MAX_S)


def _remove_cron(home: Home) -> None:
    from holdfast.node import services

    crontab = services.read_crontab()
    if crontab is not None and services.has_line(crontab, home.path):
        services.write_crontab(services.without_line(crontab, home.path))


def service_status(home: Home) -> dict[str, Any]:
    """What is installed and whether it is what runs."""
    from holdfast.cli import starting
    from holdfast.cli.taking_over import owner

    record, runs = read_record(home), starting.is_owned(home)
    answer: dict[str, Any] = {"installed": record is not None, "holdfast_runs": runs, "ok": False}
    if record is None:
        return {**answer, "text": "no service is installed: `holdfast service install`"}
    if record["kind"] == "cron":
        return {**answer, "ok": True, "kind": "cron", "text": "started at boot by a line of your crontab"}
    state = manager_of(record["scope"]).show(record["unit"])
    ours = runs and state.main_pid == owner(home)
    words = [f"{record['unit']} ({record['scope']}): {state.active or 'unknown'}, {state.file_state or 'not enabled'}"]
    if runs and not ours:
        words.append("Holdfast runs beside it: `holdfast service install` puts the unit in charge again")
    if not state.is_enabled:
        words.append("it does not start at boot: `holdfast service install` repairs that")
    more = {"kind": "systemd", "unit": record["unit"], "active": state.active, "enabled": state.is_enabled}
    return {**answer, **more, "in_charge": ours, "ok": ours and state.is_enabled, "text": "\n".join(words)}


def find_home_default() -> Path:
    """Where Holdfast lives when nobody says otherwise."""
    return Path("/var/lib/holdfast") if os.getuid() == 0 else Path("~/.holdfast").expanduser()
