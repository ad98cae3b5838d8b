"""Wires the sources of behaviour beside beats: what is looked at, by whom, and who hears of it.

Made once by the keeper; the API finds the pushes here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.clock import Clock
from holdfast.home import Home
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.behaviour import Behaviour
from holdfast.keeper.watching.commands import CommandSource, FunctionSource, Probing
from holdfast.keeper.watching.file_beats import FileSource
from holdfast.keeper.watching.log_lines import LogSource
from holdfast.keeper.watching.pushes import PushSource
from holdfast.keeper.watching.sources import Reporter, Sources
from holdfast.spec.model import AgentSpec


class Listening:
    """`follow`, `gone`, `settle` and `close` are all the keeper needs."""

    def __init__(
        self,
        agents: dict[str, Agent],
        behaviour: Behaviour,
        home: Home,
        clock: Clock,
        places: NodePlaces,
        tasks: Tasks,
        starved: Callable[[float], bool],
    ) -> None:
        reporter = Reporter(agents, behaviour)
        self._agents = agents
        self._files = FileSource(reporter, clock)
        self._logs = LogSource(home, reporter, tasks)
        self.probing = Probing(home, places, reporter, tasks, starved)
        self.pushes = PushSource(home, reporter)
        reporter.token_of = lambda name: self.pushes.door.tokens.get(name, "")
        asked = (CommandSource(self.probing), FunctionSource(self.probing))
        self._sources = Sources(agents, reporter, (self._files, self._logs, self.pushes, *asked), starved)

    def follow(self, agent: Agent, now_mono: float) -> None:
        """The agent, its ladder or its spec changed."""
        self._sources.follow(agent, now_mono)

    def gone(self, name: str) -> None:
        """The agent was taken out of the fleet."""
        self._sources.drop(name)
        self.pushes.door.drop(name)
        self.settle()

    def expect(self, specs: Iterable[AgentSpec]) -> None:
        """These agents are about to be started."""
        self.pushes.expect(specs)

    def settle(self) -> None:
        """After a change of the fleet: is the door for pushes still wanted?"""
        self.pushes.settle(any(agent.spec.health.push is not None for agent in self._agents.values()))

    def close(self) -> None:
        """Probes under way are ended; agents are not touched."""
        self._sources.close()
        self._files.close()
        self._logs.close()
        self.probing.link.close()
        self.pushes.close()
