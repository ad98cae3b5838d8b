"""Reads what agents use, at a pace that costs next to nothing, and tells what it means.

Invariant: nothing here restarts anything; `grew` is told of each reading, and may. Fast memory readings happen only
where a limit is declared; everything else once in LOOK_EVERY_S, in slices, so that no probe waits for it; with nobody
running there is no wake-up. High-rate readings are never written down. Called by the health loop (instances come and
go) and by the keeper for the API and the post-mortem, which draws `curve(name)`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from holdfast import errors, limits
from holdfast.clock import Clock
from holdfast.errors import HoldfastError
from holdfast.health import resources as rules
from holdfast.health import usage
from holdfast.health.model import Judgement, Observed
from holdfast.health.resources import ALARM, WELL, Standing
from holdfast.health.trend import Curve, Point, Trend, growth, limit_in_s, rush
from holdfast.home import Home
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.alarms import Alarms
from holdfast.keeper.telling.views import UsageView
from holdfast.keeper.watching import disk_use
from holdfast.node.network import Traffic, own_namespace, rates, read_traffic
from holdfast.node.processes import Stat


class _Held:
    """What is known of one agent's use. All but the curve begins anew with each instance."""

    __slots__ = ("began_mono", "curve", "disk_bytes", "look", "looked_mono", "looks", "net", "net_pid", "rates",
                 "recent", "share", "standing", "trend")  # fmt: skip

    def __init__(self) -> None:
        self.curve = Curve()
        self.disk_bytes: int | None = None
        self.begin(0.0, 0)

    def begin(self, now: float, net_pid: int) -> None:
        self.began_mono = now
        self.recent: deque[Point] | None = None  # while there is a limit; an empty one takes 800 bytes
        self.look = usage.Look()
        self.looked_mono = 0.0
        self.looks = 0
        self.share: float | None = None
        self.trend: Trend | None = None
        self.standing: dict[str, Standing] = {}
        self.net_pid = net_pid  # 0: it shares the machine's network, where nobody counts by process
        self.net: Traffic | None = None
        self.rates: tuple[float, float] | None = None


