"""The former way an agent was kept alive: ending it, seeing that it is gone, bringing it back.

Invariants: every act looks first and may be repeated; units of others are never deleted or edited, only disabled, and
what they were is recorded before; a gateway is ended the way its recipe announces, with all the time it may need.
Called by apply.py and undo.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from holdfast import errors, limits
from holdfast.adoption import machine, pm2, quiet
from holdfast.adoption.model import Adoption, Former, Found, UnitFile
from holdfast.errors import HoldfastError
from holdfast.node import processes, systemd
from holdfast.recipes import find as find_recipe
from holdfast.spec.envfile import read_env_file
from holdfast.spec.model import AgentSpec
from holdfast.spec.problems import Problems

DROP_IN = "holdfast-adoption.conf"
DROP_IN_MAX_S = 5.0  # a directory in memory; longer only where somebody hinders us
_WRITE = f'mkdir -p "$1" && printf "[Service]\\nTimeoutStopSec=%s\\n" "$2" > "$1/{DROP_IN}"'
_TAKE_AWAY = f'rm -f "$1/{DROP_IN}"; rmdir "$1"'
LOOK_S = 0.1


def observe(former: Former) -> Former:
    """With what its manager says now. Raises SERVICE_FAILED, ADOPTION_REFUSED when it cannot be told to stop."""
    import msgspec

    if former.kind == "pm2":
        pm2.program(former)
        return msgspec.structs.replace(former, was_enabled=pm2.is_saved(former))
    if former.kind != "systemd":
        return former
    state = _manager(former).show(former.name)
    return msgspec.structs.replace(
        former,
        was_enabled=state.is_enabled,
        was_active=state.is_active,
        path=os.path.realpath(state.path or former.path),
    )


def confirm(found: Found, units: list[UnitFile]) -> Found:
    """The same, kept alive by the unit whose main process it is, or which would start it at the next boot.

    Where no unit file names an agent, the cgroup tells the unit: of a wrapper script, an instance of a template. Asks
    systemd; one that is silent changes nothing.
    """
    import msgspec

    if found.former.kind != "process":
        return found
    candidates = [
        Former(kind="systemd", name=unit.name, scope=unit.scope, uid=unit.uid, path=unit.path) for unit in units
    ]
    within = unit_of(_cgroup(found.pid))
    for candidate in [*candidates, *([within] if within else [])]:
        try:
            state = _manager(candidate).show(candidate.name)
        except HoldfastError:
            continue
        is_main = state.main_pid > 0 and (
            state.main_pid == found.pid
            or (state.main_pid in processes.ancestors(found.pid) and _session(state.main_pid) == _session(found.pid))
        )
        if is_main or (candidate is not within and state.is_enabled):
            return msgspec.structs.replace(found, former=candidate)
    return found


def unit_of(cgroup: str) -> Former | None:
    """The service whose cgroup it is, from the text of /proc/PID/cgroup. Pure."""
    for line in cgroup.splitlines():
        parts = [part for part in line.split(":", 2)[-1].split("/") if part]
        services = [part for part in parts if part.endswith(".service")]
        manager = next((match for part in services if (match := re.fullmatch(r"user@(\d+)\.service", part))), None)
        if services and manager is None:
            return Former(kind="systemd", name=services[-1], scope="system")
        if len(services) > 1 and manager is not None:
            return Former(kind="systemd", name=services[-1], scope="user", uid=int(manager[1]))
    return None


def end(adoption: Adoption, spec: AgentSpec) -> None:
    """Disable and stop it, gracefully. Raises HoldfastError."""
    former, grace_s = adoption.former, spec.stop.grace_s + limits.ADOPT_STOP_SLACK_S
    tree = [(each.pid, each.starttime) for each in processes.tree(adoption.pid)] if _lives(adoption) else []
    if former.kind == "systemd":
        manager = _manager(former)
        if former.was_enabled:
            manager.tell("disable", former.name)
        with _patience(manager, former, grace_s):
            _announce(adoption, spec)
            manager.tell("stop", former.name, timeout_s=grace_s)
    elif former.kind == "pm2":
        _announce(adoption, spec)
        if adoption.kind == "openclaw" and former.kill_s < spec.stop.grace_s:
            _end_process(adoption, spec, grace_s)  # it finishes its work; pm2 would not give it the time
        pm2.stop(former, grace_s)
    if _lives(adoption):  # nobody's, or not its unit's own
        _announce(adoption, spec)
        _end_process(adoption, spec, grace_s)
    _sweep(tree)


def bring_back(adoption: Adoption) -> None:
    """Enable and start it as it was. Raises HoldfastError."""
    former = adoption.former
    if former.kind == "systemd":
        manager = _manager(former)
        state = manager.show(former.name)
        if former.was_enabled and not state.is_enabled:
            # Disabling takes the link of a unit that lies elsewhere with it: then only its path finds it.
            manager.tell("enable", former.name if state.exists else former.path)
        if former.was_active:
            manager.tell("start", former.name, timeout_s=limits.ADOPT_START_S)
        elif adoption.pid and not is_there(adoption):
            _start_by_hand(adoption)
    elif former.kind == "pm2":
        pm2.start(former)
    elif former.kind == "process" and not is_there(adoption):
        _start_by_hand(adoption)


def runs(adoption: Adoption) -> bool:
    """Whether the former way keeps it alive now, as far as can be told from outside."""
    former = adoption.former
    if former.kind == "systemd":
        state = _manager(former).show(former.name)
        return state.is_enabled == former.was_enabled and (state.is_active or not former.was_active)
    return not former.was_active or listens(adoption)


def listens(adoption: Adoption) -> bool:
    return processes.is_listened_on(adoption.port)


def is_gone(adoption: Adoption) -> bool:
    """Nothing of the former instance runs, nobody has started another, and its port is free."""
    return not _lives(adoption) and not is_there(adoption)


def is_there(adoption: Adoption) -> bool:
    """Whether a gateway that is not Holdfast's runs on this state or is about to, or anybody holds its port."""
    return listens(adoption) or machine.is_used(adoption.kind, adoption.state_dir)


