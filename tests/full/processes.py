"""What /proc says about the processes of a test: who they are, whose they are, and which of them are left.

Invariant: a process is named by pid and start time together, so a reused pid is never taken for the old one.
Used by the tests of this folder.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """One process, safe against reuse of its pid."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Raises OSError when there is none."""
        return cls(pid, int(_stat(pid)[19]))

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            fields = _stat(self.pid)
        except OSError:
            return False
        return int(fields[19]) == self.started_ticks and fields[0] not in ("Z", "X")

    @property
    def command(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    @property
    def user(self) -> int:
        """Its user id."""
        return os.stat(f"/proc/{self.pid}").st_uid

    @property
    def session(self) -> int:
        return int(_stat(self.pid)[3])


def hand_over(folder: Path) -> None:
    """As root, give a folder and all in it to `nobody`: an agent's place never belongs to root. Else do nothing."""
    if os.getuid() != 0:
        return
    owner = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def descendants(pid: int) -> list[Process]:
    """All living descendants of `pid`, nearest first, without itself."""
    children: dict[int, list[int]] = {}
    for other in _pids():
        try:
            children.setdefault(int(_stat(other)[1]), []).append(other)
        except OSError:
            continue
    found: list[Process] = []
    todo = list(children.get(pid, ()))
    while todo:
        one = todo.pop(0)
        todo += children.get(one, ())
        try:
            found.append(Process.of(one))
        except OSError:
            continue
    return [process for process in found if process.alive]


def marked(text: str) -> list[Process]:
    """Every living process, this one excepted, with `text` in its environment, command line or cgroup path."""
    wanted = text.encode()
    found = []
    for pid in _pids():
        if pid == os.getpid():
            continue
        try:
            process = Process.of(pid)
            if any(wanted in _read(pid, name) for name in ("environ", "cmdline", "cgroup")) and process.alive:
                found.append(process)
        except OSError:
            continue
    return found


def cgroups_named(text: str) -> list[Path]:
    """Every cgroup directory with `text` in its name, in all hierarchies."""
    found = []
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [Path(folder) / name for name in names if text in name]
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on: state, parent, group, session, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
