"""`python -m tests.accept` (`./dev accept`): the promises, each with the command that shows it and today's figure.

Short forms only, within ten minutes; the long campaigns are `./dev test-full`, the peers `./dev bench`. Ends by looking
for processes that were left behind: everything started here is a descendant of this process, orphans included. Exit
code 0 when every line that could be judged here is reached and nothing is left.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".dev" / "accept"
BUDGET_S = 570.0
STEP_LEAST_S = 10.0  # with less time left a step is left out
PR_SET_CHILD_SUBREAPER = 36
REACHED, MISSED, OPEN = "yes", "NO", "not judged"


@dataclass(frozen=True, slots=True)
class Judgement:
    figure: str
    reached: str


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table. `judge` gets exit code and output."""

    line: str
    command: list[str]
    judge: Callable[[int, str], Judgement]
    shown: str = ""  # the command as a person would type it
    max_s: float = 120.0


def by_pytest(code: int, output: str) -> Judgement:
    closing = [line for line in output.splitlines() if re.search(r"\d+ (passed|failed|skipped|error)", line)]
    figure = closing[-1].strip("= ") if closing else f"exit {code}"
    ran = "passed" in figure
    return Judgement(figure, REACHED if code == 0 and ran else (OPEN if code == 0 else MISSED))


def by_demo(code: int, output: str) -> Judgement:
    try:
        result = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return Judgement(f"exit {code}", MISSED)
    back = ", ".join(f"{entry['name']} back in {entry['restored_s']} s" for entry in result["recovered"])
    found = re.search(r"goes on at job \d+, ([\d.]+) s after", output)
    back += f", deleted files back in {found[1]} s" if found else ""
    good = code == 0 and result["left_running"] == 0
    return Judgement(f"{result['agents']} agents; {back}; left {result['left_running']}", REACHED if good else MISSED)


