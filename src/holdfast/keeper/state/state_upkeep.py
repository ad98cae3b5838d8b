"""What is done about snapshots beside taking them: known-good, the second place, thinning, collection.

Invariants: a snapshot becomes known-good only when its agent was seen to be well for long after it; the chores of all
agents are done one at a time, behind everybody else; one agent's failing place or repository holds up no other. When
something was done last stands in the agent's state directory, so that a new keeper does not begin anew. Called by a
timer of its own, and by snapshots.py when there is a new snapshot.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from holdfast import errors, files, limits
from holdfast.clock import Clock
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.state.snapshots import Keeping, Snapshots
from holdfast.keeper.state.state_jobs import words
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.alarms import Alarms
from holdfast.state.keeping import schedule
from holdfast.state.second_place import lag
from holdfast.worker.protocol import JobFailed

_WELL = frozenset({Phase.HEALTHY, Phase.DEGRADED})
SECOND = "second-place"  # the chore of agents that have one
GOOD = "known-good"  # beside the chores: what the check before a pin found
CHECK = "the check of its snapshots"
_NAMED = 3
FILE = "chores.json"  # in the agent's state directory: chore -> when it was done last, wall clock


class Chore(NamedTuple):
    """`after_new`: only when there is a snapshot that it has not seen."""

    job: str
    every_s: float
    args: dict[str, Any]
    after_new: bool


CHORES = {
    "tidy": Chore("tidy", limits.STATE_TIDY_EVERY_S, {}, True),
    "closure": Chore("verify", limits.STATE_CLOSURE_EVERY_S, {"how": "closure"}, False),
    "sample": Chore("verify", limits.STATE_SAMPLE_EVERY_S, {"how": "sample"}, False),
    "drill": Chore("verify", limits.STATE_DRILL_EVERY_S, {"how": "drill"}, False),
    SECOND: Chore("gc-second", limits.STATE_SECOND_GC_EVERY_S, {}, False),
}


class Place:
    """What is known of one agent's second place and chores. Monotonic times."""

    def __init__(self) -> None:
        self.upload_due_mono: float | None = 0.0  # None: nothing waits
        self.uploading = False
        self.failures = 0
        self.lag = ""  # for people; "" nothing worth saying
        self.store = ""  # the second place that `upload_due_mono` is about
        self.beside = ""  # the second place (`state.store`) that turned out to lie on the first one's disk
        self.done_at: dict[str, float] | None = None  # by chore; None: not read yet
        self.fresh: set[str] = set()  # chores for which there is a new snapshot
        self.said: list[str] = []  # by the last thinning
        self.marked_mono = float("-inf")
        self.good = ""  # id of the known-good one
        self.doubtful = ""  # id of the newest one that did not pass its check
        self.damage: dict[str, str] = {}  # by chore: what its last check found, one sentence


