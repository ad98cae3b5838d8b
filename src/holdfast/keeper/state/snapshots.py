"""Has each agent's state kept: by the clock, before planned stops, and when somebody asks.

Invariants: no snapshot of an agent begins while one of it is under way; one agent's failures or slowness delay no
other; what is made by the clock stands behind everybody else for CPU and disk, and stands still while memory or disk
are short, which is said; a stop waits for its snapshot in bounded time and never fails with it. When is decided in
state/keeping/schedule.py; the work is the worker's. Called by the health loop (agents change), hands.py (stops) and
the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.state import resting
from holdfast.keeper.state.state_jobs import StateJobs, result_of, words
from holdfast.keeper.state.state_pauses import Pauses
from holdfast.keeper.state.worker_link import Message
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.starvation import Starvation
from holdfast.state.keeping import schedule
from holdfast.state.keeping.schedule import Choice, Course, Sight
from holdfast.state.model import SHORT_ID_DIGITS, Cause
from holdfast.worker.protocol import Fault, JobFailed

Heard = Callable[[dict[str, Any]], None]
CHANGES = frozenset({Cause.UPDATE, Cause.RESTORE})  # planned: an agent that can be is brought to rest before them


class Keeping:
    """What is known of one agent's snapshots; none of it has to survive the keeper."""

    def __init__(self) -> None:
        self.course = Course()
        self.under_way = False
        self.short = False  # the last one took little time
        self.instance = 0
        self.spec: Any = None  # what that instance was started with
        self.newest = ""  # id
        self.made: deque[tuple[float, str]] = deque(maxlen=limits.SNAPSHOTS_REMEMBERED)  # see `saw`
        self.trouble = ""  # why the last try failed, one clause
        self.trouble_kind = ""
        self.said_mono = float("-inf")  # when a failure was recorded last
        self.same_disk: bool | None = None  # whether the repository lies where the agent's files do
        self.before_stop: tuple[int, float, asyncio.Task[None]] | None = None  # instance, until when it counts

    def saw(self, now: float) -> None:
        """The state is that of the newest snapshot. Remembered not too densely, so that old enough ones stay known."""
        gap_s = limits.PROVEN_AFTER_S / 16
        if len(self.made) > 1 and self.made[-1][0] - self.made[-2][0] < gap_s:
            self.made.pop()
        self.made.append((now, self.newest))


