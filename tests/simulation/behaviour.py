"""Twenty behavioural faults against seven kinds of agents, for as many simulated agent-years as are asked for.

innocent   a healthy agent is never restarted and has no incident, whatever happens to us, the machine or its manners
caught     a sick agent is acted upon within its stated deadline, which gaps of ours and starvation may only restart
unknown    right after a gap of ours nobody is said to be well
hidden     while a source of behaviour says that it fails there is no good run, however good its endpoint
rests      a healed agent ends healthy, its incident closed
evidence   whoever is restarted for its behaviour is treated as hung
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from holdfast.healing import model as m
from holdfast.healing.model import Phase
from holdfast.health.model import Verdict
from tests.simulation.checker import Violation
from tests.simulation.subject import BEAT_S, LATE_S, PROBE_S, RULES, Doors, Subject

HEALTHY = ("honest", "busy", "slow", "idle")
SICK = ("never", "stopped", "thread")
KINDS = (*HEALTHY, *SICK)
DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
EPISODE_S = 3 * 3600.0  # of which the last two hours are calm again
EPISODES = 20  # of one agent
SLACK_BROKEN_S = 1.0
Fault = Callable[[Subject, float], None]


def away(one: Subject, seconds: float, *, socket_lost: bool = False) -> None:
    """The keeper or init was away: what was said meanwhile waits for them, or is lost with the socket."""
    if not one.hearing:
        return
    one.hearing = False
    one.line_cut = one.line_cut or socket_lost

    def back() -> None:
        for fields, at in [] if socket_lost else one.lost_mail:
            one.hear(fields, one.instance, at)
        one.lost_mail = []
        one.hearing = True
        one.gap(socket_lost=socket_lost)

    one.at(seconds, back)


def starve(one: Subject, seconds: float) -> None:
    if one.starved:
        return
    one.starved = True
    if one.ladder.running:
        one.see(m.Starved(on=True))

    def end() -> None:
        one.starved = False
        one.see(m.Starved(on=False))
        one.gap()

    one.at(seconds, end)


def sleep(one: Subject, seconds: float) -> None:
    """Suspend: nobody's monotonic clock moves, the wall clock does."""
    one.wall += seconds
    one.gap()


def say(**fields: str) -> Fault:
    return lambda one, seconds: one.send(fields) if one.mode != "silent" else None


def spell(mode: str, before: dict[str, str], after: dict[str, str]) -> Fault:
    """It is so for a while, says so, and works again."""

    def fault(one: Subject, seconds: float) -> None:
        if one.mode != "work" or one.sick_since is not None or one.line_cut or not one.known.begun:
            return
        instance = one.instance
        told = {key: value.format(usec=int(seconds * 1e6)) for key, value in before.items()}
        one.send(told)
        one.mode = mode

        def end() -> None:
            if one.mode == mode and one.instance == instance and one.sick_since is None:
                one.mode = "work"
                one.send({"WATCHDOG": "1", "X_CYCLE": str(one.cycle + 1), **after})
                one.cycle += 1

        one.at(min(seconds, 1800.0), end)

    return fault


def burst(one: Subject, seconds: float) -> None:
    if one.mode == "work" and one.known.begun:
        for _ in range(20):
            one.cycle += 1
            one.send({"WATCHDOG": "1", "X_CYCLE": str(one.cycle)})


def count_anew(one: Subject, seconds: float) -> None:
    """Not before it got past the first number: beats that all say 1 are those of a stuck loop to everybody."""
    if one.mode == "work" and one.cycle > 1:
        one.cycle = 0


def slow_answers(one: Subject, seconds: float) -> None:
    """Fewer in a row than strikes."""
    if one.answers is Verdict.OK and one.sick_since is None:
        one.answers = Verdict.SLOW
        one.at(PROBE_S * 1.9, lambda: well_again(one))


def well_again(one: Subject) -> None:
    if one.sick_since is None:
        one.answers = Verdict.OK


