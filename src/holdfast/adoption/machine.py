"""One look at the machine, turned into a Snapshot: processes, units, pm2, state directories.

Invariants: nothing is executed but `--version` of OpenClaw and Hermes with a time-out; nothing is changed; what may not
be read is left out. Called by `holdfast adopt`; what it means is discover.py's matter.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast import limits
from holdfast.adoption.discover import discover, kind_of, state_dir
from holdfast.adoption.model import Kind, Place, Pm2App, Running, Snapshot, UnitFile
from holdfast.node import processes

_SYSTEM_UNITS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_AGENT_WORDS = re.compile(rb"openclaw|hermes", re.IGNORECASE)
_FILE_MAX_BYTES = 1_048_576
_PEOPLE_FROM = 1000  # user numbers of people; below are the system's own


def look(root: Path = Path("/"), versions: bool = True) -> Snapshot:
    """Everything that may be seen. `root`: a tree that stands for the machine's files, for tests."""
    uid = os.geteuid()
    users = _users(uid)
    running = tuple(_running()) if root == Path("/") else ()
    units = tuple(_units(root, users))
    apps = tuple(_pm2(root, users))
    programs = {
        name: os.path.realpath(found) for name in ("openclaw", "hermes", "pm2") if (found := shutil.which(name))
    }
    for started in (word for unit in units for word in unit.exec_start):
        if started.startswith("/") and os.path.basename(started) in ("openclaw", "hermes"):
            programs[started] = os.path.realpath(started)
    return Snapshot(
        uid=uid,
        users=users,
        processes=running,
        units=units,
        pm2=apps,
        places=tuple(_places(root, users, running, units, apps)),
        programs=programs,
        versions=_versions(programs) if versions else {},
    )


def is_used(kind: Kind, directory: str) -> bool:
    """Whether a gateway that no Holdfast runs has this state directory."""
    snapshot = Snapshot(uid=os.geteuid(), users=_users(os.geteuid()), processes=tuple(_running()))
    return any(each.kind == kind and each.state_dir == directory for each in discover(snapshot) if each.running)


def _users(uid: int) -> dict[int, tuple[str, str]]:
    """Ourselves; for root everybody who may have a home. Our own HOME counts as the shell says."""
    found = {each.pw_uid: (each.pw_name, each.pw_dir) for each in pwd.getpwall() if uid == 0 or each.pw_uid == uid}
    name = found.get(uid, (str(uid), ""))[0]
    found[uid] = (name, os.environ.get("HOME") or found.get(uid, ("", "/"))[1])
    return found


def _homes(root: Path, users: dict[int, tuple[str, str]]) -> Iterator[tuple[int, Path]]:
    for uid, (_, home) in users.items():
        if (uid == os.geteuid() or uid == 0 or uid >= _PEOPLE_FROM) and home not in ("", "/", "/nonexistent"):
            yield uid, root / home.lstrip("/")


# --- processes ---------------------------------------------------------------------------------------------------
def _running() -> Iterator[Running]:
    everyone = {pid: found for pid in processes.pids() if (found := processes.stat(pid)) is not None}
    wanted: set[int] = set()
    for pid in everyone:
        argv = _argv(pid)
        if pid != os.getpid() and argv and (_AGENT_WORDS.search(b"\0".join(map(os.fsencode, argv[:6])))):
            wanted.add(pid)
    for pid in list(wanted):  # their ancestors tell who started them
        while pid in everyone and everyone[pid].ppid > 1:
            pid = everyone[pid].ppid
            wanted.add(pid)
    for pid in sorted(wanted & everyone.keys()):
        with contextlib.suppress(OSError):
            argv, found = _argv(pid), everyone[pid]
            is_gateway = kind_of(argv) is not None
            yield Running(
                pid=pid,
                ppid=found.ppid,
                starttime=found.starttime,
                uid=os.stat(f"/proc/{pid}").st_uid,
                argv=argv,
                comm=found.comm,
                exe=_link(f"/proc/{pid}/exe") if is_gateway else "",
                cwd=_link(f"/proc/{pid}/cwd") if is_gateway else "",
                cgroup=_text(Path(f"/proc/{pid}/cgroup")),
                env=environment(pid) if is_gateway else {},
                ports=tuple(listening(pid)) if is_gateway else (),
            )


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; {} when it may not be read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(each).partition("=") for each in raw if b"=" in each)
    return {name: value for name, _, value in pairs}


