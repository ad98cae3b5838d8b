"""What the hands of the keeper need of others before they act on an agent: a place, a look, its files at rest.

Each part of the keeper that has a say before an act implements one of these; hands.py calls them in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from holdfast.healing.actions import Restore
from holdfast.init.protocol import AgentDef
from holdfast.keeper.agent import Agent
from holdfast.spec.model import AgentSpec


class Places(Protocol):
    """Where agents run on this machine. Raise HoldfastError or OSError when a place cannot be had."""

    def definition(self, agent: Agent) -> AgentDef:
        """The agent's place, made if need be, as init starts it. Idempotent."""

    def recreate(self, agent: Agent) -> AgentDef:
        """A new place (cgroup, TMPDIR, sockets) with the number `agent.memory.pod`; state untouched."""

    def forget(self, agent: Agent) -> bool:
        """The agent is gone for good: its cgroup goes, its logs stay. False while something is still in use."""

    def describe(self, agent: Agent) -> dict[str, Any]:
        """For `describe`: cgroup, tmpdir, user, limits that hold and those that do not."""

    def announce(self, agent: Agent, what: str, grace_s: float) -> None:
        """Say in the agent's stop file that the coming stop is planned. Never raises."""

    def stop_writes(self, agent: Agent) -> Sequence[tuple[str, bytes, int]]:
        """Files (path, content, mode) that tell the agent that the coming stop is planned."""

    def write_as_agent(self, agent: Agent, writes: Sequence[tuple[str, bytes, int]]) -> Awaitable[None]:
        """Write them with the rights of the agent's user, in bounded time."""


class Looking(Protocol):
    """Looks into an agent that is about to be killed; see collecting.py."""

    def wanted(self, agent: Agent, instance: int) -> bool:
        """Whether there is something to look into."""

    def look(self, agent: Agent, instance: int) -> Awaitable[None]:
        """Returns in bounded time, whatever hangs. Never raises."""


class Settling(Protocol):
    """Work on the files of an agent that has to be done while it is down; see capped_files.py."""

    def waits(self, agent: Agent) -> bool:
        """Whether there is some."""

    def settle(self, agent: Agent) -> Awaitable[None]:
        """Returns in bounded time. Never raises."""


class Holding(Protocol):
    """What has to be over before an agent is started, whoever wants it started; see restoring.py."""

    def waits(self, agent: Agent) -> bool:
        """Whether there is such a thing."""

    def settle(self, agent: Agent) -> Awaitable[str]:
        """Returns when it is over: why the agent cannot be started, "" when it can. Never raises."""

    def by_ladder(self, agent: Agent, act: Restore) -> None:
        """Tier 3: stop it, put its state back, start it. Idempotent while that is under way."""


class Keeping(Protocol):
    """Keeps a version of an agent's state before it is stopped; see snapshots.py."""

    def wanted(self, agent: Agent) -> bool:
        """Whether a planned stop of it waits for that."""

    def before_stop(self, agent: Agent) -> Awaitable[None]:
        """Returns in bounded time. Never raises."""


class Asking(Protocol):
    """Asks file systems that may stop answering before the loop touches them; see answering.py."""

    def in_doubt(self, spec: AgentSpec) -> str:
        """A path that has to be asked about first; "" when the agent can be started at once."""

    def unanswered(self, spec: AgentSpec) -> Awaitable[str]:
        """Why it cannot be started, "" when it can. Returns in bounded time. Never raises."""

    def is_local(self, paths: Sequence[str]) -> bool:
        """Whether the loop may look at all of these at any time."""