class Snapshots:
    """See the module. `changed(name)`: an agent has a new snapshot."""

    def __init__(
        self,
        agents: dict[str, Agent],
        jobs: StateJobs,
        starvation: Starvation,
        recorder: Recorder,
        tasks: Tasks,
        now_mono: Callable[[], float],
    ) -> None:
        self._agents = agents
        self.jobs = jobs
        self._recorder = recorder
        self._tasks = tasks
        self._now_mono = now_mono
        self.kept: dict[str, Keeping] = {}
        self.changed: Callable[[str], None] = lambda name: None
        self.told: Callable[[str], list[str]] = lambda name: []  # what others have to say about an agent's snapshots
        self.forgotten: Callable[[str], None] = lambda name: None
        self.at_rest: resting.AtRest = resting.as_it_is
        self.held_back: set[str] = set()  # agents whose files are being replaced: nothing by the clock
        self._due: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._turns = {
            "long": asyncio.Semaphore(limits.SNAPSHOTS_LONG_AT_ONCE),
            "short": asyncio.Semaphore(limits.SNAPSHOTS_SHORT_AT_ONCE),
            "asked": asyncio.Semaphore(limits.SNAPSHOTS_ASKED_AT_ONCE),
        }
        self.pauses = Pauses(starvation, recorder, jobs.root.parent)
        self._closed = False

    # --- life ----------------------------------------------------------------------------------------------------
    def follow(self, agent: Agent, now: float) -> None:
        """The agent, its ladder or its spec changed. Idempotent."""
        if not agent.spec.state.paths:
            self.gone(agent.name)
            return
        kept = self._kept(agent.name)
        if agent.ladder.running and kept.instance != agent.ladder.instance:
            kept.instance, kept.spec = agent.ladder.instance, agent.spec
        self._set(agent, schedule.followed(kept.course, sight(agent), now))

    def gone(self, name: str) -> None:
        """The agent was taken out of the fleet, or keeps nothing any more. Idempotent."""
        if self.kept.pop(name, None) is not None:
            self.jobs.forget(name)
            self.forgotten(name)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.jobs.link.close()

    def _kept(self, name: str) -> Keeping:
        return self.kept.setdefault(name, Keeping())

    # --- by the clock --------------------------------------------------------------------------------------------
    def _set(self, agent: Agent, course: Course) -> None:
        kept = self._kept(agent.name)
        before, kept.course = kept.course, course
        if course.due_mono is not None and course.due_mono != before.due_mono and not self._closed:
            heapq.heappush(self._due, (course.due_mono, agent.name))
            if self._due[0][0] == course.due_mono:
                self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due and not self._closed:
            self._timer = asyncio.get_running_loop().call_at(self._due[0][0], self._ring)

    def _ring(self) -> None:
        now, seen = self._now_mono(), set()
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            agent, kept = self._agents.get(name), self.kept.get(name)
            if agent is not None and kept is not None and name not in seen:
                seen.add(name)
                self._look(agent, kept, now)
        self._arm()

    def _look(self, agent: Agent, kept: Keeping, now: float) -> None:
        if kept.under_way or kept.course.due_mono is None or now < kept.course.due_mono:
            return  # its end sets the next time
        if agent.name in self.held_back:
            self._set(agent, schedule.paused(kept.course, now))
            return
        choice = schedule.choose(kept.course, self.pauses.look(now), now)
        if choice is Choice.PAUSE:
            self._set(agent, schedule.paused(kept.course, now))
        elif choice is Choice.TAKE:
            kept.under_way = True
            self._tasks.spawn(self._by_clock(agent, kept))

    async def _by_clock(self, agent: Agent, kept: Keeping) -> None:
        """Never raises for what a snapshot meets."""
        try:
            async with self._turns["short" if kept.short else "long"]:
                if self.kept.get(agent.name) is kept and not self._closed:
                    await self._quietly(agent, Cause.TIMER)
        finally:
            kept.under_way = False
            if self.kept.get(agent.name) is kept and kept.course.due_mono is not None:
                self._again(agent, kept)

    def _again(self, agent: Agent, kept: Keeping) -> None:
        """Entries that rang while it was under way are gone: the time that stands is entered once more."""
        due = kept.course.due_mono
        if due is not None and not self._closed:
            heapq.heappush(self._due, (due, agent.name))
            self._arm()

    async def _quietly(self, agent: Agent, cause: Cause) -> bool:
        """One snapshot that nobody waits for by name; its failure is recorded, not raised."""
        try:
            await result_of(self.taking(agent, cause, ""))
        except (JobFailed, HoldfastError):
            return False
        return True

    # --- one snapshot --------------------------------------------------------------------------------------------
    async def take(self, name: str, cause: Cause, label: str = "", progress: Heard | None = None) -> dict[str, Any]:
        """One snapshot now: answers.Taken. Raises JobFailed and HoldfastError."""
        agent = self._agents.get(name)
        if agent is None:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)
        async with contextlib.aclosing(self._asked_for(agent, cause, label)) as said:
            async for message in said:
                if progress is not None and "progress" in message:
                    progress(message["progress"])
                if "result" in message:
                    found: dict[str, Any] = message["result"]
                    return found
        raise JobFailed(Fault.INTERRUPTED, "the job ended without an answer")

    async def _asked_for(
        self, agent: Agent, cause: Cause, label: str, *, rested: bool | None = None
    ) -> AsyncGenerator[Message, None]:
        taking = self.taking(agent, cause, label, rested=rested)
        async with self._turns["asked"], contextlib.aclosing(taking) as said:
            async for message in said:
                yield message

    async def taking(
        self, agent: Agent, cause: Cause, label: str, *, rested: bool | None = None
    ) -> AsyncGenerator[Message, None]:
        """What the snapshot says, its result last; what follows from its end is done here. Raises JobFailed, ...

        `rested`: the agent is brought to rest for it, where its recipe knows how; None: before a planned change.
        """
        if not agent.spec.state.paths:
            raise HoldfastError(errors.STATE_NOT_DECLARED, agent=agent.name)
        gentle = cause is Cause.TIMER
        async with self.jobs.writing(agent.name):
            was_running, began_mono = agent.ladder.running, self._now_mono()
            result: Message = {}
            try:
                self.jobs.prepare(agent.name)
                async with self.at_rest(agent, cause in CHANGES if rested is None else rested) as rest:
                    more = {"cause": str(cause), "label": label, **resting.as_arguments(rest)}
                    run = self.jobs.run("snapshot", agent.name, gentle=gentle, **more)
                    async with contextlib.aclosing(run) as said:
                        async for message in said:
                            if "result" in message:
                                self._took(agent, message["result"], began_mono, was_running)
                                result = resting.noted(message, rest) if rested else message
                            else:
                                yield message
                if result:
                    yield result  # now that the agent was let go
            except JobFailed as failed:
                self._failed(agent, failed.kind, words(failed), was_running)
                raise
            except HoldfastError as error:
                self._failed(agent, error.kind.code, error.summary, was_running)
                raise
            except OSError as error:
                reason = f"{error.strerror or error} ({self.jobs.directory(agent.name)})"
                self._failed(agent, Fault.FULL if error.errno == 28 else Fault.FAILED, reason, was_running)
                raise JobFailed(Fault.FAILED, reason) from error

    def _took(self, agent: Agent, result: dict[str, Any], began_mono: float, was_running: bool) -> None:
        if self._agents.get(agent.name) is not agent:
            return
        kept, now = self._kept(agent.name), self._now_mono()
        kept.short = now - began_mono < limits.SNAPSHOT_SHORT_S
        kept.same_disk = result.get("same_disk", kept.same_disk)
        if kept.trouble:
            kept.trouble, kept.trouble_kind, kept.said_mono = "", "", float("-inf")
            self._recorder.record("snapshot.recovered", agent.name, "its snapshots are made again")
        row = result.get("snapshot")
        kept.newest = str(row["id"] if row else result.get("unchanged_since", "")) or kept.newest
        if kept.newest:
            kept.saw(began_mono)
        self._set(agent, schedule.ended(kept.course, sight(agent), now, good=True, was_running=was_running))
        if row:
            body = {key: row[key] for key in ("id", "cause", "label", "files", "bytes", "bytes_new", "took_s")}
            text = f"snapshot {row['id'][:12]} ({row['cause']}): {row['files']} files, {row['bytes_new']} bytes new"
            if row.get("consistency") == "fuzzy":
                text += f"; {len(row.get('fuzzy', ()))} file(s) changed while they were read"
            self._recorder.record("snapshot.taken", agent.name, text, body)
            self.changed(agent.name)

    def _failed(self, agent: Agent, kind: str, why: str, was_running: bool) -> None:
        if self._agents.get(agent.name) is not agent or self._closed:
            return
        kept, now = self._kept(agent.name), self._now_mono()
        is_new = (kind, why) != (kept.trouble_kind, kept.trouble)
        kept.trouble, kept.trouble_kind = why, kind
        course = schedule.ended(kept.course, sight(agent), now, good=False, was_running=was_running)
        self._set(agent, course)
        if (is_new and course.failures == 1) or now - kept.said_mono >= limits.SNAPSHOT_SAID_AGAIN_S:
            kept.said_mono = now
            text = f"no snapshot could be made: {why}" + _newest(kept)
            self._recorder.record("snapshot.failed", agent.name, text, {"why": why, "kind": kind})

    # --- before stops --------------------------------------------------------------------------------------------
    def wanted(self, agent: Agent) -> bool:
        """Whether a planned stop of it waits for a snapshot."""
        return bool(agent.spec.state.paths) and agent.world.pid > 0 and not self._closed

    async def before_stop(self, agent: Agent) -> None:
        """The state as it is before a planned stop or restart. Bounded, never raises, once for each instance."""
        kept, instance, now = self._kept(agent.name), agent.world.epoch, self._now_mono()
        if kept.before_stop is None or kept.before_stop[:1] != (instance,) or now > kept.before_stop[1]:
            changed = kept.spec is not None and kept.spec != agent.spec
            task = asyncio.get_running_loop().create_task(self._before(agent, Cause.CONFIG if changed else Cause.STOP))
            kept.before_stop = (instance, now + 2 * limits.SNAPSHOT_BEFORE_STOP_S, task)
        _, late = await asyncio.wait([kept.before_stop[2]], timeout=limits.SNAPSHOT_BEFORE_STOP_S)
        if late:
            text = f"its stop did not wait longer than {limits.SNAPSHOT_BEFORE_STOP_S:.0f} s for its snapshot"
            self._recorder.record("snapshot.late", agent.name, text)

    async def _before(self, agent: Agent, cause: Cause) -> None:
        with contextlib.suppress(JobFailed, HoldfastError):
            await self.take(agent.name, cause)

    async def before_down(self) -> None:
        """All of Holdfast is taken down, and the agents with it. Bounded, never raises."""
        running = [agent for agent in self._agents.values() if self.wanted(agent)]
        if running:
            works = [asyncio.ensure_future(self._before(agent, Cause.STOP)) for agent in running]
            await asyncio.wait(works, timeout=limits.SNAPSHOT_BEFORE_DOWN_S)

    # --- for the API ---------------------------------------------------------------------------------------------
    async def job(self, name: str, agent: str, **args: Any) -> AsyncIterator[Message]:
        """What a job says: progress, chunks, last a result or {"error": {"kind", "detail"}}. Raises HoldfastError."""
        try:
            async with contextlib.aclosing(self._job(name, agent, args)) as said:
                async for message in said:
                    yield message
        except JobFailed as failed:
            yield {"error": {"kind": str(failed.kind), "detail": failed.detail}}

    def _job(self, name: str, agent: str, args: dict[str, Any]) -> AsyncGenerator[Message, None]:
        if name == "snapshot":
            known = self._agents.get(agent)
            if known is None:
                raise HoldfastError(errors.AGENT_NOT_FOUND, agent=agent)
            cause, label = Cause(args.get("cause", "manual")), str(args.get("label", ""))
            return self._asked_for(known, cause, label, rested=True)
        if name == "diff" and args.get("b") is None:
            return self._against_now(agent, args)
        if name == "snapshots":
            args = {**args, "trouble": self.trouble(agent)}
        return self.jobs.job(name, agent, **args)

    async def _against_now(self, name: str, args: dict[str, Any]) -> AsyncGenerator[Message, None]:
        """Differences to the live tree: a snapshot of it is taken, where something changed, and compared with."""
        found = await self.take(name, Cause.COMPARE)
        now = found["snapshot"]["id"] if found["snapshot"] else found["unchanged_since"]
        async with contextlib.aclosing(self.jobs.job("diff", name, **{**args, "b": now})) as said:
            async for message in said:
                yield message

    def trouble(self, name: str) -> list[str]:
        """Sentences about this agent's snapshots that a person should read."""
        kept, found = self.kept.get(name), []
        if self.pauses.why:
            found.append(f"No snapshots are made by the clock: {self.pauses.why}.")
        if kept is not None and kept.trouble:
            found.append(f"The last snapshot could not be made: {kept.trouble}{_newest(kept)}.")
        return found + self.told(name)


def sight(agent: Agent) -> Sight:
    state = agent.spec.state
    every_s = state.every_s if state.paths and not agent.leaving else None
    return Sight(agent.name, every_s, agent.ladder.running)


def _newest(kept: Keeping) -> str:
    """What remains, where that is known."""
    return f"; the newest that can be restored is {kept.newest[:SHORT_ID_DIGITS]}" if kept.newest else ""
