"""What is found out after a fault: the exit in words, who held the port, last lines, the kernel's words, what changed.

Invariant: `begin` only copies from the loop's memory; the function it returns may block and belongs into a thread.
Everything it returns is masked. Called by the casebook.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from holdfast import limits, recipes
from holdfast.clock import Clock
from holdfast.evidence import group, kernel_log, secrets
from holdfast.evidence.kernel_log import KernelStory
from holdfast.evidence.model import KernelLine
from holdfast.healing.model import Phase
from holdfast.home import Home
from holdfast.incidents import memory_death
from holdfast.incidents.facts import ExitFacts, Facts, MemoryFacts
from holdfast.incidents.model import Incident
from holdfast.keeper.agent import Agent
from holdfast.keeper.telling.collecting import secret_values
from holdfast.keeper.watching import ports
from holdfast.keeper.watching.proven import ProvenRuns
from holdfast.logs import read as logs

_WELL = frozenset({Phase.HEALTHY, Phase.DEGRADED, Phase.FINISHED})
_PAGE_BYTES = 4096  # the kernel keeps a limit in whole pages
_SAME_FAULT_S = 5.0  # clocks of init and keeper are read a moment apart


class Evidence(NamedTuple):
    """What is found out after a fault. `taken`: who held its port instead of it, "" when nobody did."""

    exit: str
    taken: str
    lines: Sequence[str]
    facts: Facts


class AfterFault:
    """`curve(name)`: the agent's memory over time; see keeper.resources."""

    def __init__(
        self,
        agents: dict[str, Agent],
        home: Home,
        clock: Clock,
        cgroups_of: Callable[[Agent], tuple[str, ...]],
        proven: ProvenRuns,
        curve: Callable[[str], list[tuple[float, int]]],
    ) -> None:
        self._agents = agents
        self._home = home
        self._clock = clock
        self._cgroups_of = cgroups_of
        self._proven = proven
        self._curve = curve
        self._kernel = KernelReader()

    def begin(self, agent: Agent, incident: Incident) -> Callable[[], Evidence]:
        """Copies what belongs to the loop; the function looks at the machine and may take long."""
        curve = tuple(self._curve(agent.name))
        waits_on = tuple(self._waits_on(agent))
        end = _exit_of(agent, incident)
        last = agent.memory.deaths[-1] if agent.memory.deaths else None
        born_at = None if last is None or last.lived_s is None else last.at - last.lived_s
        what_changed = self._proven.changes(agent)

        def look() -> Evidence:
            if last is not None:
                self._let_lines_arrive(agent.name, last.at)
            since_s = None if born_at is None else self._clock.now_at() - born_at
            lines, own = self._lines(agent, since_s)
            taken = self._taken(agent) if end is not None else ""
            words = _exit_words(agent, own) if end is not None else ""
            memory = self._memory(agent, curve)
            if end is not None and end.oom:
                words = ": ".join(filter(None, ("killed for memory", memory_death.words(memory, end.at))))
            if taken and end is not None:
                words = f"exit {end.code}: {taken}"
            changes, proven_at, gap = what_changed()
            facts = Facts(
                recipe=agent.spec.recipe,
                exit=None if end is None else replace(end, words=words),
                taken=taken,
                asks=agent.spec.ask_codes or (78,),
                memory=memory,
                kernel=self._kernel_story(agent, end, incident),
                changes=changes,
                proven_at=proven_at,
                waits_on=waits_on,
                gaps=(gap,) if gap else (),
            )
            return Evidence(words, taken, lines, facts)

        return look

    def _waits_on(self, agent: Agent) -> list[str]:
        found = []
        for need in agent.spec.depends_on:
            other = self._agents.get(need.agent)
            if other is None or other.ladder.phase not in _WELL:
                found.append(f"{need.agent} is {'not there' if other is None else other.ladder.phase.value}")
        return found

    def _let_lines_arrive(self, name: str, died_at: float) -> None:
        """What it printed last may still be on its way through the logger: wait for the log to stand, for a moment."""
        path = self._home.agent_logs(name) / "log"
        size = -1
        while 0 <= self._clock.now_at() - died_at < limits.LAST_LINES_S:
            try:
                now = path.stat().st_size
            except OSError:
                now = 0
            if now == size:
                return
            size = now
            time.sleep(limits.LAST_LINES_STEP_S)

    def _lines(self, agent: Agent, since_s: float | None) -> tuple[list[str], list[str]]:
        """The last lines, and those of the last life only: reasons of former lives are not this one's."""
        values = secret_values(agent.spec)
        shown = secrets.mask_lines(logs.tail(self._home, agent.name, limits.POSTMORTEM_LOG_LINES), values)
        if since_s is None or not shown:
            return shown, shown
        try:
            found = logs.lines(
                self._home, agent.name, since_s=max(0.0, since_s), last=len(shown), now_at=self._clock.now_at()
            )
            return shown, secrets.mask_lines([line.decode("utf-8", "replace") for line in found], values)
        except OSError:
            return shown, []

    def _taken(self, agent: Agent) -> str:
        """Who holds its port now, when it ended by itself with an error."""
        port = ports.asked_port(agent)
        if port is None or agent.last_exit is None or not agent.last_exit[0]:
            return ""
        return ports.stranger(agent.name, port, agent.world.pid, self._cgroups_of(agent), os.getppid())

    def _memory(self, agent: Agent, curve: tuple[tuple[float, int], ...]) -> MemoryFacts:
        counted = group.counters(self._cgroups_of(agent))
        kills = group.oom_kills(counted)
        declared, held = agent.spec.limits.memory_bytes, group.ceiling_bytes(counted)
        return MemoryFacts(
            limit_bytes=declared,
            lease_bytes=held if held is not None and (declared is None or held < declared - _PAGE_BYTES) else None,
            peak_bytes=group.peak_bytes(counted),
            used_bytes=curve[-1][1] if curve else None,
            oom_kills=None if kills is None else max(0, kills - agent.oom_kills),
            curve=curve[-limits.CURVE_POINTS_MAX * 4 :],
        )

    def _kernel_story(self, agent: Agent, end: ExitFacts | None, incident: Incident) -> KernelStory:
        """Only after a SIGKILL: nothing else is the kernel's way of taking memory back."""
        if end is None or end.signal != 9:
            return KernelStory()
        lines, gap = self._kernel.lines(incident.opened_at - 60.0)
        names = {Path(directory).name for directory in self._cgroups_of(agent)}
        story = kernel_log.story(lines, names, {agent.world.pid} if agent.world.pid else ())
        return KernelStory(lines=story.lines, victims=story.victims, biggest=story.biggest, gap=gap if end.oom else "")


