"""Compresses rotated logs and deletes the oldest, one pass: `python -m holdfast.logs.archivist --home HOME`.

Invariants: killed at any step, no line is lost or doubled: an archive appears whole beside its source, readers take
one of the two, and only then the logger is asked to drop the source; draining never waits for it. Started by the
logger (crew.py) at low priority.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.logs import archive, helper, index, own_caps, rotation, wanted
from holdfast.logs.retention import Kept, is_due, over_node_cap, over_total, too_many_or_too_old
from holdfast.logs.wanted import Wanted
from holdfast.spec.model import Logs

DAMAGED = ".damaged"

Order = Callable[..., None]
Step = Callable[[str], None]


class Archivist:
    """One pass. `order` reaches the logger; `step` is a fault point for tests."""

    def __init__(self, home: Path, settings: Wanted, order: Order, step: Step = lambda name: None) -> None:
        self._logs = home / "logs"
        self._home = home
        self._settings = settings
        self._order = order
        self._step = step
        self._gone: set[archive.Identity] = set()  # asked to be dropped in this pass

    def work(self, now_ns: int) -> None:
        """All agents that there are, whether in the fleet or not."""
        agents = sorted(entry for entry in _listed(self._logs) if (self._logs / entry).is_dir())
        for agent in agents:
            try:
                self._tidy(agent, now_ns)
            except OSError as error:
                helper.tell("archivist", f"{agent}: {error.strerror}: {error.filename or ''}")
        self._keep_node_cap(agents)

    def _tidy(self, agent: str, now_ns: int) -> None:
        directory = str(self._logs / agent)
        logs = self._settings.of(agent).logs
        for entry in _listed(directory):
            path = os.path.join(directory, entry)
            if entry.endswith(archive.PARTIAL) or (entry.endswith(DAMAGED) and _is_old(path, logs, now_ns)):
                os.unlink(path)  # half of an archive, of a pass that was killed: we hold the lock
        self._finish(agent)
        for file in too_many_or_too_old(self._rotated(agent), logs, now_ns):
            self._delete(file)
        self._compress(agent, directory)
        surplus = over_total(self._rotated(agent), _written_bytes(directory), logs.total_bytes)
        if surplus:
            self._delete_over_cap(agent, surplus, f"its logs are larger than {logs.total_bytes} bytes")
        self._rotate_by_age(agent, directory, logs, now_ns)

    def _finish(self, agent: str) -> None:
        """A pass was killed between making an archive and having its source dropped."""
        files = self._rotated(agent)
        packed = {file.identity for file in files if file.number is not None}
        for file in files:
            if file.number is None and file.identity in packed:
                self._drop(file)

    def _compress(self, agent: str, directory: str) -> None:
        """Oldest first, so that numbers of archives follow the order of lines."""
        for file in self._rotated(agent):
            if file.number is None:
                number = max(archive.numbers(directory), default=0) + 1
                if not self._compress_one(file, archive.path_of(directory, number)):
                    return
                self._drop(file)

    def _compress_one(self, file: Kept, target: str) -> bool:
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # rotated meanwhile: the next pass finds it under its new name
            return False
        try:
            if archive.identity_of(fd) != file.identity:
                return False
            times = index.records(file.path + index.SUFFIX, file.identity.inode)
            archive.write(fd, times, target, self._step)
        finally:
            os.close(fd)
        return True

    def _rotate_by_age(self, agent: str, directory: str, logs: Logs, now_ns: int) -> None:
        path = rotation.path_of(directory, 0)
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            return
        times = index.records(path + index.SUFFIX, status.st_ino)
        first_ns = index.RECORD.unpack_from(times)[0] if times else None
        if status.st_size and is_due(first_ns, status.st_mtime_ns, logs, now_ns):
            self._order("rotate", agent)

    def _keep_node_cap(self, agents: list[str]) -> None:
        try:
            cap = wanted.node_cap_bytes(self._home, self._settings)
        except OSError:
            return
        rotated = [file for agent in agents for file in self._rotated(agent)]
        written = {agent: _written_bytes(str(self._logs / agent)) for agent in agents}
        surplus = over_node_cap(rotated, sum(written.values()), cap)
        for agent in sorted({file.agent for file in surplus}):
            mine = [file for file in surplus if file.agent == agent]
            self._delete_over_cap(agent, mine, f"the logs of all agents are larger than {cap} bytes")
        if len(surplus) == len(rotated) and sum(written.values()) > cap:
            self._order("rotate", max(written, key=lambda name: written[name]))  # the next pass may delete it

    # --- files ---------------------------------------------------------------------------------------------------
    def _rotated(self, agent: str) -> list[Kept]:
        """All but the file being written, oldest first, without those that were asked to be dropped."""
        directory = str(self._logs / agent)
        found: list[Kept] = []
        for number in archive.numbers(directory):
            path = archive.path_of(directory, number)
            try:
                opened = archive.Archive(path)
                size = os.fstat(opened.fd).st_size
                opened.close()
            except FileNotFoundError:
                continue
            except archive.Damaged as error:
                helper.tell("archivist", f"{path}: {error.strerror}: set aside")
                os.rename(path, path + DAMAGED)
                continue
            found.append(Kept(agent, path, number, size, opened.identity.mtime_ns, opened.identity))
        numbers = [n.removeprefix("log.") for n in _listed(directory) if n.startswith("log.")]
        for number in sorted((int(n) for n in numbers if n.isascii() and n.isdigit()), reverse=True):
            path = rotation.path_of(directory, number)
            try:
                status = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                continue
            identity = archive.Identity(status.st_ino, status.st_size, status.st_mtime_ns)
            if identity not in self._gone:
                size = status.st_size + _bytes_of(path + index.SUFFIX)
                found.append(Kept(agent, path, None, size, status.st_mtime_ns, identity))
        return found

    def _delete(self, file: Kept) -> None:
        if file.number is None:
            self._drop(file)
            return
        self._step("delete")
        os.unlink(file.path)
        self._step("deleted")

    def _drop(self, file: Kept) -> None:
        """Only the logger deletes what it may be about to rename."""
        self._gone.add(file.identity)
        self._order("drop", file.agent, *file.identity)

    def _delete_over_cap(self, agent: str, surplus: list[Kept], why: str) -> None:
        """Deleting for want of room is said where the lines are missing, and in the logger's own log."""
        text = f"{sum(file.bytes for file in surplus)} bytes of older log were deleted: {why}"
        for file in surplus:
            try:
                self._delete(file)
            except OSError as error:
                helper.tell("archivist", f"{file.path}: {error.strerror}")
        helper.tell("archivist", f"{agent}: {text}")
        self._order("say", agent, text)


def _listed(directory: str | Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _is_old(path: str, logs: Logs, now_ns: int) -> bool:
    return os.stat(path, follow_symlinks=False).st_mtime_ns < now_ns - int(logs.max_age_s * 1e9)


def _bytes_of(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def _written_bytes(directory: str) -> int:
    path = rotation.path_of(directory, 0)
    return _bytes_of(path) + _bytes_of(path + index.SUFFIX)


def _work(home: Path) -> None:
    Archivist(home, wanted.read(home), helper.order).work(time.time_ns())
    own_caps.keep(home / "log")


if __name__ == "__main__":
    sys.exit(helper.run("archivist", _work, yielding=True))
