"""One simulated agent that speaks and is asked, its sources of behaviour, and the ladder that hears of it.

The rules are the real ones: health/beats.py and the other trackers, the sum of keeper/watching/behaviour.py, triage.
Time jumps from event to event; hours in which nothing happens are skipped whole. Called by behaviour.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from holdfast.healing import actions, triage
from holdfast.healing import model as m
from holdfast.healing.model import Ladder, Phase, Policy, Tier
from holdfast.health import beats, command, file_beat, log_watch, push
from holdfast.health.model import Judgement, Observed, Verdict
from holdfast.keeper.watching.behaviour import failing_of
from holdfast.spec.model import CommandProbe, FileBeat, LogPattern, LogWatch, PushBeat
from tests.simulation.checker import Violation

BEAT_S = 60.0
RULES = beats.Rules(beat_s=BEAT_S, busy_max_s=1800.0, start_period_s=30.0, stop_grace_s=600.0)
LATE_S = RULES.patience_s
PROBE_S = 2.0
CALM_PROBE_S = 30.0  # good answers in between change nothing
DOUBT_S = 5.0
SLACK_S = 3.0  # slots, gathering and the time that an act takes
SOURCES = ("none", "file", "log", "push", "command")
FILE = FileBeat(path="/run/beat", max_age_s=200.0)
LOG = LogWatch(silence_s=200.0, patterns=(LogPattern(pattern="retrying", count=3, within_s=60.0),))
PUSH = PushBeat(every_s=120.0, grace_s=120.0)
COMMAND = CommandProbe(command=("probe",), interval_s=60.0)
ACTS = (actions.RestartTree, actions.Recreate, actions.Start)


class Doors(NamedTuple):
    """The rules; a planted bug spoils one of them."""

    decide: Callable[..., Any] = triage.decide
    hear: Callable[..., beats.Beats] = beats.hear
    gap: Callable[..., beats.Beats] = beats.gap
    deafened: Callable[..., beats.Beats] = beats.deafened
    judge: Callable[..., tuple[Judgement, str]] = beats.judge
    failing: Callable[..., dict[str, str]] = failing_of
    excuse: Callable[..., str] = beats.excuse
    fresh: Callable[..., beats.Beats] = beats.Beats
    rules: beats.Rules = RULES


def _due(ladder: Ladder) -> bool:
    """Its restart is due later, for its behaviour."""
    return bool(ladder.blamed) and ladder.phase is Phase.UNHEALTHY


class Subject:
    """The agent, what is heard of it, and what the keeper makes of that."""

    def __init__(self, random: Random, kind: str, doors: Doors) -> None:
        self.random, self.kind, self.doors = random, kind, doors
        self.now = 1_000_000.0
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = self.events = self.restarts = 0
        self.endpoint = kind in ("slow", "never") or random.random() < 0.5
        self.extra = random.choice(SOURCES)
        self.policy = Policy(has_gate=self.endpoint, confirm_s=LATE_S + 5.0, start_deadline_s=60.0)
        self.ladder = Ladder(wanted=True, phase=Phase.STARTING)
        # the agent
        self.mode = "work"  # work, idle, busy, silent, stuck
        self.cycle = random.randrange(1000)
        self.answers = Verdict.OK
        self.sick_since: float | None = None  # nobody but the ladder may end it
        self.caught_by: float | None = None
        self.line_cut = False  # its connected socket leads nowhere any more
        self.wall = 0.0  # what the clock was set off by
        # ourselves
        self.hearing = True
        self.lost_mail: list[tuple[dict[str, str], float]] = []  # what waits while init or keeper is away, since when
        self.arrives = 0.0  # when the datagram that was sent last is heard
        self.starved = False
        self.untold = False
        self.known = self.doors.fresh(instance=1, since_mono=self.now)
        self.observed: dict[str, Observed] = {}
        self.stamp = (0, 0, 0)
        self.lines = self.pushed = False
        self.bad_lines = self.bad_runs = 0
        self.begin(1)

    # --- time ------------------------------------------------------------------------------------------------------
    def at(self, delay_s: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay_s, self.count, what))

    def run(self, until: float) -> None:
        while self.heap and self.heap[0][0] <= until:
            self.now, _, what = heapq.heappop(self.heap)
            self.events += 1
            what()
        self.now = until

    def skip(self, seconds: float) -> None:
        """Nothing happens for hours: it beats on, is found well each time, and that is all."""
        self.heap.clear()
        self.now += seconds
        if self.known.begun and not self.line_cut:
            self.cycle += int(seconds / BEAT_S)
            self.beat(again=False)
        self.arm()

    def arm(self, first_beat_s: float = BEAT_S) -> None:
        self.at(self.random.random() * first_beat_s, self.beat)
        if self.ladder.due_mono is not None:
            self.at(max(0.0, self.ladder.due_mono - self.now), self.timer)
        if self.endpoint:
            self.at(self.random.random() * PROBE_S, self.probe)
        if self.extra != "none":
            self.at(1.0, self.look)
        self.at(0.5, self.ring)

    # --- the agent -------------------------------------------------------------------------------------------------
    def begin(self, instance: int) -> None:
        """A new instance: well, whatever the one before was."""
        self.instance, self.born = instance, self.now
        self.mode, self.answers, self.sick_since, self.caught_by = "work", Verdict.OK, None, None
        self.line_cut = False
        self.known = self.doors.fresh(instance=instance, since_mono=self.now)
        self.observed = {}
        self.tracker: Any = None
        self.see(m.Spawned(instance=instance, cause="restart" if instance > 1 else "start"))
        own = ("beat", "probe", "look", "ring", "timer")
        self.heap = [entry for entry in self.heap if getattr(entry[2], "__name__", "") not in own]
        heapq.heapify(self.heap)
        self.lines = self.pushed = False
        self.bad_lines = self.bad_runs = 0
        self.arm(first_beat_s=BEAT_S * self.random.choice((0.1, 1.0, 5.0)))
        if self.endpoint:
            self.at(2.0, lambda: self.see(m.GatePassed(instance=self.instance)))

    def beat(self, again: bool = True) -> None:
        mode = self.mode
        if mode in ("work", "idle"):
            self.stamp = (int((self.now + self.wall) * 1e9), 1, 1)
        if mode == "work":  # a loop with nothing to do still touches its file, yet prints and pushes nothing
            self.lines = self.pushed = True
            self.cycle += 1
        if mode in ("work", "idle", "stuck") and not self.starved:
            self.send({"WATCHDOG": "1", "X_CYCLE": str(self.cycle)})
        if again:
            self.at(BEAT_S * (0.6 + 0.6 * self.random.random()), self.beat)

    def send(self, fields: dict[str, str]) -> None:
        if self.line_cut:
            return
        if self.hearing:
            instance = self.instance
            self.arrives = max(self.arrives, self.now + 0.25 * self.random.random())  # the kernel keeps their order
            self.at(self.arrives - self.now, lambda: self.hear(fields, instance))
        else:
            self.lost_mail.append((fields, self.now))

    def fall_ill(self, deadline_s: float) -> None:
        """From now on it is sick; the ladder has so long, not counting gaps of ours."""
        if self.sick_since is None and not self.line_cut:
            self.sick_since = self.now
            self.caught_by = self.now + deadline_s + SLACK_S

    # --- what is heard ---------------------------------------------------------------------------------------------
    def hear(self, fields: dict[str, str], instance: int, at: float | None = None) -> None:
        if instance == self.instance and self.ladder.running:
            told = beats.read(fields, self.now if at is None else at)
            self.known = self.doors.hear(self.known, told, self.doors.rules)
            if self.hearing:
                self.judge()

    def judge(self) -> None:
        word, detail = self.doors.judge(self.known, self.doors.rules, self.now, beat_before=self.instance > 1)
        self.report("beat", word, detail)

    def ring(self) -> None:
        """As keeper/watching/beats.py does at a deadline: starved, it begins anew; else silence is judged."""
        due = beats.due_mono(self.known, self.doors.rules, beat_before=self.instance > 1)
        if self.hearing and due is not None and self.now >= due - DOUBT_S:
            if self.starved:
                self.known = self.doors.gap(self.known, self.now)
            if self.starved or self.now >= due:
                self.judge()
        wait_s = BEAT_S if due is None else min(BEAT_S, max(1.0, due - DOUBT_S - self.now))
        self.at(wait_s, self.ring)

    def gap(self, *, socket_lost: bool = False) -> None:
        self.known = (self.doors.deafened if socket_lost else self.doors.gap)(self.known, self.now)
        if self.caught_by is not None and self.sick_since is not None:
            self.caught_by = max(self.caught_by, self.now + LATE_S + SLACK_S)
        self.judge()
        if self.known.begun and self.observed["beat"].judgement is Judgement.OK:
            raise Violation("unknown", self.told("said to be well right after a gap of ours"))

    def look(self) -> None:
        """One look of the other source, as its shell takes it."""
        able, pause_s = not self.starved, 15.0
        if self.hearing and self.ladder.running:
            pause_s = self._look(able)
        self.at(pause_s, self.look)

    def _look(self, able: bool) -> float:
        age_s, now = self.now - self.born, self.now
        excuse = self.doors.excuse(self.known, self.doors.rules, now)
        if self.extra == "file":
            state = self.tracker or file_beat.FileState()
            stamp = self.stamp if self.stamp[0] else None
            seen = file_beat.Look(
                stamp=stamp, age_s=age_s, at=now + self.wall, spawned_at=self.born + self.wall, able=able,
                excused=excuse == "busy",
            )  # fmt: skip
            self.tracker, word, detail = file_beat.judge(FILE, 30.0, state, seen, now)
            pause_s = file_beat.interval_s(FILE)
        elif self.extra == "log":
            heard = log_watch.Heard(lines=self.lines, hits=(self.bad_lines,), able=able, excused=bool(excuse))
            self.lines, self.bad_lines = False, 0
            state = self.tracker or log_watch.LogState()
            self.tracker, word, detail = log_watch.judge(LOG, 30.0, state, heard, now)
            pause_s = log_watch.interval_s(LOG) * 5
        elif self.extra == "push":
            ping = push.Ping(kind="success") if self.pushed else None
            self.pushed = False
            state = self.tracker or push.PushState()
            self.tracker, word, detail = push.judge(PUSH, state, ping, now, able=able, excused=bool(excuse))
            pause_s = push.interval_s(PUSH)
        else:
            hung = self.mode in ("silent", "stuck") and self.sick_since is not None
            ran = command.Ran(timed_out=True) if hung or self.bad_runs else command.Ran(code=0)
            self.bad_runs = max(0, self.bad_runs - 1)
            ran = ran if able else command.Ran(skipped="starved")
            self.tracker, word, detail = command.judge(COMMAND, self.tracker or command.CommandState(), ran)
            pause_s = COMMAND.interval_s
        self.report(self.extra, word, detail)
        return pause_s

    def probe(self) -> None:
        """The endpoint; a good answer that was good before is asked for less often."""
        pause_s = PROBE_S
        if self.ladder.running and self.hearing and self.ladder.gate_passed:
            bad = self.answers is not Verdict.OK
            verdict = Verdict.STARVED if self.starved and bad else self.answers
            self.see(m.Checked(instance=self.instance, verdict=verdict))
            pause_s = PROBE_S if bad or self.ladder.incident else CALM_PROBE_S
        self.at(pause_s, self.probe)

    # --- what the keeper makes of it --------------------------------------------------------------------------------
    def report(self, source: str, word: Judgement, detail: str) -> None:
        self.observed[source] = Observed(
            agent="a", instance=self.instance, source=source, judgement=word, detail=detail
        )
        self.tell()

    def tell(self) -> None:
        if not self.ladder.running:
            return
        failing = self.doors.failing(list(self.observed.values()), self.ladder.blamed, "")
        sources = tuple(sorted(failing))
        if (bool(sources), sources) != (self.ladder.misbehaves, self.ladder.blamed):
            cause = "; ".join(failing.values())
            self.see(m.Behaved(instance=self.instance, failing=bool(sources), cause=cause, sources=sources))
            if sources and not self.ladder.misbehaves and self.ladder.running and not self.untold:
                self.untold = True
                self.at(1.0, self.again)

    def again(self) -> None:
        self.untold = False
        self.tell()

    def timer(self) -> None:
        if self.ladder.due_mono is not None and self.now >= self.ladder.due_mono - 1e-9:
            self.see(m.Timer())

    def see(self, seen: Any) -> None:
        before = self.ladder
        self.ladder, acts = self.doors.decide(before, seen, self.policy, self.now, 0.0)
        for act in acts:
            if type(act) is actions.Arm and act.due_mono is not None:
                self.at(max(0.0, act.due_mono - self.now), self.timer)
            elif type(act) in ACTS:
                self.check_act(seen, act)
                self.at(0.05, self.reborn)
            elif type(act) is actions.OpenIncident and self.sick_since is None:
                raise Violation("innocent", self.told(f"{act!r} of a healthy {self.kind} on {seen!r}"))
        new = self.ladder
        if (
            type(seen) is m.Checked
            and self.sick_since is not None
            and before.running
            and _due(before)
            and not _due(new)
        ):
            raise Violation("hidden", self.told(f"{seen!r} takes back the restart that {before.blamed} asked for"))
        if new.running and new.gate_passed and new.misbehaves and new.good_since_mono is not None:
            raise Violation("hidden", self.told(f"a good run while {new.blamed} say it fails, on {seen!r}"))
        if new.running and new.misbehaves and new.gate_passed and new.phase in (Phase.HEALTHY, Phase.DEGRADED):
            raise Violation("hidden", self.told(f"{new.phase} while {new.blamed} say it fails, on {seen!r}"))

    def check_act(self, seen: Any, act: Any) -> None:
        if self.sick_since is None:
            raise Violation("innocent", self.told(f"{act!r} of a healthy {self.kind} on {seen!r}"))
        if type(seen) in (m.Degraded, m.Starved):
            raise Violation("innocent", self.told(f"{act!r} on {seen!r}"))
        if type(act) is actions.RestartTree and act.tier is Tier.RESTART and not act.hung:
            raise Violation("evidence", self.told(f"{act!r} takes no evidence of what hangs"))

    def reborn(self) -> None:
        if not self.ladder.running:
            return
        self.restarts += 1
        self.see(m.Exited(instance=self.instance, signal=9, expected=True))
        self.begin(self.instance + 1)

    def acted_upon(self) -> bool:
        """Something is decided: done at once, or as soon as the ladder's delays allow."""
        return self.ladder.pending is not Tier.NONE or self.ladder.phase in (Phase.UNHEALTHY, Phase.ESCALATED)

    def told(self, text: str) -> str:
        details = {name: (one.judgement.value, one.detail) for name, one in self.observed.items()}
        return f"{text} (at {self.now - self.born:.1f} s of instance {self.instance}, {self.mode}; {details})"
