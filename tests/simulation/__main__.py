"""`python -m tests.simulation`: campaigns that end in PASSED, or in the seed that failed with its shortest trace."""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys

from holdfast.healing.table import TRANSITIONS
from tests.simulation import behaviour, behaviour_bugs, density_bugs, density_campaign
from tests.simulation.bugs import BUGS, Doors, plant
from tests.simulation.campaign import Failure, Tally, campaign, episode, shrink
from tests.simulation.checker import Violation
from tests.simulation.faults import draw

BUG_YEARS = 4.0
BUG_EVENTS = 400_000  # a bug that survives so many faults is not caught


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="faults to inject (default 100000)")
    parser.add_argument("--seed", default="", help="any text; the same seed is the same campaign")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="plant this bug; the campaign must fail")
    parser.add_argument("--all-bugs", action="store_true", help="prove that each planted bug is caught")
    parser.add_argument("--replay", default="", metavar="SEED:N", help="run one episode again and print its trace")
    parser.add_argument("--behaviour", action="store_true", help="the campaign of behaviour instead of the ladder's")
    parser.add_argument("--years", type=float, default=5.0, help="with --behaviour: agent-years to live (default 5)")
    parser.add_argument("--density", action="store_true", help="the campaign of the RAM semaphore")
    parser.add_argument("--episodes", type=int, default=200, help="with --density: fleets to live (default 200)")
    options = parser.parse_args()
    if options.density:
        return density(options.seed or secrets.token_hex(4), options.episodes, options.workers, options.all_bugs)
    if options.behaviour:
        return behave(options.seed or secrets.token_hex(4), options.years, options.workers, options.all_bugs)
    seed = options.seed or secrets.token_hex(4)
    if options.replay:
        return replay(options.replay, options.bug)
    if options.all_bugs:
        return all_bugs(seed, options.workers)
    tally, seconds = campaign(seed, options.events, options.workers, options.bug)
    report(tally, seconds)
    if tally.failure:
        explain(tally.failure, plant(options.bug) if options.bug else Doors())
        print(f"FAILED seed={seed}")
        return 1
    print(f"PASSED seed={seed}")
    return 0


def report(tally: Tally, seconds: float) -> None:
    print(
        f"{tally.faults} faults injected, {tally.observations} observations decided, {tally.episodes} episodes, "
        f"{tally.boots} boots of a fleet, {seconds:.1f} s"
    )
    for old, following in TRANSITIONS.items():
        for new in following:
            print(f"  {old:>11} -> {new:<11} {tally.transitions[old.value, new.value]:>9}")
    times = [tally.transitions[old.value, new.value] for old, following in TRANSITIONS.items() for new in following]
    print(f"{len(times)} transitions, the rarest {min(times)} times")


def explain(failure: Failure, doors: Doors) -> None:
    least, trace = shrink(failure, doors)
    print(f"episode {failure.seed} broke {failure.text}")
    print(f"shortest: {len(least.faults)} fault(s), {least.policy}")
    for line in trace[-60:]:
        print(f"  {line}")
    print(f"replay: python -m tests.simulation --replay {failure.seed}")


def all_bugs(seed: str, workers: int) -> int:
    missed = []
    for name, (breaks, _) in BUGS.items():
        tally, _ = campaign(seed, BUG_EVENTS, workers, name)
        caught = tally.failure
        if caught is None:
            missed.append(name)
        says = f"caught by {caught.invariant} (meant: {breaks}) in {caught.seed}" if caught else "NOT CAUGHT"
        print(f"{name:50} {says}", flush=True)
    print(f"{'FAILED' if missed else 'PASSED'} seed={seed}: {len(BUGS) - len(missed)} of {len(BUGS)} bugs caught")
    return 1 if missed else 0


def behave(seed: str, years: float, workers: int, all_bugs: bool) -> int:
    """Behavioural faults against seven kinds of agents; with `all_bugs`, each planted bug must be caught."""
    if all_bugs:
        missed = []
        jobs = [(seed, BUG_YEARS, name) for name in behaviour_bugs.BUGS]
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            for name, failure in pool.imap(behave_badly, jobs):
                missed += [] if failure else [name]
                says = f"caught by {failure[1].invariant} in {failure[0]}" if failure else "NOT CAUGHT"
                print(f"{name:55} {says}", flush=True)
        count = len(behaviour_bugs.BUGS)
        print(f"{'FAILED' if missed else 'PASSED'} seed={seed}: {count - len(missed)} of {count} bugs caught")
        return 1 if missed else 0
    tally, seconds = behaviour.campaign(seed, years, workers)
    print(f"{tally.agents} agents lived {tally.years:.1f} years, {tally.events} events, {seconds:.1f} s")
    for name in behaviour.FAULTS:
        print(f"  {name:>22} {tally.faults[name]:>8}")
    print(f"restarted: {', '.join(f'{kind} {tally.caught[kind]}' for kind in behaviour.KINDS)}")
    if tally.failure is not None:
        print(f"agent {tally.failure[0]} broke {tally.failure[1]}")
    print(f"{'FAILED' if tally.failure else 'PASSED'} seed={seed}")
    return 1 if tally.failure else 0


def behave_badly(job: tuple[str, float, str]) -> tuple[str, tuple[str, Violation] | None]:
    """With one planted bug: what caught it."""
    seed, years, name = job
    return name, behaviour.lived(seed, years, name)


def density(seed: str, episodes: int, workers: int, all_bugs: bool) -> int:
    """Random fleets under the RAM semaphore; a single SEED:N is lived alone, with its trace."""
    if ":" in seed:
        trace: list[str] = []
        _, error = density_campaign.lived(seed, trace)
        print("\n".join(trace))
        print(f"FAILED seed={seed}: {error}" if error else f"PASSED seed={seed}")
        return 1 if error else 0
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        if all_bugs:
            missed = []
            for name, failure in pool.imap(density_badly, [(seed, name) for name in density_bugs.BUGS]):
                missed += [] if failure else [name]
                says = f"caught by {failure[1]} in {failure[0]}" if failure else "NOT CAUGHT"
                print(f"{name:40} {says}", flush=True)
            count = len(density_bugs.BUGS)
            print(f"{'FAILED' if missed else 'PASSED'} seed={seed}: {count - len(missed)} of {count} bugs caught")
            return 1 if missed else 0
        tally = density_campaign.Tally()
        for number, (one, error) in enumerate(
            pool.imap(density_campaign.lived, (f"{seed}:{number}" for number in range(episodes)))
        ):
            tally.add(one)
            if error is not None:
                print(f"fleet {seed}:{number} broke {error}")
                print(f"replay: python -m tests.simulation --density --seed {seed}:{number}")
                print(f"FAILED seed={seed}")
                return 1
    print(f"{tally.episodes} fleets lived, {tally.steps} steps, {tally.decisions} decisions")
    for kind, count in sorted(tally.seen.items()):
        print(f"  {kind:>20} {count:>9}")
    print(f"PASSED seed={seed}")
    return 0


def density_badly(job: tuple[str, str]) -> tuple[str, tuple[str, Violation] | None]:
    """With one planted bug: what caught it."""
    seed, name = job
    return name, density_bugs.caught(name, seed)


def replay(name: str, bug: str) -> int:
    """One whole episode with its trace."""
    plan = draw(name)
    trace: list[str] = []
    try:
        episode(plan, plant(bug) if bug else Doors(), trace)
    except Violation as error:
        trace.append(f"VIOLATED {error}")
    print(plan.policy)
    print("\n".join(trace))
    return 0


if __name__ == "__main__":
    sys.exit(main())
