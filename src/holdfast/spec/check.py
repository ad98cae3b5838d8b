"""What no parser can see: whether users, directories and programs named in a well-written file exist.

Separate from `load`, so that `up` starts the other agents when one program is missing. Permissions are judged by mode
bits for the user the agent will run as; access lists are not read, so a refusal by mode bits alone is a warning.
Invariant: only reads, and runs nothing. Called by the command line through holdfast.recipes.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from holdfast.spec.load import Loaded
from holdfast.spec.model import AgentSpec
from holdfast.spec.problems import Problem, Problems, show_path
from holdfast.spec.recipe import Finding, Path
from holdfast.spec.resolve import Resolved

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the kernel will see. `groups` holds the primary group too."""

    name: str
    uid: int
    groups: frozenset[int]


def check(loaded: Loaded, recipe_check: Callable[[AgentSpec], Iterable[Finding]]) -> list[Problem]:
    """Errors and warnings in the order of the file; empty when all is there."""
    problems = Problems(loaded.file)
    for one in loaded.agents:
        _Checker(problems, one).run(recipe_check(one.spec))
    return [*loaded.warnings, *problems.sorted()]


@dataclass(frozen=True, slots=True)
class _Checker:
    problems: Problems
    one: Resolved

    def run(self, findings: Iterable[Finding]) -> None:
        spec = self.one.spec
        identity = self._identity(spec.user)
        if self._working_dir(spec.working_dir, identity):
            self._program(("command",), spec.command[0], spec, identity)
            if spec.health.command is not None:
                self._program(("health", "command"), spec.health.command.command[0], spec, identity)
        if spec.health.http is None:
            self._without_http()
        for finding in findings:
            self._note(finding.field, finding.found, finding.expected, finding.meant, finding.severity)

    def _note(self, path: Path, found: str, expected: str, meant: str = "", severity: str = "error") -> None:
        setting = self.one.settings.get(path)
        written = setting is not None and setting.line > 0
        line = setting.line if setting is not None and written else self.one.line
        field = setting.field if setting is not None and written else ".".join(("agents", self.one.spec.name, *path))
        file = setting.file if setting is not None and written else self.one.file
        self.problems.add(line, field, found, expected, meant, file=file, severity=severity)

    def _without_http(self) -> None:
        """Settings of the question over HTTP, where none is asked: whoever wrote them expects something of them."""
        for name in ("interval", "timeout", "retries"):
            setting = self.one.settings.get(("health", name))
            if setting is not None and setting.line > 0 and setting.field.startswith("agents."):
                expected = f"http beside it, or {name} inside command: {{command: [...], {name}: ...}}"
                self._note(("health", name), "a setting of `http` without http", expected, severity="warning")

    def _identity(self, user: str | None) -> Identity | None:
        """Who the agent will be; None when that cannot be known here."""
        me = os.getuid()
        if user is None:
            return None if me == 0 else Identity(_name_of(me), me, frozenset({os.getgid(), *os.getgroups()}))
        try:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except (KeyError, OverflowError):
            self._note(("user",), f"no user {user}", "a user of this machine")
            return None
        if me not in (0, entry.pw_uid):
            found = f"the user {user}, while Holdfast runs as {_name_of(me)}"
            self._note(("user",), found, "no user:, or Holdfast started as root")
        try:
            groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        except OSError:
            groups = [entry.pw_gid]
        return Identity(entry.pw_name, entry.pw_uid, frozenset(groups))

    def _working_dir(self, path: str, identity: Identity | None) -> bool:
        if not os.path.exists(path):
            self._note(("working_dir",), f"no directory {show_path(path)}", "a directory that exists")
            return False
        if not os.path.isdir(path):
            self._note(("working_dir",), f"{show_path(path)}, which is a file", "a directory")
            return False
        blocked = blocked_at(path, identity, stat.S_IXOTH) if identity else None
        if identity and blocked:
            found = f"{show_path(blocked)}, which user {identity.name} may not enter"
            self._note(("working_dir",), found, "a directory that user can reach", severity="warning")
        return True

    def _program(self, key: Path, program: str, spec: AgentSpec, identity: Identity | None) -> None:
        path = program if "/" in program else search(program, spec.env.get("PATH", DEFAULT_PATH))
        if path is None:
            only_here = "PATH" not in spec.env and search(program, os.environ.get("PATH", ""))
            if only_here:
                expected = "it on the agent's PATH"
                self._note(key, f"{show_path(program)} only on your own PATH", expected, only_here, "warning")
            else:
                self._note(key, f"no program {show_path(program)} on PATH", "a program that exists")
            return
        if not os.path.isfile(path):
            self._note(key, f"no program {show_path(path)}", "a program that exists")
        elif not os.stat(path).st_mode & 0o111:
            self._note(key, f"{show_path(path)}, which is not executable", "a program", f"chmod +x {path}")
        else:
            blocked = blocked_at(path, identity, stat.S_IXOTH) if identity else None
            if identity and blocked:
                found = f"{show_path(blocked)}, which user {identity.name} may not enter or run"
                self._note(key, found, "a program that user can reach", severity="warning")
            self._interpreter(key, path)

    def _interpreter(self, key: Path, path: str) -> None:
        """A script whose first line names a program that is not there fails with a misleading message."""
        try:
            with open(path, "rb") as file:
                first = file.read(256)
        except OSError:
            return
        if not first.startswith(b"#!"):
            return
        words = os.fsdecode(first[2:].split(b"\n", 1)[0]).split()
        if words and words[0].startswith("/") and not os.path.exists(words[0]):
            self._note(
                key,
                f"{show_path(path)} begins with #!{words[0]}, which does not exist",
                "a script of a program that exists",
            )


def search(program: str, path: str) -> str | None:
    """The first executable file of that name in the absolute directories of `path`."""
    for directory in path.split(":"):
        candidate = os.path.join(directory, program)
        if directory.startswith("/") and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def blocked_at(path: str, identity: Identity, want: int) -> str | None:
    """The first part of `path` that mode bits keep `identity` from; `want` is the bit for others (S_IXOTH, S_IROTH)."""
    if identity.uid == 0:
        return None
    real = os.path.realpath(path)
    parts = [real]
    while os.path.dirname(parts[-1]) != parts[-1]:
        parts.append(os.path.dirname(parts[-1]))
    for part in reversed(parts):
        try:
            status = os.stat(part)
        except OSError:
            return part
        shift = 6 if status.st_uid == identity.uid else 3 if status.st_gid in identity.groups else 0
        if not status.st_mode & (want << shift):
            return part
    return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
