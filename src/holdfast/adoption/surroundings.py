"""What lies around somebody who types `holdfast setup`: a project, containers, other supervisors, a Holdfast already.

Invariants: reads only, and nothing is executed but what machine.look executes (`--version` of known programs); what may
not be read is left out; no value of an environment is kept. What it means is proposal.py's matter. Called by
`holdfast setup`.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from holdfast.adoption import compose, machine
from holdfast.adoption.discover import INSTANCE_ENV, discover
from holdfast.adoption.model import Found
from holdfast.node import processes

FILE_MAX_BYTES = 1_048_576
FILES_MAX = 200  # of one directory; more is no project but a heap
SCRIPT_TAIL_BYTES = 65_536  # `__main__` stands at the end of a script
COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
VENV_NAMES = (".venv", "venv", "env")
_MAIN = re.compile(r"^if\s+__name__\s*==\s*['\"]__main__['\"]", re.MULTILINE)


class Script(Struct, frozen=True, kw_only=True):
    """A program file at the top of the directory."""

    name: str
    is_main: bool = False  # Python: it says `if __name__ == "__main__"`
    executable: bool = False


class Elsewhere(Struct, frozen=True, kw_only=True):
    """A command line that somebody else starts: pm2, systemd, supervisor or cron."""

    by: str  # pm2, systemd, supervisor, cron
    name: str
    argv: tuple[str, ...]
    cwd: str = ""
    pid: int = 0
    stop: str = ""  # how a person ends it there


class Busy(Struct, frozen=True, kw_only=True):
    """A process of ours that works in this directory."""

    pid: int
    argv: tuple[str, ...]


class Surroundings(Struct, frozen=True, kw_only=True):
    """One look. Paths of the project are relative to `directory`."""

    directory: str
    name: str = ""  # what the project calls itself, else the directory's name
    user: str = ""  # as root: whose directory it is
    file: str = ""  # an existing holdfast.yaml
    file_alerts: bool = False
    home: str = ""
    home_exists: bool = False
    home_runs: bool = False
    gateways: tuple[Found, ...] = ()
    venv: str = ""
    commands: tuple[str, ...] = ()  # installed by the project into its virtual environment
    modules: tuple[str, ...] = ()  # packages with a __main__
    scripts: tuple[Script, ...] = ()
    package_main: str = ""  # package.json
    package_start: str = ""
    env_file: str = ""
    services: tuple[compose.Service, ...] = ()
    compose_file: str = ""
    elsewhere: tuple[Elsewhere, ...] = ()
    busy: tuple[Busy, ...] = ()
    programs: tuple[str, ...] = ()  # of python3, node, podman, docker: those on PATH


def look(directory: Path, file: Path, home: Path, home_runs: bool) -> Surroundings:
    """Everything that may be seen from here."""
    snapshot = machine.look()
    scripts = tuple(_scripts(directory))
    project = _pyproject(directory)
    package = _json(directory / "package.json")
    venv = next((name for name in VENV_NAMES if (directory / name / "bin" / "python").exists()), "")
    compose_name = next((name for name in COMPOSE_NAMES if (directory / name).is_file()), "")
    services = compose.services(_text(directory / compose_name), directory.name) if compose_name else ()
    declared = [*_table(project, "project", "scripts"), *_table(project, "tool", "poetry", "scripts")]
    named = _table(project, "project").get("name") or package.get("name") or directory.name
    start = package.get("scripts")
    return Surroundings(
        directory=str(directory),
        name=str(named),
        user=_owner(directory) if os.geteuid() == 0 else "",
        file=str(file) if file.exists() else "",
        file_alerts=bool(re.search(r"^[\"']?alerts[\"']?\s*:", _text(file), re.MULTILINE)) if file.exists() else False,
        home=str(home),
        home_exists=(home / "home.id").exists(),
        home_runs=home_runs,
        gateways=tuple(discover(snapshot)),
        venv=venv,
        commands=tuple(each for each in declared if venv and (directory / venv / "bin" / each).is_file()),
        modules=tuple(_modules(directory)),
        scripts=scripts,
        package_main=str(package.get("main") or ""),
        package_start=str(start.get("start") or "") if isinstance(start, dict) else "",
        env_file=".env" if _good_env_file(directory / ".env") else "",
        services=services,
        compose_file=compose_name,
        elsewhere=tuple(_elsewhere(snapshot.pm2)),
        busy=tuple(_busy(directory)),
        programs=tuple(name for name in ("python3", "node", "podman", "docker") if shutil.which(name)),
    )


# --- the project ---------------------------------------------------------------------------------------------------
def _scripts(directory: Path) -> Iterator[Script]:
    with contextlib.suppress(OSError):
        for path in sorted(directory.iterdir())[:FILES_MAX]:
            if path.suffix in (".py", ".js", ".mjs", ".cjs", ".sh") and path.is_file():
                is_main = path.suffix == ".py" and bool(_MAIN.search(_tail(path)))
                yield Script(name=path.name, is_main=is_main, executable=os.access(path, os.X_OK))


def _modules(directory: Path) -> Iterator[str]:
    """Packages that `python -m` runs from here."""
    for path in sorted(directory.glob("*/__main__.py"))[:FILES_MAX]:
        if path.parent.name.isidentifier() and path.parent.name not in ("tests", "test", "docs"):
            yield path.parent.name


def _pyproject(directory: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(_text(directory / "pyproject.toml"))
    except tomllib.TOMLDecodeError:
        return {}


def _table(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _good_env_file(path: Path) -> bool:
    """Whether Holdfast can read it as it is."""
    from holdfast.spec.envfile import read_env_file
    from holdfast.spec.problems import Problems
    from holdfast.spec.source import Unreadable

    if not path.is_file():
        return False
    problems = Problems(str(path))
    try:
        return bool(read_env_file(str(path), problems)) and not problems.found
    except Unreadable:
        return False


def _busy(directory: Path) -> Iterator[Busy]:
    """Programs at work here that no Holdfast runs; shells and editors of a person are no programs of the project."""
    here = os.path.realpath(directory)
    for pid in processes.pids():
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") != here or INSTANCE_ENV in machine.environment(pid):
                continue
            raw = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
            if raw:
                yield Busy(pid=pid, argv=tuple(os.fsdecode(each) for each in raw.split(b"\0")))


# --- other supervisors -----------------------------------------------------------------------------------------------
def _elsewhere(apps: tuple[Any, ...]) -> Iterator[Elsewhere]:
    for app in apps:
        stop = f"pm2 stop {app.name} && pm2 save"
        yield Elsewhere(by="pm2", name=app.name, argv=app.argv, cwd=app.cwd, pid=app.pid, stop=stop)
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser(), "systemd/user")
    for folder, flag in ((Path("/etc/systemd/system"), ""), (user, "--user ")):
        for path in sorted(folder.glob("*.service"))[:FILES_MAX]:
            text = _text(path)
            if path.is_symlink() or text.startswith("# Written by `holdfast"):
                continue  # enabled ones of the distribution are links; our own is no finding
            argv = machine.parse_unit(text, os.path.expanduser("~"))["exec_start"]
            cwd = re.search(r"^WorkingDirectory=(.*)$", text, re.MULTILINE)
            stop = f"systemctl {flag}disable --now {path.name}"
            if argv:
                yield Elsewhere(by="systemd", name=path.name, argv=argv, cwd=cwd[1].strip() if cwd else "", stop=stop)
    yield from _supervisor()
    for path in (Path("/var/spool/cron/crontabs", _own_name()), Path("/var/spool/cron", _own_name())):
        for line in _text(path).splitlines():
            if line.startswith("@reboot") and "holdfast" not in line:
                argv = tuple(_words(line.removeprefix("@reboot").strip()))
                yield Elsewhere(by="cron", name="@reboot", argv=argv, stop="crontab -e")


def _supervisor() -> Iterator[Elsewhere]:
    files = [Path("/etc/supervisord.conf"), *sorted(Path("/etc/supervisor/conf.d").glob("*.conf"))]
    for path in files[:FILES_MAX]:
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(configparser.Error):
            parser.read_string(_text(path))
        for section in parser.sections():
            if section.startswith("program:") and parser.has_option(section, "command"):
                name = section.removeprefix("program:")
                argv = tuple(_words(parser.get(section, "command")))
                cwd = parser.get(section, "directory", fallback="")
                stop = f"supervisorctl stop {name}, and remove it from {path}"
                yield Elsewhere(by="supervisor", name=name, argv=argv, cwd=cwd, stop=stop)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


# --- small readers ---------------------------------------------------------------------------------------------------
def _owner(directory: Path) -> str:
    try:
        return pwd.getpwuid(directory.stat().st_uid).pw_name
    except (OSError, KeyError):
        return "root"


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _json(path: Path) -> dict[str, Any]:
    import json

    try:
        found = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - SCRIPT_TAIL_BYTES))
            return file.read(SCRIPT_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _text(path: Path) -> str:
    """A regular file's beginning; "" when it cannot be read."""
    if not path.is_file():
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(FILE_MAX_BYTES)
    except OSError:
        return ""