def listening(pid: int) -> list[int]:
    """TCP ports the process listens on."""
    return sorted(processes.listening_ports(pid))


def _argv(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
    except OSError:
        return ()
    return tuple(os.fsdecode(each) for each in raw.split(b"\0")) if raw else ()


def _link(path: str) -> str:
    try:
        return os.readlink(path).removesuffix(" (deleted)")
    except OSError:
        return ""


# --- units -------------------------------------------------------------------------------------------------------
def _units(root: Path, users: dict[int, tuple[str, str]]) -> Iterator[UnitFile]:
    seen: set[tuple[str, int]] = set()
    for directory in _SYSTEM_UNITS:
        for path in sorted((root / directory).glob("*.service")):
            unit = _unit(path, "system", 0, root / "etc/systemd/system", users.get(0, ("", "/root"))[1])
            if unit and (unit.name, -1) not in seen:
                seen.add((unit.name, -1))
                yield unit
    for uid, home in _homes(root, users):
        config = (
            Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") if uid == os.geteuid() else home / ".config"
        )
        for path in sorted((config / "systemd/user").glob("*.service")):
            unit = _unit(path, "user", uid, config / "systemd/user", str(home))
            if unit and (unit.name, uid) not in seen:
                seen.add((unit.name, uid))
                yield unit


def _unit(path: Path, scope: Any, uid: int, links: Path, home: str) -> UnitFile | None:
    """The unit when it starts an agent; drop-ins beside it count, and the environment files it names."""
    text = "\n".join([_text(path), *(_text(each) for each in sorted(path.with_name(path.name + ".d").glob("*.conf")))])
    parsed = parse_unit(text, home)
    if kind_of(parsed["exec_start"]) is None:
        return None
    for pattern in parsed.pop("environment_files"):
        for file in sorted(glob.glob(pattern)):
            parsed["environment"].update(_env_lines(_text(Path(file))))
    enabled = any(links.glob(f"*.wants/{glob.escape(path.name)}"))
    return UnitFile(name=path.name, scope=scope, uid=uid, path=str(path), enabled=enabled, **parsed)


def parse_unit(text: str, home: str) -> dict[str, Any]:
    """ExecStart=, Environment=, EnvironmentFile= and User= of a unit's text; `%h` is `home`. Pure."""
    joined = re.sub(r"\\\n", " ", text)
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    files: list[str] = []
    user = ""
    for line in joined.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith(("#", ";")):
            continue
        if key == "ExecStart":
            command = tuple(_expand(word, home) for word in _words(value.lstrip("-@:+!")))
        elif key == "Environment":
            environment.update(_expand(word, home).partition("=")[::2] for word in _words(value) if "=" in word)
        elif key == "EnvironmentFile":
            files = [*files, _expand(value.strip().removeprefix("-"), home)] if value.strip() else []
        elif key == "User":
            user = value.strip()
    return {"exec_start": command, "environment": environment, "environment_files": files, "user": user}


def _expand(text: str, home: str) -> str:
    """The specifiers that agents' units use."""
    return re.sub("%[%h]", lambda found: "%" if found[0] == "%%" else home, text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


# --- pm2 --------------------------------------------------------------------------------------------------------
def _pm2(root: Path, users: dict[int, tuple[str, str]]) -> Iterator[Pm2App]:
    for uid, home in _homes(root, users):
        own = os.environ.get("PM2_HOME") if uid == os.geteuid() and root == Path("/") else None
        pm2_home = Path(own) if own else home / ".pm2"
        try:
            entries = json.loads(_text(pm2_home / "dump.pm2") or "[]")
        except ValueError:
            continue
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                yield _pm2_app(entry, uid, pm2_home)


def _pm2_app(entry: dict[str, Any], uid: int, pm2_home: Path) -> Pm2App:
    name = entry["name"]
    args = entry.get("args") or []
    words = [str(each) for each in args] if isinstance(args, list) else _words(str(args))
    interpreter = entry.get("exec_interpreter")
    head = [str(interpreter)] if interpreter and interpreter != "none" else []
    pid = 0
    for path in pm2_home.glob(f"pids/{glob.escape(name)}-*.pid"):
        text = _text(path).strip()
        if text.isdecimal() and processes.stat(int(text)) is not None:
            pid = int(text)
    env = entry.get("env")
    pairs = env.items() if isinstance(env, dict) else ()
    return Pm2App(
        name=name,
        uid=uid,
        pm2_home=str(pm2_home),
        argv=(*head, str(entry.get("pm_exec_path", "")), *words),
        cwd=str(entry.get("pm_cwd", "")),
        env={str(key): value for key, value in pairs if isinstance(value, str)},
        pid=pid,
    )


# --- state directories -------------------------------------------------------------------------------------------
def _places(
    root: Path,
    users: dict[int, tuple[str, str]],
    running: tuple[Running, ...],
    units: tuple[UnitFile, ...],
    apps: tuple[Pm2App, ...],
) -> Iterator[Place]:
    wanted: dict[tuple[Kind, str], str] = {}
    starts = [(each.env, each.argv, each.uid) for each in running]
    starts += [(each.environment, each.exec_start, each.uid) for each in units]
    starts += [(each.env, each.argv, each.uid) for each in apps]
    for env, argv, uid in starts:
        kind = kind_of(argv)
        if kind is not None:
            named = state_dir(kind, env, env.get("HOME") or users.get(uid, ("", "/nonexistent"))[1], argv)
            wanted[kind, named] = env.get("OPENCLAW_CONFIG_PATH", "") if kind == "openclaw" else ""
    for _, home in _homes(root, users):
        wanted.setdefault(("openclaw", str(home / ".openclaw")), "")
        wanted.setdefault(("hermes", str(home / ".hermes")), "")
    for (kind, path), config in wanted.items():
        place = _place(kind, path, config)
        if place is not None:
            yield place


def _place(kind: Kind, path: str, config: str) -> Place | None:
    name = config or os.path.join(path, "openclaw.json" if kind == "openclaw" else "config.yaml")
    try:
        uid = os.stat(path).st_uid
        if not os.path.isfile(name):
            return None
    except OSError:
        return None
    port, has_key = _openclaw_port(name), False
    if kind == "hermes":
        own = dict(_env_lines(_text(Path(path, ".env"))))
        port = int(own["API_SERVER_PORT"]) if own.get("API_SERVER_PORT", "").isdecimal() else None
        has_key = bool(own.get("API_SERVER_KEY"))
    return Place(kind=kind, path=path, config=name, uid=uid, port=port, has_key=has_key)


def _openclaw_port(config: str) -> int | None:
    """`gateway.port` of a JSON5 file, found without understanding all of it."""
    text = re.sub(r"^\s*//.*$", "", _text(Path(config)), flags=re.MULTILINE)
    match = re.search(r"[\"']?gateway[\"']?\s*:\s*\{(?:[^{}]|\{[^{}]*\})*?[\"']?\bport[\"']?\s*:\s*(\d+)", text)
    return int(match[1]) if match else None


def _env_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            yield name.strip(), value.strip().strip("'\"")


def _versions(programs: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("openclaw", "hermes"):
        if name in programs:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                done = subprocess.run(
                    [programs[name], "--version"],
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=limits.VERSION_TIMEOUT_S,
                    check=False,
                    stdin=subprocess.DEVNULL,
                )
                first = (done.stdout.strip().splitlines() or [""])[0]
                found[name] = "".join(char for char in first if char.isprintable())[:80]
    return found


def _text(path: Path) -> str:
    """A small text file; "" when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_FILE_MAX_BYTES)
    except OSError:
        return ""
