"""Somebody without rights who has just installed Holdfast: an empty home, a directory to work in, `holdfast` on PATH.

As root that is the user 65534, with an interpreter and packages it can reach (those here may lie below /root); else it
is whoever runs the tests, with a home of its own. Nothing is left when it is closed. Called by tests/e2e/test_tour.py.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import holdfast

ORDINARY_UID = 65534
LONGEST_S = 110.0  # one command of the tour, on a busy machine
END_MAX_S = 10.0
_PACKAGE = Path(holdfast.__file__).parent


class CannotPlay(Exception):
    """What this machine lacks, in words."""


class TourReader:
    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hf-tour-"))
        self.directory.chmod(0o755)
        self.home = self.directory / "home"
        self.place = self.home / "tour"
        self.uid: int | None = ORDINARY_UID if os.getuid() == 0 else None
        tmp = self.directory / "tmp"
        for each in (self.home, self.place, tmp):
            each.mkdir()
            if self.uid is not None:
                os.chown(each, self.uid, self.uid)
        programs = Path(sys.executable).parent
        if self.uid is not None:
            programs = _install(self.directory / "venv", self.uid)
        system = [part for part in os.environ.get("PATH", os.defpath).split(":") if not part.startswith("/root")]
        self.environment = {
            "HOME": str(self.home),
            "TMPDIR": str(tmp),
            "PATH": ":".join([str(programs), *system]),
            "LANG": "C.UTF-8",
        }

    def run(self, line: str) -> tuple[int, str]:
        """One command line as a shell runs it: its exit code and all it printed."""
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LONGEST_S,
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
        )
        return done.returncode, done.stdout

    def write(self, name: str, text: str, *, more: bool) -> None:
        """As an editor would."""
        path = self.place / name
        with path.open("a" if more else "x", encoding="utf-8") as file:
            file.write(text)
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)

    def left(self) -> list[int]:
        """Processes that still run for this home."""
        home = re.compile(rb"(?:^|[\0=])" + re.escape(os.fsencode(self.home)) + rb"(?:[/\0]|$)")
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                known = Path(f"/proc/{entry}/environ").read_bytes() + Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if home.search(known):
                found.append(int(entry))
        return found

    def close(self) -> None:
        deadline = time.monotonic() + END_MAX_S
        while (left := self.left()) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
            time.sleep(0.05)
        shutil.rmtree(self.directory, ignore_errors=True)


def stacks_can_be_read() -> bool:
    """Whether the kernel lets a user's Holdfast look into that user's agents."""
    try:
        return Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip() == "0"
    except OSError:
        return True


def _install(venv: Path, uid: int) -> Path:
    """Holdfast and what it needs, as installed here, for another user. Its directory of programs."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = next(filter(lambda path: _runs(path, wanted, uid), _interpreters(wanted)), None)
    if python is None:
        raise CannotPlay(f"user {uid} can reach no Python {wanted} here")
    programs, packages = venv / "bin", venv / "lib" / f"python{wanted}" / "site-packages"
    subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], check=True, capture_output=True)
    for name in _needed("holdfast"):
        for file in metadata.distribution(name).files or ():
            target = programs / file.name if file.parts[-2:-1] == ("bin",) else packages / file
            if not target.resolve().is_relative_to(venv) or file.suffix in (".pth", ".pyc"):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
    shutil.copytree(_PACKAGE, packages / "holdfast", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    script = programs / "holdfast"
    script.write_text(f"#!{programs}/python3\nimport sys\nfrom holdfast.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return programs


def _interpreters(version: str) -> list[str]:
    places = ("/usr/bin", "/usr/local/bin", "/opt/python/bin")
    return [os.path.realpath(sys.executable), *(f"{place}/python{version}" for place in places)]


def _runs(path: str, version: str, uid: int) -> bool:
    ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [path, "-I", "-c", ask], user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return done.stdout.strip() == version


def _needed(name: str) -> set[str]:
    """A distribution and all it requires, as installed here."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        try:
            requires = metadata.requires(one) or []
        except metadata.PackageNotFoundError:
            continue  # for other systems or Pythons than this
        found.add(one)
        names = (re.match(r"[\w.-]+", line) for line in requires if "extra ==" not in line)
        waiting.extend(each.group(0) for each in names if each and each.group(0) not in found)
    return found