class StateUpkeep:
    """`begin` starts the timer; `close` ends it."""

    def __init__(
        self,
        agents: dict[str, Agent],
        snapshots: Snapshots,
        recorder: Recorder,
        alarms: Alarms,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._agents = agents
        self._snapshots = snapshots
        self._recorder = recorder
        self._alarms = alarms
        self._tasks = tasks
        self._clock = clock
        self.places: dict[str, Place] = {}
        self._chores = asyncio.Lock()
        self._proving = asyncio.Lock()  # one at a time: each reads what changed in a database
        self._uploads = asyncio.Semaphore(limits.UPLOAD_JOBS_AT_ONCE)
        self._timer: asyncio.TimerHandle | None = None
        self.clear_removed: Callable[[], Awaitable[None]] | None = None  # agents nobody can have back any more
        self._clear_mono = clock.now_mono()

    def begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(limits.STATE_UPKEEP_LOOK_S, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def gone(self, name: str) -> None:
        """The agent was taken out of the fleet, or keeps nothing any more. Idempotent."""
        if self.places.pop(name, None) is not None:
            self._alarms.clear(f"remote-lag:{name}", name, "it keeps no second place any more")
            self._alarms.clear(f"state-damage:{name}", name, "it keeps no snapshots any more")

    def made(self, name: str) -> None:
        """There is a new snapshot."""
        place = self._place(name)
        place.fresh.update(CHORES)
        agent = self._agents.get(name)
        if agent is not None and agent.spec.state.store and place.upload_due_mono is None:
            place.upload_due_mono = self._clock.now_mono()
        self._upload_if_due(name, place)

    def trouble(self, name: str) -> list[str]:
        """Sentences about this agent's snapshots that a person should read."""
        place, agent, kept = self.places.get(name), self._agents.get(name), self._snapshots.kept.get(name)
        found = [] if place is None else [*dict.fromkeys(place.damage.values()), *place.said]
        if place is not None and place.lag:
            found.append(place.lag)
        if kept is not None and agent is not None and self.on_one_disk(agent, kept):
            said = HoldfastError(errors.ONLY_COPY, agents=name, agent=name)
            found.append(f"{said.summary}. {said.next_step}")
        return found

    def on_one_disk(self, agent: Agent, kept: Keeping) -> bool:
        """Whether one disk holds its files and every copy of its snapshots."""
        store = agent.spec.state.store
        return bool(kept.same_disk) and (not store or self._place(agent.name).beside == store)

    def _place(self, name: str) -> Place:
        return self.places.setdefault(name, Place())

    # --- when ----------------------------------------------------------------------------------------------------
    def _look(self) -> None:
        self.begin()
        for name, kept in list(self._snapshots.kept.items()):
            agent, place = self._agents.get(name), self._place(name)
            if agent is None or agent.leaving or name in self._snapshots.held_back:
                continue
            self._upload_if_due(name, place)
            if self._is_good(agent, kept, place):
                self._tasks.spawn(self._mark(agent, kept, place))
        if not self._chores.locked():
            self._tasks.spawn(self._do_chores())

    def _is_good(self, agent: Agent, kept: Keeping, place: Place) -> bool:
        now = self._clock.now_mono()
        ladder = agent.ladder
        if ladder.phase not in _WELL or ladder.good_since_mono is None or agent.incident is not None:
            return False
        if now - place.marked_mono < limits.KNOWN_GOOD_EVERY_S:
            return False
        found = schedule.proven(kept.made, ladder.good_since_mono, now - limits.PROVEN_AFTER_S)
        return found not in ("", place.good, place.doubtful)

    # --- known-good ----------------------------------------------------------------------------------------------
    async def _mark(self, agent: Agent, kept: Keeping, place: Place) -> None:
        now = self._clock.now_mono()
        place.marked_mono = now
        found = schedule.proven(kept.made, agent.ladder.good_since_mono or now, now - limits.PROVEN_AFTER_S)
        if not found:
            return
        try:
            async with self._proving:
                proof = await self._snapshots.jobs.ask("prove", agent.name, gentle=True, snapshot=found)
            if proof["faults"]:
                self._doubted(agent, place, found, proof["faults"])
                return
            told = await self._snapshots.jobs.ask("mark-good", agent.name, gentle=True, snapshot=found)
        except (JobFailed, HoldfastError):
            return  # thinned away meanwhile: the next one
        place.good, place.doubtful = found, ""
        self._found(agent, place, GOOD, "")
        if told["new"]:
            text = (
                f"snapshot {found[:12]} is known to be good: it was well after it, {proof['looked']} files were checked"
            )
            unknown = proof["unchecked"]
            text += f"; not looked at: {_some(unknown)}" if unknown else ""
            body = {"id": found, "looked": proof["looked"], "unchecked": len(unknown)}
            self._recorder.record("snapshot.known-good", agent.name, text, body)
            self._snapshots.changed(agent.name)

    def _doubted(self, agent: Agent, place: Place, snapshot: str, faults: list[str]) -> None:
        """It is well with it, and yet something in it is broken: the former known-good one stays."""
        place.doubtful = snapshot
        text = f"snapshot {snapshot[:12]} does not become known-good: {_some(faults)}"
        self._recorder.record("snapshot.doubtful", agent.name, text, {"id": snapshot, "faults": faults[:_NAMED]})
        self._found(agent, place, GOOD, text)

    def _found(self, agent: Agent, place: Place, chore: str, wrong: str) -> None:
        """What a check found, one sentence; "": all is well. Told to a person, and taken back."""
        place.damage.pop(chore, None)
        if wrong:
            place.damage[chore] = wrong
        key = f"state-damage:{agent.name}"
        if place.damage:
            reason = "; ".join(dict.fromkeys(place.damage.values()))
            said = HoldfastError(errors.STATE_DAMAGED, agent=agent.name, what=CHECK, reason=reason)
            self._alarms.raise_(key, agent.name, said)
        else:
            self._alarms.clear(key, agent.name, "its snapshots are whole again")

    # --- the second place ----------------------------------------------------------------------------------------
    def _upload_if_due(self, name: str, place: Place) -> None:
        agent = self._agents.get(name)
        if agent is None or not agent.spec.state.store:
            return
        if agent.spec.state.store != place.store:  # whoever names another one wants to see whether it works
            place.store, place.upload_due_mono = agent.spec.state.store, self._clock.now_mono()
        if place.uploading or place.upload_due_mono is None:
            return
        if self._clock.now_mono() >= place.upload_due_mono:
            place.uploading = True
            self._tasks.spawn(self._upload(agent, place))

    async def _upload(self, agent: Agent, place: Place) -> None:
        """Never raises for what an upload meets."""
        begun_mono, told = self._clock.now_mono(), {}
        try:
            async with self._uploads:
                place.upload_due_mono = None
                told = await self._snapshots.jobs.ask("upload", agent.name, gentle=True)
            why = str(told["error"])
        except (JobFailed, HoldfastError) as failed:
            why = words(failed)
        finally:
            place.uploading = False
        if self._agents.get(agent.name) is not agent:
            return
        place.beside = (agent.spec.state.store or "") if told.get("same_disk") else ""
        now = self._clock.now_mono()
        if why:
            place.failures += 1
            place.upload_due_mono = now + lag.again_s(place.failures)
            if place.failures == 1:
                self._recorder.record("upload.failed", agent.name, f"its second place was not reached: {why}")
        else:
            if place.failures:
                self._recorder.record("upload.recovered", agent.name, "its second place is reached again")
            place.failures = 0
            waits = place.upload_due_mono is not None or told["lag"]["objects"]
            place.upload_due_mono = max(now, begun_mono + agent.spec.state.store_every_s) if waits else None
        self._tell_lag(agent, place, told, why)

    def _tell_lag(self, agent: Agent, place: Place, told: dict[str, Any], why: str) -> None:
        key = f"remote-lag:{agent.name}"
        if told.get("late"):
            place.lag = told["words"] or why
        else:  # a number that is not too late yet would stand there, and be wrong, until the next try
            place.lag = f"its second place was not reached: {why}" if why else ""
        if told.get("late"):
            self._alarms.raise_(key, agent.name, HoldfastError(errors.REMOTE_LAG, agent=agent.name, detail=place.lag))
        elif not why:
            self._alarms.clear(key, agent.name, "its second place has caught up")

    # --- chores --------------------------------------------------------------------------------------------------
    async def _do_chores(self) -> None:
        """All that are due, one after the other."""
        async with self._chores:
            for name in list(self._snapshots.kept):
                for chore in CHORES:
                    agent = self._agents.get(name)
                    if agent is not None and not agent.leaving and self._is_due(name, chore):
                        await self._do(agent, chore)
            if self.clear_removed is not None and self._clock.now_mono() >= self._clear_mono:
                self._clear_mono = self._clock.now_mono() + limits.STATE_CLEAR_EVERY_S
                await self.clear_removed()

    def _is_due(self, name: str, chore: str) -> bool:
        place, now_at = self._place(name), self._clock.now_at()
        if place.done_at is None:
            place.done_at = self._read(name)
        done_at = place.done_at.setdefault(chore, now_at)  # a new agent has nothing to tidy
        rule = CHORES[chore]
        if rule.after_new and chore not in place.fresh:
            return False
        if chore == SECOND and not self._agents[name].spec.state.store:
            return False
        return not now_at - rule.every_s < done_at <= now_at + limits.CLOCK_JUMP_S

    async def _do(self, agent: Agent, chore: str) -> None:
        """Never raises for what a chore meets."""
        place, rule = self._place(agent.name), CHORES[chore]
        place.fresh.discard(chore)
        if not self._snapshots.jobs.has_repository(agent.name):
            return
        try:
            told = await self._snapshots.jobs.ask(rule.job, agent.name, gentle=True, **rule.args)
        except (JobFailed, HoldfastError) as failed:
            self._recorder.record("state.chore-failed", agent.name, f"{chore}: {words(failed)}", {"chore": chore})
        else:
            if rule.job == "verify":
                self._checked(agent, place, chore, told)
            elif rule.job == "tidy":
                self._tidied(agent, place, told)
            else:
                self._collected(agent, told)
        assert place.done_at is not None
        place.done_at[chore] = self._clock.now_at()
        self._write(agent.name, place.done_at)

    def _tidied(self, agent: Agent, place: Place, told: dict[str, Any]) -> None:
        place.said = [*told["said"], *told["trouble"], *([told["refused"]] if told["refused"] else [])]
        counts = {key: len(told[key]) for key in ("taken", "early", "expired")}
        if any(counts.values()) or told["freed_bytes"] or told["refused"]:
            text = f"{counts['taken'] + counts['early']} snapshots were thinned, {told['freed_bytes']} bytes freed"
            text += "".join(f"; {one}" for one in place.said)
            body = {**counts, "freed_bytes": told["freed_bytes"], "refused": told["refused"]}
            self._recorder.record("snapshot.thinned", agent.name, text, body)

    def _collected(self, agent: Agent, told: dict[str, Any]) -> None:
        """Of the second place. Keys without the right to delete are a way to protect snapshots, and no trouble."""
        if told["freed_bytes"] or told["refused"]:
            text = told["refused"] or f"{told['freed_bytes']} bytes freed"
            self._recorder.record("upload.collected", agent.name, f"its second place was collected: {text}")

    def _checked(self, agent: Agent, place: Place, chore: str, told: dict[str, Any]) -> None:
        """A drill is told in the events in any case, the others when something is wrong, or right again."""
        wrong = "; ".join(told["said"]) if told["faults"] else ""
        before = place.damage.get(chore, "")
        if wrong != before or chore == "drill" or (told["said"] and not wrong):
            text = "; ".join(told["said"]) or "its snapshots are whole"
            kind = "state.damaged" if wrong else "state.checked"
            body = {"chore": chore, "faults": len(told["faults"]), "restorable": told["restorable"]}
            self._recorder.record(kind, agent.name, text, body)
        self._found(agent, place, chore, wrong)

    def _read(self, name: str) -> dict[str, float]:
        try:
            read = json.loads((self._snapshots.jobs.directory(name) / FILE).read_bytes())
            return {str(chore): float(at) for chore, at in read.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write(self, name: str, done_at: dict[str, float]) -> None:
        try:
            files.write_atomic(self._snapshots.jobs.directory(name) / FILE, json.dumps(done_at).encode())
        except OSError:
            pass  # done again sooner than need be, by the next keeper


def _some(said: list[str]) -> str:
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more