def noisy(one: Subject, seconds: float) -> None:
    one.bad_lines = 5


def bad_run(one: Subject, seconds: float) -> None:
    one.bad_runs = 1


def late_once(one: Subject, seconds: float) -> None:
    """One beat comes late, within what two allow."""
    one.heap = [entry for entry in one.heap if getattr(entry[2], "__name__", "") != "beat"]
    one.heap.sort()
    passed = one.now - (one.known.last_mono or one.now)
    one.at(max(0.0, 1.5 * BEAT_S - passed), one.beat)


def clock(seconds: float) -> Fault:
    def fault(one: Subject, _: float) -> None:
        one.wall += seconds
        one.gap()

    return fault


def stutter(one: Subject, seconds: float) -> None:
    for number in range(6):
        one.at(number * 20.0, lambda: away(one, 2.0))


FAULTS: dict[str, Fault] = {
    "keeper_away": lambda one, seconds: away(one, seconds),
    "init_away": lambda one, seconds: away(one, min(seconds, 30.0)),
    "keeper_stutters": stutter,
    "socket_lost": lambda one, seconds: away(one, min(seconds, 10.0), socket_lost=True),
    "starved": starve,
    "suspended": sleep,
    "clock_back": clock(-7200.0),
    "clock_forward": clock(86_400.0),
    "busy_and_silent": spell("silent", {"X_BUSY_USEC": "{usec}"}, {"X_BUSY_USEC": "0"}),
    "busy_and_beating": spell("stuck", {"WATCHDOG": "1", "X_BUSY_USEC": "{usec}"}, {}),
    "idle": spell("idle", {"X_IDLE": "1"}, {"X_IDLE": "0"}),
    "bad_values": say(X_CYCLE="-3", X_BUSY_USEC="soon", X_QUALITY="9", WATCHDOG="maybe"),
    "degraded": say(X_DEGRADED="model down"),
    "well_again": say(X_DEGRADED=""),
    "burst": burst,
    "count_anew": count_anew,
    "late_once": late_once,
    "slow_answers": slow_answers,
    "noisy_log": noisy,
    "probe_times_out_once": bad_run,
}


def sicken(one: Subject, random: Random) -> None:
    """What makes a sick kind sick, and within which time that must be acted upon."""
    if one.mode != "work" or one.line_cut or one.sick_since is not None or not one.known.begun:
        return
    if one.kind == "never":
        one.answers = Verdict.SLOW
        one.fall_ill(4 * PROBE_S + 30.0 if one.endpoint else LATE_S)
    elif one.kind == "stopped":
        one.mode = "silent"
        one.answers = Verdict.SLOW
        one.fall_ill(LATE_S + BEAT_S * 0.25)
    elif random.random() < 0.2:
        one.fall_ill(SLACK_BROKEN_S)
        one.send({"WATCHDOG": "trigger"})
    else:
        one.mode = "stuck"
        one.fall_ill(LATE_S + BEAT_S * 0.25)
        if random.random() < 0.4:  # a thread that goes on declaring its stuck loop busy
            one.caught_by = one.now + RULES.busy_max_s + LATE_S + BEAT_S
            claim_busy(one, one.instance)


def strike(one: Subject, name: str, random: Random) -> None:
    one.at(random.random() * 600.0, lambda: FAULTS[name](one, 5.0 + random.random() ** 2 * 1700.0))


def schedule(one: Subject, delay_s: float, random: Random) -> None:
    one.at(delay_s, lambda: sicken(one, random))


def claim_busy(one: Subject, instance: int) -> None:
    if one.instance == instance and one.mode == "stuck":
        one.send({"WATCHDOG": "1", "X_CYCLE": str(one.cycle), "X_BUSY_USEC": "10000000000"})
        one.at(BEAT_S, lambda: claim_busy(one, instance))