class Resources:
    """See the module. `set_report` is called by the keeper once the parts are wired."""

    def __init__(
        self,
        agents: dict[str, Agent],
        clock: Clock,
        tasks: Tasks,
        home: Home,
        alarms: Alarms,
        cgroups_of: Callable[[Agent], tuple[str, ...]],
        report: Callable[[Observed, float], None],
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._tasks = tasks
        self._home = home
        self._alarms = alarms
        self._cgroups_of = cgroups_of
        self._report = report
        self.grew: Callable[[Agent, int, Trend | None, Trend | None], None] = lambda agent, used, trend, quick: None
        self._usage = usage.Usage()
        self._held: dict[str, _Held] = {}
        self._used: dict[str, int] = {}
        self._read_mono = float("-inf")
        self._look_mono = float("-inf")
        self._disk_mono = float("inf")
        self._passing = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.looked: list[Callable[[Agent, int | None, float | None, int | None, float], None]] = []

    # --- for others ----------------------------------------------------------------------------------------------
    def curve(self, name: str) -> list[tuple[float, int]]:
        """Memory of an agent over the last day at most, oldest first: (wall clock, bytes). [] when nothing is known."""
        held = self._held.get(name)
        if held is None:
            return []
        behind = self._clock.now_at() - self._clock.now_mono()
        return [(point.mono + behind, point.used_bytes) for point in held.curve.points()]

    def freshen(self, now: float) -> None:
        """Read memory again unless that was done within a second: somebody looks."""
        if now - self._read_mono >= limits.MEMORY_SHOWN_EVERY_S:
            self._read(now)

    def usage(self, name: str) -> UsageView | None:
        """What `ps` shows of a running agent's use; None when it does not run."""
        agent, held = self._agents.get(name), self._held.get(name)
        if agent is None or held is None or not agent.usage_of:
            return None
        used, bounds, trend = self._used.get(name), agent.spec.limits, held.trend
        limit = bounds.memory_bytes
        soon = None if used is None else limit_in_s(used, limit, trend)
        received, sent = held.rates or (None, None)
        return UsageView(
            memory_bytes=used,
            memory_limit_bytes=limit,
            memory_share=round(used / limit, 4) if used is not None and limit else None,
            memory_slope_bytes_s=None if trend is None else round(trend.slope_bytes_s, 1),
            limit_in_s=None if soon is None else round(soon),
            cpu_share=None if held.share is None else round(held.share, 4),
            cpu=None if held.share is None else round(held.share * (bounds.cpus or 1.0), 4),
            disk_bytes=held.disk_bytes,
            net_rx_bytes_s=received,
            net_tx_bytes_s=sent,
            descriptors=held.look.descriptors,
            processes=held.look.processes,
        )

    def disk_bytes(self, name: str) -> int | None:
        """What its own directories held when they were measured last; None when nobody did."""
        held = self._held.get(name)
        return None if held is None else held.disk_bytes

    # --- instances come and go -----------------------------------------------------------------------------------
    def began(self, agent: Agent, now: float) -> None:
        """A new instance runs (or was found running)."""
        pid = agent.world.pid
        self._usage.watch(agent.name, pid, self._cgroups_of(agent))
        held = self._held.setdefault(agent.name, _Held())
        held.begin(agent.world.spawned_mono or now, pid if own_namespace(pid) else 0)
        self._read_mono = float("-inf")  # the next look reads
        if self._disk_mono == float("inf"):
            self._disk_mono = now + limits.DISK_ROUND_FIRST_S
        self._arm()

    def ended(self, name: str) -> None:
        """The instance is gone; its curve stays for the post-mortem."""
        used = self._used.pop(name, None)
        if used is not None and name in self._held:
            self._held[name].curve.last(self._read_mono, used)
        self._usage.drop(name)

    def forget(self, name: str) -> None:
        """The agent was taken out of the fleet."""
        self.ended(name)
        self._held.pop(name, None)
        self._alarms.clear(f"memory:{name}", name, "was taken out of the fleet")

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._usage.close()

    # --- time ----------------------------------------------------------------------------------------------------
    def _arm(self) -> None:
        """One timer, only while there is something to read."""
        if self._timer is not None or self._closed or not self._usage.watched():
            return
        limited = any(agent.spec.limits.memory_bytes for agent in self._agents.values() if agent.usage_of)
        pause_s = limits.MEMORY_EVERY_S if limited else limits.LOOK_EVERY_S
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        self._read(now)
        for name, used in list(self._used.items()):
            agent = self._agents.get(name)
            limited = agent is not None and agent.spec.limits.memory_bytes
            if agent is not None and (limited or self._was_told(name)):  # a limit may have been taken away
                self._judge_memory(agent, self._held[name], used, now)
            if agent is not None:
                self._grew(agent, self._held[name], used, now)
        if now - self._look_mono >= limits.LOOK_EVERY_S * 0.9 and not self._passing:
            self._look_mono, self._passing = now, True
            self._tasks.spawn(self._pass())
        self._arm()

    def _read(self, now: float) -> None:
        self._read_mono = now
        self._used = self._usage.rss_bytes()
        for name, used in self._used.items():
            self._held[name].curve.add(now, used)

    def _grew(self, agent: Agent, held: _Held, used: int, now: float) -> None:
        """Growth that may have to be acted upon: a confirmed one, or a quick one close to the limit."""
        limit = agent.spec.limits.memory_bytes
        quick = None
        if limit:
            if held.recent is None:
                held.recent = deque(maxlen=limits.RECENT_POINTS)
            held.recent.append(Point(now, used))
            if used >= limit * agent.spec.resources.memory_alarm:
                earlier = (point for point in held.curve.points() if point.mono >= held.began_mono)
                quick = rush(held.recent, earlier, now)
        self.grew(agent, used, held.trend, quick)

    async def _pass(self) -> None:
        """One look at each agent, in slices."""
        loop = asyncio.get_running_loop()
        try:
            everyone = await self._trees()
            until = loop.time() + limits.LOOK_SLICE_S
            for name in self._usage.watched():
                if loop.time() >= until:
                    await asyncio.sleep(limits.LOOK_SLICE_PAUSE_S)
                    until = loop.time() + limits.LOOK_SLICE_S
                agent = self._agents.get(name)
                if agent is not None and agent.usage_of and not self._closed:
                    self._look(agent, self._held[name], everyone, loop.time())
            if loop.time() >= self._disk_mono and not self._closed:
                self._disk_mono = loop.time() + limits.DISK_ROUND_EVERY_S
                await self._measure_disks()
        finally:
            self._passing = False

    async def _trees(self) -> Mapping[int, Sequence[Stat]] | None:
        """Who belongs to whom, where no cgroup says so."""
        roots = [agent.world.pid for agent in self._agents.values() if agent.usage_of and not self._cgroups_of(agent)]
        return await asyncio.to_thread(usage.trees, roots) if roots else None

    async def _measure_disks(self) -> None:
        asked = disk_use.asked_of((agent.spec for agent in self._agents.values()), self._home)
        found = await disk_use.measure(asked)
        now = asyncio.get_running_loop().time()
        for name, used_bytes in found.items():
            agent, held = self._agents.get(name), self._held.get(name)
            if agent is not None and held is not None:
                held.disk_bytes = used_bytes
                after = rules.own_disk(held.standing.get("disk", Standing()), used_bytes, agent.spec.resources)
                self._tell(agent, held, "disk", after, now)

    # --- one agent -----------------------------------------------------------------------------------------------
    def _look(self, agent: Agent, held: _Held, everyone: Mapping[int, Sequence[Stat]] | None, now: float) -> None:
        look = self._usage.look(agent.name, None if self._cgroups_of(agent) else everyone)
        if look is None:
            return
        wanted, bounds = agent.spec.resources, agent.spec.limits
        held.share = rules.cpu_share(held.look.cpu_s, look.cpu_s, now - held.looked_mono, bounds.cpus)
        held.look, held.looked_mono = look, now
        cores = None if held.share is None else held.share * (bounds.cpus or 1.0)
        for follow in self.looked:
            follow(agent, look.used_bytes, cores, held.disk_bytes, now)
        every = limits.TREND_EVERY_LOOKS * (1 if bounds.memory_bytes else 5)
        if held.looks % every == every - 1:
            held.trend = growth(held.curve.points(), held.began_mono, now) if held.curve.may_grow() else None
        held.looks += 1
        if held.net_pid:
            traffic = read_traffic(held.net_pid, now)
            held.rates, held.net = rates(held.net, traffic), traffic
        standing = held.standing
        for source, after in (
            ("cpu", rules.cpu(standing.get("cpu", Standing()), held.share, now, wanted, bounds.cpus)),
            (
                "descriptors",
                rules.descriptors(
                    standing.get("descriptors", Standing()), look.descriptors, look.descriptors_limit, wanted
                ),
            ),
            (
                "processes",
                rules.processes(standing.get("processes", Standing()), look.processes, wanted, bounds),
            ),
        ):
            self._tell(agent, held, source, after, now)

    def _was_told(self, name: str) -> bool:
        alarm, standing = self._alarms.known.get(f"memory:{name}"), self._held[name].standing.get("memory")
        return (alarm is not None and alarm.on) or (standing is not None and standing.level > WELL)

    def _judge_memory(self, agent: Agent, held: _Held, used: int, now: float) -> None:
        before = held.standing.get("memory", Standing())
        after = rules.memory(before, used, agent.spec.limits.memory_bytes, held.trend, agent.spec.resources)
        key = f"memory:{agent.name}"
        self._tell(agent, held, "memory", after, now)
        if after.level >= ALARM and before.level < ALARM:
            said = HoldfastError(errors.MEMORY_NEAR_LIMIT, agent=agent.name, detail=after.detail)
            self._alarms.raise_(key, agent.name, said, quiet=agent.policy.hands_off)
        elif after.level < ALARM:
            self._alarms.clear(key, agent.name, "its memory is well below its limit again")

    def _tell(self, agent: Agent, held: _Held, source: str, after: Standing, now: float) -> None:
        before = held.standing.get(source)
        if before == after or (before is None and after == Standing()):
            return
        held.standing[source] = after
        if (before or Standing()).detail == after.detail:
            return
        judgement = Judgement.OK if after.level == WELL else Judgement.DEGRADED
        instance = agent.ladder.instance
        seen = Observed(agent=agent.name, instance=instance, source=source, judgement=judgement, detail=after.detail)
        self._report(seen, now)
