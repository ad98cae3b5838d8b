"""The memory leases of starts: taken with the permission to start, given back when the agent is ready and flat.

Invariants: a start holds one lease from its grant (or, restarted by init alone, from its spawn, without waiting) until
it settled, ended, or had START_LEASE_MAX_S and, still growing, its own time to get ready; what a start was seen to need
outlives the keeper and the machine, and is learned from starts alone that were watched from their beginning. Nothing
here waits or decides who may start: that is queue.py. Called by the queue (granted), the health loop (instances come
and go), the semaphore at each look (follow, lease_bytes) and the views.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from holdfast import limits
from holdfast.density import admission
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.sizes import size
from holdfast.spec.model import AgentSpec

_RETOLD_SHARE = 0.05  # a peak that differs less from the one known is no news: every start would be a record
_NUMBER = re.compile(r"\d+")


class _Out:
    """A lease that is out. `instance` 0: granted, not spawned yet. `flat_mono`: since when it hardly grows.

    `watched`: from its beginning. Else its peak may have been before we looked.
    """

    __slots__ = ("flat_mono", "instance", "lease_bytes", "peak_bytes", "since_mono", "taken_mono", "watched")

    def __init__(self, lease_bytes: int, since_mono: float, taken_mono: float) -> None:
        self.lease_bytes = lease_bytes
        self.since_mono = since_mono
        self.taken_mono = taken_mono  # later than `since_mono` when we heard of it late
        self.instance = 0
        self.peak_bytes = 0
        self.watched = taken_mono - since_mono <= limits.START_SEEN_S
        self.flat_mono: float | None = None


class Starts:
    """`settled()` is called when a lease came back, `learned()` when starts of a kind turned out to need so much.

    `guess_most()`: bytes that a start of which nothing is known may be counted with here; None: nobody can tell.
    """

    def __init__(
        self,
        agents: dict[str, Agent],
        recorder: Recorder,
        *,
        changed: Callable[[Agent], None],
        settled: Callable[[], None],
        learned: Callable[[], None],
        guess_most: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._agents = agents
        self._recorder = recorder
        self._changed = changed
        self._settled = settled
        self._learned = learned
        self._guess_most = guess_most
        self._out: dict[str, _Out] = {}
        self._over: dict[str, int] = {}  # instances whose start is over
        self._kinds: dict[tuple[str, ...], int] | None = None  # peaks seen, of agents that are started alike
        self._took: dict[tuple[str, ...], float] | None = None  # seconds that the last start of a kind took

    # --- for others ----------------------------------------------------------------------------------------------
    def lease_bytes(self, agent: Agent) -> int:
        """What is kept for its start; 0 when none is under way."""
        one = self._out.get(agent.name)
        return 0 if one is None else one.lease_bytes

    def taken_since(self, since_mono: float) -> int:
        """Bytes of the leases that were taken at or after a moment: a reading from then knows nothing of them."""
        return sum(one.lease_bytes for one in self._out.values() if one.taken_mono >= since_mono)

    def out(self) -> dict[str, tuple[float, int]]:
        """All leases that are out: since when, bytes."""
        return {name: (one.since_mono, one.lease_bytes) for name, one in self._out.items()}

    def need(self, agent: Agent) -> int:
        """Bytes that its next start takes: as declared, else as seen of it or of its like, else as its recipe says.

        Of a program that nobody knows it is a guess, which must not keep it out of a small node for ever.
        """
        said, limit = agent.spec.memory, agent.spec.limits.memory_bytes
        peak = agent.memory.start_peak_bytes
        if peak is None and said.start_bytes is None:
            peak = self._peaks().get(_kind(agent.spec))
        need = admission.start_need(said.start_bytes, peak, said.start_default_bytes, limit)
        if said.start_bytes is None and peak is None and said.start_default_bytes is None:
            most = self._guess_most()
            need = need if most is None else min(need, most)
        return max(need, said.min_bytes)  # leases keep that much for it from its first moment on

    def takes_s(self, agent: Agent) -> float:
        """How long its next start will take until it is ready and flat, in seconds: as its last one, or its like."""
        if agent.memory.start_s is not None:
            return agent.memory.start_s
        if self._took is None:
            told = ((one.spec, one.memory.start_s) for one in self._agents.values())
            self._took = {_kind(spec): took_s for spec, took_s in told if took_s is not None}
        return self._took.get(_kind(agent.spec), limits.START_TAKES_S)

    # --- a start -------------------------------------------------------------------------------------------------
    def granted(self, agent: Agent, need_bytes: int, now: float) -> None:
        """It may start, and holds so much from now on."""
        self._out[agent.name] = _Out(need_bytes, now, now)

    def spawned(self, agent: Agent, now: float) -> None:
        """An instance runs. One that nobody granted (a crash restart by init) takes its lease without waiting."""
        one = self._out.get(agent.name)
        if one is None or one.instance:
            one = self._out[agent.name] = _Out(self.need(agent), agent.world.spawned_mono or now, now)
        one.instance = agent.ladder.instance

    def seen(self, agent: Agent, now: float) -> None:
        """Its ladder or its process changed; idempotent. A follower of the health loop."""
        one, ladder, name = self._out.get(agent.name), agent.ladder, agent.name
        if ladder.running and agent.world.pid > 0:
            if one is not None and one.instance == ladder.instance:
                if agent.is_frozen:
                    self._end(agent, one, None)  # asleep it takes no more, and others wait for this
                return
            if one is not None and one.instance:
                self._end(agent, one, None)  # the next one came before the end of this one was heard
            if one is None and _has_started(agent, now):
                self._over[name] = ladder.instance  # it ran before we came
            if self._over.get(name) != ladder.instance:
                self.spawned(agent, now)
        elif one is not None and (one.instance or ladder.phase is not Phase.STARTING):
            self._end(agent, one, None)

    def follow(
        self, agent: Agent, usage_bytes: int, rate_bytes_s: float, now: float, *, held_back: bool = False
    ) -> None:
        """One more reading of it. Gives the lease back when the start is over. `held_back`: it waits for memory.

        A machine that is short of CPU slows a start, but whoever passed its gate and stays flat on it is done as well.
        """
        one = self._out.get(agent.name)
        if one is None:
            return
        one.peak_bytes = max(one.peak_bytes, usage_bytes)
        if not admission.flat(rate_bytes_s) or held_back:  # who is held back does not grow, and is not done
            one.flat_mono = None
        elif one.flat_mono is None:
            one.flat_mono = now
        flat_s = 0.0 if one.flat_mono is None else now - one.flat_mono
        ready = one.instance > 0 and agent.ladder.gate_passed
        budget_mono = agent.gate.deadline_mono if agent.gate is not None and one.instance > 0 else float("-inf")
        if admission.settled(ready, flat_s, one.since_mono, now, budget_mono):
            self._end(agent, one, now - one.since_mono if ready else None)

    def gone(self, agent: Agent) -> None:
        """It was taken out of the fleet."""
        self._over.pop(agent.name, None)
        if self._out.pop(agent.name, None) is not None:
            self._settled()

    # --- pieces --------------------------------------------------------------------------------------------------
    def _end(self, agent: Agent, one: _Out, took_s: float | None) -> None:
        """The lease comes back. `took_s` None: it did not get so far, so its peak is only what it reached."""
        del self._out[agent.name]
        if one.instance:
            self._over[agent.name] = one.instance
        memory = agent.memory
        kinds, before = self._peaks(), memory.start_peak_bytes  # of before: what is new must be seen to be new
        took_s = took_s if one.watched else None
        if took_s is not None:
            one.peak_bytes = max(one.peak_bytes, limits.SLACK_LEAST_BYTES)  # so small that a late group saw none of it
            agent.memory.start_s = round(took_s, 1)
            if self._took is not None:
                self._took[_kind(agent.spec)] = agent.memory.start_s
        elif before is None and one.peak_bytes * limits.START_PEAK_FACTOR <= self.need(agent):
            one.peak_bytes = 0  # broken off early it tells nothing that its recipe did not tell better
        known = memory.start_peaks or (() if before is None else (before,))
        peaks = admission.peaks_kept(known, one.peak_bytes, whole=took_s is not None)
        if peaks != memory.start_peaks:
            memory.start_peaks = peaks
            peak = memory.start_peak_bytes = max(peaks)
            if before is None or abs(peak - before) > before * _RETOLD_SHARE:
                self._tell(agent, peak, one, took_s)
            self._changed(agent)
            kind = _kind(agent.spec)
            if peak > kinds.get(kind, 0):
                kinds[kind] = peak
                self._learned()
        self._settled()

    def _tell(self, agent: Agent, peak: int, one: _Out, took_s: float | None) -> None:
        words = f"its start took {size(one.peak_bytes)} of memory at its peak"
        words += "" if took_s is None else f", and {took_s:.1f} s until it was ready and flat"
        body: dict[str, Any] = {"start_peak_bytes": peak, "instance": one.instance}
        if took_s is not None:
            body["start_s"] = round(took_s, 1)
        self._recorder.record("density.started", agent.name, words, body)

    def _peaks(self) -> dict[tuple[str, ...], int]:
        if self._kinds is None:
            self._kinds = {}
            for agent in self._agents.values():
                if (peak := agent.memory.start_peak_bytes) is not None:
                    kind = _kind(agent.spec)
                    self._kinds[kind] = max(peak, self._kinds.get(kind, 0))
        return self._kinds


def _has_started(agent: Agent, now: float) -> bool:
    """It was spawned long ago, and its start is over: nothing is kept for it, and nothing learned from it."""
    spawned = agent.world.spawned_mono
    return bool(spawned) and now - spawned > limits.START_FLAT_S and agent.ladder.gate_passed


def _kind(spec: AgentSpec) -> tuple[str, ...]:
    """Agents of one kind are started alike but for numbers: replicas, or the workers of one program."""
    return (spec.recipe, *(_NUMBER.sub("#", word) for word in spec.command))
