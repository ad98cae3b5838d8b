"""How long an agent stands still for a snapshot, seen by the agent itself.

Run as a module (`python -m bench.state_pause NOTES DIR`) it is such an agent, of two processes: one looks at the clock
each millisecond and notes when it missed some, the other writes a file and a database. Both stand in one freezer cgroup
where there is one.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from bench import processes
from bench.context import Context, Result
from bench.install import ROOT
from bench.state_peers import AGENT_ID, Holdfast

GAP = struct.Struct("<dd")  # monotonic seconds it began, its length in seconds
NOTED_S = 0.002
BIG_EVERY, BIG_BYTES = 10, 100_000_000
FREEZER = Path("/sys/fs/cgroup/freezer")


def pauses(context: Context, workspace: Path, count: int) -> Result:
    """{"gaps_ms": the longest of each snapshot, "still_ms": of as long a time without one, "consistency", …}."""
    place = context.place / "pause"
    place.mkdir()
    notes = place / "gaps"
    work = workspace / "work"
    work.mkdir()
    if os.getuid() == 0:
        os.chown(work, AGENT_ID, AGENT_ID)
    argv: list[str | Path] = [sys.executable, "-m", "bench.state_pause", notes, work]
    pid = processes.spawn(argv, place / "agent.log", cwd=ROOT)
    archive = Holdfast(place, workspace)
    archive.create()
    gaps, still, kinds = [], [], Counter[str]()
    cgroup = None
    try:
        processes.wait_until((work / "log").exists, "the agent", 30.0)
        cgroup = _cgroup(processes.descendants([pid]))
        agent: dict[str, object] = {"capture": "freeze", "pid": pid, "cgroups": [str(cgroup)] if cgroup else []}
        with archive.resident() as resident:
            archive.take(resident, agent)
            archive.notes.clear()
            for number in range(count):
                if number % BIG_EVERY == BIG_EVERY - 1:
                    _write_much(workspace / "big.bin", 10_000_000 if context.quick else BIG_BYTES)
                began = time.monotonic()
                archive.take(resident, agent)
                ended = time.monotonic()
                gaps.append(round(_longest(notes, began, ended), 2))
                time.sleep(min(ended - began, 0.5))
                still.append(round(_longest(notes, ended + 0.005, time.monotonic()), 2))
        kinds.update(note or "nothing changed" for note in archive.notes)
    finally:
        for each in processes.descendants([pid]):
            processes.kill(each)
        if cgroup is not None:
            processes.wait_until(lambda: not cgroup.joinpath("cgroup.procs").read_text(), "an empty cgroup", 10.0)
            cgroup.rmdir()
    context.say(f"state: pauses: {sorted(gaps)[-3:]} ms at worst, {dict(kinds)}")
    return {
        "way": "freezer cgroup, v1" if cgroup else "SIGSTOP",
        "file_system": _file_system(workspace),
        "gaps_ms": gaps,
        "still_ms": still,
        "consistency": dict(kinds),
        "big_every": BIG_EVERY,
        "big_mb": BIG_BYTES // 1_000_000,
    }


def _cgroup(pids: list[int]) -> Path | None:
    made = FREEZER / f"holdfast-bench-{os.getpid()}"
    try:
        made.mkdir()
        for pid in pids:
            (made / "cgroup.procs").write_text(str(pid))
    except OSError:
        return None
    return made


def _write_much(path: Path, count: int) -> None:
    with path.open("wb") as file:
        for _ in range(count // 1_000_000):
            file.write(os.urandom(1_000_000))
    if os.getuid() == 0:
        os.chown(path, AGENT_ID, AGENT_ID)


def _longest(notes: Path, began: float, ended: float) -> float:
    """Milliseconds of the longest gap that lies in that time at least in part; 0 for none worth a note."""
    time.sleep(0.02)
    found = [length for at, length in GAP.iter_unpack(notes.read_bytes()) if at < ended and at + length > began]
    return max(found, default=0.0) * 1000


def _file_system(path: Path) -> str:
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if str(path).startswith(where.rstrip("/") + "/") and len(where) > len(best[0]):
            best = (where, kind)
    return best[1]


def _clock(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        before = time.monotonic()
        while True:
            time.sleep(0.001)
            now = time.monotonic()
            if now - before > NOTED_S:
                file.write(GAP.pack(before, now - before))
            before = now


def _write(directory: Path) -> None:
    """As the agent's user, so that everything it makes is its own."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(AGENT_ID)
        os.setuid(AGENT_ID)
    link = sqlite3.connect(directory / "live.db", isolation_level=None)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("PRAGMA synchronous=OFF")
    link.execute("CREATE TABLE IF NOT EXISTS beat (id INTEGER PRIMARY KEY, at REAL, text TEXT)")
    with (directory / "log").open("a") as file:
        while True:
            link.execute("INSERT INTO beat (at, text) VALUES (?, ?)", (time.time(), "x" * 500))
            print(time.time(), file=file, flush=True)
            time.sleep(0.005)


if __name__ == "__main__":
    if os.fork() == 0:
        _write(Path(sys.argv[2]))
    _clock(Path(sys.argv[1]))
