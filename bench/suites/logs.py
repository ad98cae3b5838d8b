"""Logs: CPU of everything that keeps what an agent prints, per GB, and lines lost when Holdfast's logger is killed.

One service prints 128-byte lines in writes of 8 KiB as fast as they are taken; files lie on tmpfs where there is one,
rotated at 100 MB. Peers take turns. Counted is the CPU of all processes of the supervisor, log programs included, from
before the first byte until they are quiet again. Lines lost: `tests/e2e/logger_kills.py`, when it is there.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench import processes, samples
from bench.context import Context, Goal, Result, Section, best_peer
from bench.fleet import Fleet
from bench.install import ROOT

NAME = "logs"
TITLE = "Logs: CPU per GB, lines lost in 200 kills"
ROUNDS = 3
BYTES = 256 * 1024 * 1024
BYTES_SLOW = {"circus": BYTES // 4, "pm2": BYTES // 2}  # so that a turn stays short
FLOOD_TIMEOUT_S = 120.0
QUIET_S, QUIET_CPU_S = 0.5, 0.005
GOAL_CPU_S = 1.2
KILLS = 200
KILLS_TIMEOUT_S = 300.0


def run(context: Context) -> Result:
    """{"cpu_s_per_gb": {peer: [...]}, "mb_per_s": ..., "kept_mb": ..., "kills": {...} or {"error": text}}."""
    result: Result = {"cpu_s_per_gb": {}, "mb_per_s": {}, "kept_mb": {}}
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else context.place
    place = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=base))
    place.chmod(0o755)  # agents may run as other users
    try:
        for _ in range(ROUNDS):
            for name in context.choose():
                try:
                    _flood(context, name, place, result)
                except (processes.TooSlow, processes.CommandFailed) as error:
                    context.say(f"logs: {error}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    result["kills"] = _kills(context)
    return result


def _flood(context: Context, name: str, place: Path, into: Result) -> None:
    """One service prints its bytes; CPU and speed of the whole way are noted."""
    total = BYTES_SLOW.get(name, BYTES)
    shutil.rmtree(place / "logs", ignore_errors=True)
    (place / "logs").mkdir()
    done = place / "done"
    go = place / "go"
    for file in (done, go):
        file.unlink(missing_ok=True)
    done.touch()
    done.chmod(0o666)
    arguments = ("flood", str(total), str(done), str(go))
    with Fleet(context.peer(name), place, context.workload, 1, arguments=arguments, logs=place / "logs") as fleet:
        time.sleep(1.0)
        pids = fleet.supervisor_pids()
        before = {pid: use.cpu_s for pid in pids if (use := processes.used(pid))}
        go.touch()
        begun = time.monotonic()
        processes.wait_until(lambda: done.stat().st_size > 0, f"{name}: {total} bytes printed", FLOOD_TIMEOUT_S, 0.02)
        ended = int(done.read_text().split()[0]) / 1e9
        _wait_quiet(pids)
        spent = sum(use.cpu_s - before[pid] for pid in before if (use := processes.used(pid)))
        kept = _bytes_below(place / "logs") if name != "holdfast" else _bytes_below(fleet.directory / "home/logs")
    into["kept_mb"].setdefault(name, []).append(round(kept / 1e6, 1))
    into["cpu_s_per_gb"].setdefault(name, []).append(round(spent / total * 1e9, 3))
    into["mb_per_s"].setdefault(name, []).append(round(total / 1e6 / (ended - begun), 1))
    context.say(f"logs: {name}: {into['cpu_s_per_gb'][name][-1]} CPU s/GB at {into['mb_per_s'][name][-1]} MB/s")


def _bytes_below(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _wait_quiet(pids: list[int]) -> None:
    """Until the supervisor has read what was still in its pipe and done what follows."""

    def quiet() -> bool:
        return sum(use.cpu_s for use in processes.use_over(pids, QUIET_S).values()) < QUIET_CPU_S

    processes.wait_until(quiet, "quiet after the flood", 30)


def _kills(context: Context) -> Result:
    program = ROOT / "tests/e2e/logger_kills.py"
    if not program.exists():
        return {"error": "tests/e2e/logger_kills.py is not in this checkout"}
    argv = [sys.executable, "-m", "tests.e2e.logger_kills", "--kills", str(KILLS)]
    try:
        text = processes.command(argv, context.place / "kills", timeout_s=KILLS_TIMEOUT_S, cwd=ROOT, good=(0, 1))
        return dict(json.loads(text.strip().splitlines()[-1]))
    except (processes.CommandFailed, processes.TooSlow, ValueError, IndexError) as error:
        context.say(f"logs: {error}")
        return {"error": str(error)[:300]}


def report(result: Result) -> Section:
    """One table, the count of lost lines, and two goals."""
    medians = {name: samples.median(values) for name, values in result["cpu_s_per_gb"].items()}
    best = best_peer(medians)
    rows = [
        [
            name,
            samples.number(middle),
            " ".join(samples.number(value) for value in result["cpu_s_per_gb"][name]),
            samples.ratio(middle, best[1]) if best else "-",
            " ".join(samples.number(value, 0) for value in result["mb_per_s"][name]),
            " ".join(samples.number(value, 0) for value in result["kept_mb"][name]),
        ]
        for name, middle in sorted(medians.items(), key=lambda item: item[1])
    ]
    lines = samples.table(
        ["", "CPU s/GB, median", "each run", "median : best peer's", "MB/s, each run", "MB on disk"], rows
    )
    kills = result["kills"]
    lines += ["", f"Logger killed while agents print: {', '.join(f'{key} {value}' for key, value in kills.items())}."]
    ours = medians.get("holdfast")
    text = f"logs ≤ {GOAL_CPU_S} CPU s/GB"
    figure = "not measured" if ours is None else f"{ours:.2f} CPU s/GB"
    cost = Goal("logs-cpu", text, figure, None if ours is None else ours <= GOAL_CPU_S)
    lost = kills.get("lost")
    done = kills.get("kills", 0)
    figure = "not measured" if lost is None else f"{lost} lost in {done} kills"
    reached = None if lost is None else bool(kills.get("passed")) and done >= KILLS
    return Section(lines, [cost, Goal("logs-lost", f"0 lines lost in {KILLS} kills of the logger", figure, reached)])