def by_campaign(code: int, output: str) -> Judgement:
    """Crash campaign: one line of JSON, then PASSED."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if code != 0 or not found:
        said = [line for line in output.splitlines() if line.startswith("FAILED")]
        return Judgement(said[0][:150] if said else _last(output, code), MISSED)
    one = found[-1]
    wanted = ("seed", "rounds", "doubled", "lost", "stuck", "lines_lost")
    figure = ", ".join(f"{name} {one[name]}" for name in wanted if name in one)
    clean = all(one.get(name, 0) == 0 for name in ("doubled", "lost", "stuck", "lines_lost"))
    return Judgement(f"{figure}, slowest repair {one.get('slowest_s')} s", REACHED if clean else MISSED)


def by_last_line(code: int, output: str) -> Judgement:
    return Judgement(_last(output, code), REACHED if code == 0 else MISSED)


def by_drill(code: int, output: str) -> Judgement:
    """The scorecard of `holdfast drill --json`."""
    card = json.loads(output.splitlines()[-1])
    verdicts = [result["verdict"] for result in card["results"]]
    bad = [f"{result['fault']}: {result['detail']}" for result in card["results"] if result["verdict"] == "failed"]
    slowest = max((result["restored_s"] or 0.0 for result in card["results"]), default=0.0)
    figure = f"{verdicts.count('passed')} of {len(verdicts)} faults, slowest restored {slowest:.1f} s"
    return Judgement("; ".join([figure, *bad])[:200], REACHED if code == 0 and not bad else MISSED)


def by_snapshots(code: int, output: str) -> Judgement:
    """Kills and power cuts under a writer of snapshots: one line of JSON, last."""
    one = json.loads(output.splitlines()[-1])
    figure = ", ".join(f"{name} {one[name]}" for name in ("cuts", "kills", "committed", "lost"))
    return Judgement(figure, REACHED if code == 0 and one["lost"] == 0 else MISSED)


def by_databases(code: int, output: str) -> Judgement:
    """Copies of databases from under their writers: one JSON object."""
    one = json.loads(output[output.index("{") : output.rindex("}") + 1])
    figure = f"{one['consistent']} of {one['trials']} consistent, writers held up {one['hold_ms']['p99']} ms (p99)"
    return Judgement(figure, REACHED if code == 0 and one["consistent"] == one["trials"] else MISSED)


def by_start_time(code: int, output: str) -> Judgement:
    median_ms = float(output.split()[-1]) if code == 0 else 0.0
    return Judgement(f"median {median_ms:.0f} ms of 9", REACHED if 0 < median_ms < 150 else MISSED)


def _last(output: str, code: int) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1][:150] if lines else f"exit {code}"


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def pytest_step(line: str, *places: str, max_s: float = 120.0) -> Step:
    """`places`: folders or patterns below tests/."""
    found = [one for place in places for one in sorted((ROOT / "tests").glob(place))]
    files = [one for one in found if one.is_file() or list(one.glob("test_*.py"))]
    paths = [str(one.relative_to(ROOT)) for one in files] or ["no-such-test"]
    shown = " ".join(f"tests/{place}" for place in places)
    return Step(line, python("-m", "pytest", "-rs", "-m", "not full", *paths), by_pytest, f"pytest {shown}", max_s)


def steps() -> list[Step]:
    """In the order of what carries most."""
    start = (
        "import statistics, subprocess, sys, time\n"
        "def once():\n"
        "    began = time.perf_counter()\n"
        "    subprocess.run([sys.executable, '-m', 'holdfast.cli', '--version'], capture_output=True, check=True)\n"
        "    return (time.perf_counter() - began) * 1000\n"
        "print(statistics.median(once() for _ in range(9)))"
    )
    return [
        Step(
            "the demo heals an agent and the keeper, restores deleted files, and leaves nothing",
            python("examples/demo.py", "--plain"),
            by_demo,
            "./dev demo",
        ),
        Step(
            "twenty faults, each caught and healed within its promise; state, agent and machine lost and had back",
            python("-m", "holdfast.cli", "--home", str(LOGS / "home"), "drill", "--json"),
            by_drill,
            "holdfast drill",
            240.0,
        ),
        Step(
            "no committed snapshot is lost by kill -9 or a power cut at any write",
            python("-m", "tests.crash.snapshots", "--cuts", "200", "--kills", "30"),
            by_snapshots,
            "python -m tests.crash.snapshots --cuts 200 --kills 30",
        ),
        Step(
            "databases are copied whole from under their writers",
            python("-m", "tests.crash.databases", "--trials", "60"),
            by_databases,
            "python -m tests.crash.databases --trials 60",
        ),
        pytest_step(
            "each restored counter lies between just before and just after its snapshot", "e2e/test_state_black_box.py"
        ),
        pytest_step("a restore killed at any step is finished or undone", "crash/test_restore_kills.py"),
        pytest_step(
            "any tree comes back as it was; retention, collection, a lost machine",
            "unit/state/test_materialize.py",
            "unit/state/test_walk.py",
            "unit/state/test_retention.py",
            "unit/state/test_gc.py",
            "unit/state/test_rebuild.py",
        ),
        Step(
            "twenty behavioural faults: no healthy agent restarted, each sick one caught",
            python("-m", "tests.simulation", "--behaviour", "--years", "3", "--seed", "short"),
            by_last_line,
            "./dev simulate --behaviour --years 3",
        ),
        Step(
            "kill -9 of guard, init, keeper, logger, agents, alone and together: nothing doubled, lost or stuck",
            python("-m", "tests.crash", "--rounds", "40"),
            by_campaign,
            "./dev crash --rounds 40",
            150.0,
        ),
        Step(
            "the crash campaign catches planted bugs",
            python("-m", "tests.crash", "--bug", "all", "--rounds", "80", "--agents", "3", "--seed", "5"),
            by_last_line,
            "./dev crash --bug all --rounds 80 --agents 3 --seed 5",
        ),
        Step(
            "the ladder holds its invariants through 500,000 injected faults",
            python("-m", "tests.simulation", "--events", "500000"),
            by_last_line,
            "./dev simulate --events 500000",
        ),
        Step(
            "the simulation catches every planted bug",
            python("-m", "tests.simulation", "--all-bugs"),
            by_last_line,
            "./dev simulate --all-bugs",
        ),
        pytest_step("guard, init, spawner, adoption, tree kill", "e2e/test_init.py", "unit/init"),
        pytest_step("README's tour, word for word, as an ordinary user", "e2e/test_tour.py"),
        pytest_step("a hung function is named, secrets are not", "e2e/test_evidence.py", "unit/evidence"),
        pytest_step("beats, files, logs, pushes, commands", "e2e/test_sources.py"),
        pytest_step("one cause on the node is one incident", "e2e/test_node_*.py", "e2e/test_memory_*.py"),
        pytest_step("order of starts, maintenance, planned restarts, planned stops", "e2e/test_fleet_order.py"),
        pytest_step("pods: cgroups v2, v1, none; users; clean places", "e2e/test_pods_*.py", "unit/pods"),
        pytest_step("the keeper dies, is rebuilt, is refused a second time", "e2e/test_keeper_*.py"),
        pytest_step("no line lost: kills, full disk, floods, shipping", "e2e/test_log*.py", "unit/logs"),
        pytest_step("the ledger's chain reveals edits and outlives kills", "e2e/test_ledger_*.py", "unit/ledger"),
        pytest_step("endpoint probes tell slow, dead, foreign, starved", "e2e/test_probe_*.py", "unit/health"),
        pytest_step("the ladder's rules, start slots", "unit/healing", "unit/keeper"),
        pytest_step("incidents and alerts", "unit/incidents", "unit/alerts"),
        pytest_step("holdfast.yaml: every mistake at once, never a traceback", "unit/spec"),
        pytest_step("recipes of OpenClaw and Hermes (rules; the real ones: ./dev test-full)", "unit/recipes"),
        pytest_step("HTTP API, described by OpenAPI", "unit/api", "e2e/test_api*.py"),
        pytest_step("command line: verbs, exit codes, JSON", "unit/cli", "e2e/test_cli_*.py", max_s=180.0),
        Step("a command starts in under 150 ms", python("-c", start), by_start_time, "holdfast --version"),
    ]


def run_step(step: Step, number: int, left_s: float) -> tuple[Judgement, float]:
    """Run one line; its whole output goes to .dev/accept/NN.log."""
    began = time.monotonic()
    path = LOGS / f"{number:02d}.log"
    with path.open("w+") as log:
        log.write(f"$ {' '.join(step.command)}\n")
        log.flush()
        process = subprocess.Popen(step.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            code = process.wait(timeout=min(step.max_s, left_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            took_s = time.monotonic() - began
            return Judgement(f"interrupted after {took_s:.0f} s", OPEN), took_s
        log.seek(0)
        output = log.read().split("\n", 1)[1]
    try:
        return step.judge(code, output), time.monotonic() - began
    except (ValueError, KeyError, IndexError) as error:
        return Judgement(f"cannot be read: {error!r}", MISSED), time.monotonic() - began


def measured_before() -> Iterable[tuple[str, str, Judgement]]:
    """Goals of the last full `./dev bench`, from its raw samples."""
    from bench import results, suites

    for name, result in results.load(ROOT / "bench" / "results").items():
        for goal in suites.ALL[name].report(result["figures"]).goals:
            reached = {True: REACHED, False: MISSED, None: OPEN}[goal.reached]
            yield goal.text, f"./dev bench {name}, {result['at']}", Judgement(goal.figure, reached)


def descendants() -> list[int]:
    """Living processes below this one; orphans of ours are adopted by us."""
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            parents[int(entry)] = int(fields[1])
    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        if not more:
            return sorted(found - {os.getpid()})
        found |= more


def reap() -> None:
    """Bury orphans that died; called while no step runs, so that no step's own exit code is taken away."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def main() -> int:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    LOGS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    load = os.getloadavg()[0]
    table: list[tuple[str, str, Judgement]] = []
    for number, step in enumerate(steps(), start=1):
        left_s = BUDGET_S - (time.monotonic() - began)
        if left_s < STEP_LEAST_S:
            judgement, took_s = Judgement("left out for lack of time", OPEN), 0.0
        else:
            judgement, took_s = run_step(step, number, left_s)
            reap()
        print(f"{judgement.reached:10} {took_s:5.1f} s  {step.line}: {judgement.figure}", file=sys.stderr, flush=True)
        table.append((step.line, step.shown or " ".join(step.command), judgement))
    earlier = list(measured_before())
    left = descendants()
    print("\n| line | test or command | figure | reached? |\n|---|---|---|---|")
    for line, command, judgement in [*table, *earlier]:
        cells = (line, f"`{command}`", judgement.figure, judgement.reached)
        print("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    print(
        f"| nothing is left running | all of the above | {len(left)} processes left | {MISSED if left else REACHED} |"
    )
    took_s = time.monotonic() - began
    user = "root" if os.getuid() == 0 else "ordinary user"
    print(f"\n{took_s:.0f} s as {user}, load {load:.1f} before, {os.getloadavg()[0]:.1f} after; logs in {LOGS}")
    for pid in left:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        print(f"left: {pid} {command}")
    missed = [line for line, _command, judgement in table if judgement.reached == MISSED]
    return 1 if missed or left else 0


if __name__ == "__main__":
    sys.exit(main())