class KernelReader:
    """Reads the kernel's log again only when its own counter says that somebody was killed for memory."""

    def __init__(self) -> None:
        self._counted = -1
        self._lines: list[KernelLine] = []
        self._gap = ""

    def lines(self, since_at: float) -> tuple[list[KernelLine], str]:
        counted = _killed_for_memory()
        if counted != self._counted:
            self._lines, self._gap = kernel_log.read(since_at)
            self._counted = counted
        return self._lines, self._gap


def _killed_for_memory() -> int:
    """How many processes of this machine were, since boot."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _exit_of(agent: Agent, incident: Incident) -> ExitFacts | None:
    """The last death, when it ended by itself and belongs to this incident."""
    deaths = agent.memory.deaths
    if agent.last_exit is None or not deaths or deaths[-1].at < incident.opened_at - _SAME_FAULT_S:
        return None
    code, signal, oom = agent.last_exit
    return ExitFacts(instance=deaths[-1].instance, at=deaths[-1].at, code=code, signal=signal, oom=oom)


def _exit_words(agent: Agent, lines: Sequence[str]) -> str:
    return secrets.mask(exit_words(agent, lines), secret_values(agent.spec))


def exit_words(agent: Agent, lines: Sequence[str] = ()) -> str:
    """The exit as the recipe explains it; "" when no exit was seen yet."""
    if agent.last_exit is None:
        return ""
    code, signal, oom = agent.last_exit
    if oom:
        return "killed by the kernel: its memory limit was reached"
    return recipes.find(agent.spec.recipe).explain_exit(agent.spec, code, signal, lines)


def oom_kills(directories: Sequence[str]) -> int | None:
    """How many processes of a place the kernel has killed for memory; None where it does not count."""
    for directory in directories:
        for name in ("memory.events", "memory.oom_control"):
            try:
                text = Path(directory, name).read_text()
            except OSError:
                continue
            for line in text.splitlines():
                word, _, number = line.partition(" ")
                if word == "oom_kill" and number.isdecimal():
                    return int(number)
    return None