def _lives(adoption: Adoption) -> bool:
    found = processes.stat(adoption.pid) if adoption.pid else None
    return found is not None and found.starttime == adoption.starttime and found.state not in "ZX"


# --- how ---------------------------------------------------------------------------------------------------------
def _announce(adoption: Adoption, spec: AgentSpec) -> None:
    """The recipe's files that make the coming stop a planned one, written with the agent's own rights."""
    if not _lives(adoption):
        return
    recipe = find_recipe(spec.recipe)
    writes = recipe.before_stop(spec, adoption.pid, adoption.starttime, stopper_pid=os.getpid(), now_at=time.time())
    for each in writes:
        quiet.put_as(adoption.uid, each.path, each.data)


def _end_process(adoption: Adoption, spec: AgentSpec, grace_s: float) -> None:
    number = int(getattr(signal, f"SIG{spec.stop.signal}"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(adoption.pid, number)
    deadline_mono = time.monotonic() + grace_s
    while _lives(adoption) and time.monotonic() < deadline_mono:
        time.sleep(LOOK_S)
    if _lives(adoption):
        with contextlib.suppress(ProcessLookupError):
            os.kill(adoption.pid, signal.SIGKILL)


def _sweep(tree: list[tuple[int, int]]) -> None:
    """End what the main process left behind: helpers may hold its port or its state."""

    def left() -> list[int]:
        found = ((pid, processes.stat(pid)) for pid, _ in tree)
        starts = dict(tree)
        return [pid for pid, one in found if one and one.starttime == starts[pid] and one.state not in "ZX"]

    for number, patience_s in ((signal.SIGTERM, limits.HUNG_GRACE_S), (signal.SIGKILL, limits.HUNG_GRACE_S)):
        deadline_mono = time.monotonic() + (patience_s if left() else 0.0)
        # OpenClaw's own helpers leave within seconds of their gateway: no need to push them at once.
        while left() and time.monotonic() < deadline_mono:
            time.sleep(LOOK_S)
        for pid in left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    deadline_mono = time.monotonic() + limits.HUNG_GRACE_S
    while left() and time.monotonic() < deadline_mono:
        time.sleep(LOOK_S)


@contextlib.contextmanager
def _patience(manager: systemd.Systemctl, former: Former, grace_s: float):  # type: ignore[no-untyped-def]
    """While it is stopped, the unit has as long as the agent may need: a turn under way must not be cut off.

    By a drop-in below /run that is gone afterwards; where it cannot be written, the unit's own time-out holds.
    """
    allowed = manager.show(former.name).stop_timeout_s
    place = manager.runtime_directory() / f"{former.name}.d"
    uid = former.uid if former.scope == "user" else os.geteuid()  # never root in a directory of another user's
    written = allowed is not None and allowed < grace_s and _as(uid, _WRITE, place, f"{grace_s:g}")
    if written:
        manager.try_to("daemon-reload")
    try:
        yield
    finally:
        if written:
            _as(uid, _TAKE_AWAY, place)
            manager.try_to("daemon-reload")


def _as(uid: int, script: str, place: Path, *words: str) -> bool:
    """Whether that user could do it."""
    try:
        return systemd.run_as(uid, ["/bin/sh", "-c", script, "sh", str(place), *words], DROP_IN_MAX_S).returncode == 0
    except HoldfastError:
        return False


def _start_by_hand(adoption: Adoption) -> None:
    """As it was started before: same command, directory, user and environment; what it prints goes to our log."""
    environment = {"PATH": os.defpath}
    if adoption.former_env:
        lines = read_env_file(adoption.former_env, Problems(adoption.former_env))
        environment = {name: line.value for name, line in lines.items()}
    log = Path(adoption.former_env).with_name(f"{adoption.agent}.output") if adoption.former_env else Path(os.devnull)
    rights: dict[str, object] = {}
    if adoption.uid != os.geteuid():
        import pwd

        entry = pwd.getpwuid(adoption.uid)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        rights = {"user": adoption.uid, "group": entry.pw_gid, "extra_groups": groups}
    try:
        with open(log, "ab") as output:
            subprocess.Popen(
                adoption.former_argv,
                cwd=adoption.former_cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **rights,  # type: ignore[call-overload]
            )
    except OSError as error:
        reason = error.strerror or str(error)
        raise HoldfastError(errors.SERVICE_FAILED, program=adoption.former_argv[0], reason=reason) from error


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _manager(former: Former) -> systemd.Systemctl:
    return systemd.Systemctl(former.scope, former.uid if former.scope == "user" else os.geteuid())