class Tally(NamedTuple):
    agents: int
    years: float
    faults: Counter[str]
    caught: Counter[str]
    events: int
    failure: tuple[str, Violation] | None


def life(seed: str, doors: Doors) -> tuple[float, Counter[str], int, int, str]:
    """One agent for some weeks. Raises Violation."""
    random = Random(seed)
    kind = random.choice(KINDS)
    one = Subject(random, kind, doors)
    faults: Counter[str] = Counter()
    began, caught = one.now, 0
    one.run(one.now + 600.0)
    for _ in range(EPISODES):
        one.skip(random.expovariate(1 / DAY_S) + 600.0)
        one.run(one.now + 900.0)
        for _ in range(random.randint(1, 3)):
            name = random.choice(list(FAULTS))
            faults[name] += 1
            strike(one, name, random)
        if kind in SICK:
            for relapse in range(random.choice((1, 1, 3))):  # the next within the window in which failures count
                schedule(one, random.random() * 600.0 + relapse * 300.0, random)
        before = one.restarts
        end = one.now + EPISODE_S
        while one.now < end:
            due = one.caught_by
            one.run(end if due is None else min(end, max(due, one.now + 0.01)))
            late = one.caught_by is not None and one.now >= one.caught_by and one.sick_since is not None
            late = late and not one.acted_upon()
            if late and one.hearing and not one.starved and not one.line_cut:
                ill_s = one.now - (one.sick_since or 0.0)
                raise Violation("caught", one.told(f"a {kind} agent is not acted upon after {ill_s:.0f} s"))
            if late:
                one.caught_by = None if one.line_cut else one.now + LATE_S
        caught += one.restarts - before
        if one.sick_since is None and (one.ladder.phase not in (Phase.HEALTHY, Phase.DEGRADED) or one.ladder.incident):
            raise Violation("rests", one.told(f"{one.ladder.phase} two hours after everything was well again"))
        if one.line_cut:
            one.line_cut = False  # its owner made it connect again
            one.mode, one.answers, one.sick_since, one.caught_by = "work", Verdict.OK, None, None
    return one.now - began, faults, caught, one.events, kind


def chunk(job: tuple[str, int, int, str]) -> Tally:
    from tests.simulation.behaviour_bugs import BUGS

    seed, first, count, bug = job
    doors = BUGS[bug]() if bug else Doors()
    years, events = 0.0, 0
    faults: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for index in range(first, first + count):
        name = f"{seed}:{index}"
        try:
            seconds, struck, restarts, seen, kind = life(name, doors)
        except Violation as error:
            return Tally(index - first + 1, years, faults, caught, events, (name, error))
        years += seconds / YEAR_S
        faults += struck
        caught[kind] += restarts
        events += seen
    return Tally(count, years, faults, caught, events, None)


def lived(seed: str, years: float, bug: str) -> tuple[str, Violation] | None:
    """What fails within so many agent-years, in this process."""
    first, total = 0, 0.0
    while total < years:
        one = chunk((seed, first, 5, bug))
        if one.failure is not None:
            return one.failure
        first, total = first + 5, total + one.years
    return None


def campaign(seed: str, years: float, workers: int = 1, bug: str = "") -> tuple[Tally, float]:
    """Until so many agent-years were lived, or something failed; and the seconds that took."""
    began = time.monotonic()
    total = Tally(0, 0.0, Counter(), Counter(), 0, None)
    size, first = 20, 0
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        while total.failure is None and total.years < years:
            jobs = [(seed, first + number * size, size, bug) for number in range(workers)]
            first += size * workers
            for one in pool.imap(chunk, jobs) if workers > 1 else map(chunk, jobs):
                total = Tally(
                    total.agents + one.agents,
                    total.years + one.years,
                    total.faults + one.faults,
                    total.caught + one.caught,
                    total.events + one.events,
                    total.failure or one.failure,
                )
    return total, time.monotonic() - began
