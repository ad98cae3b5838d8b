"""Where agents run on this machine, as the keeper needs it: pods, users and stop files behind one door.

Invariant: nothing here decides; every call is idempotent, and what may take long runs in a thread. Called by
hands.py, intake.py and `describe`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast import limits, recipes
from holdfast.home import Home
from holdfast.init.protocol import AgentDef
from holdfast.keeper.acting.answering import Answering
from holdfast.keeper.agent import Agent
from holdfast.keeper.telling import evidence
from holdfast.node import cgroups, users
from holdfast.pods import announce, groups, pod
from holdfast.pods.model import Pod
from holdfast.spec.model import AgentSpec

Writes = Sequence[tuple[str, bytes, int]]
# Runs as the agent's user, since every directory on the way may be the agent's own and made of links.
_WRITER = """
import os, sys
path, mode = sys.argv[1], int(sys.argv[2])
new = path + ".holdfast"
fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
with os.fdopen(fd, "wb") as file:
    file.write(sys.stdin.buffer.read())
os.replace(new, path)
"""


class NodePlaces:
    """See hands.Places."""

    def __init__(self, home: Home, clock_at: Callable[[], float]) -> None:
        self._home = home
        self._clock_at = clock_at
        self.plan = cgroups.choose(home.home_id())
        self._identities: dict[tuple[str, str | None, str], users.Identity] = {}
        self.answering: Answering | None = None  # asked before agents' files are touched
        self.more_env: Callable[[AgentSpec], dict[str, str]] = lambda spec: {}  # what the keeper adds

    def definition(self, agent: Agent) -> AgentDef:
        if self.answering is not None:
            self.answering.before_touching(agent.spec)
        definition, agent.place = pod.build(agent.spec, self._home, self.plan, agent.memory.pod, self._identity(agent))
        definition.env.update(self.more_env(agent.spec))
        return definition

    def recreate(self, agent: Agent) -> AgentDef:
        if self.answering is not None:
            self.answering.before_touching(agent.spec)
        place: Pod | None = agent.place
        fresh = place is None or place.number != agent.memory.pod
        definition, agent.place = pod.build(
            agent.spec, self._home, self.plan, agent.memory.pod, self._identity(agent), fresh_tmp=fresh
        )
        definition.env.update(self.more_env(agent.spec))
        return definition

    def _identity(self, agent: Agent) -> users.Identity:
        """Looked up once: making a system user takes a while, finding it again does not change it."""
        key = (agent.name, agent.spec.user, agent.spec.working_dir)
        if key not in self._identities:
            if self.answering is not None:
                self.answering.before_touching(agent.spec, lambda: self._identity(agent))
            self._identities[key] = pod.identify(agent.spec, self._home)
        return self._identities[key]

    def forget(self, agent: Agent) -> bool:
        """False while something of it is still in use: ask again. May take long: belongs into a thread."""
        for key in [key for key in tuple(self._identities) if key[0] == agent.name]:
            self._identities.pop(key, None)
        return pod.remove(self._home, self.plan, agent.name)

    def leave_former(self, agent: Agent, current: int) -> bool:
        """Take away the cgroups of the agent's last pods before `current`; False while one is still in use."""
        numbers = range(max(1, current - limits.FORMER_PODS_LOOKED_FOR), current)
        return all(groups.remove(self.plan, agent.name, number) for number in numbers)

    def tidy(self, current: dict[str, int], agents: list[str]) -> None:
        """Delete what recreations left. May take long: belongs into a thread."""
        pod.tidy(self._home, self.plan, current, agents)

    def cgroups_of(self, agent: Agent) -> tuple[str, ...]:
        """Directories in which the memory of the whole tree may be read, v2 first."""
        place: Pod | None = agent.place
        if place is None:
            found = [self.plan.v2_root] if self.plan.v2_root else []
            found += list(self.plan.v1_roots.values())
            return tuple(f"{root}/{agent.name}.{agent.memory.pod}" for root in found)
        return ((place.cgroup_v2,) if place.cgroup_v2 else ()) + place.cgroup_v1

    def describe(self, agent: Agent) -> dict[str, Any]:
        place: Pod | None = agent.place
        if place is None:
            return {"number": agent.memory.pod, "cgroups": list(self.cgroups_of(agent))}
        shown: dict[str, Any] = msgspec.to_builtins(place)
        return shown

    def rights(self, agent: Agent) -> tuple[int, int, tuple[int, ...]] | None:
        """User, group and groups for work on the agent's files; None: our own. Raises HoldfastError, OSError."""
        identity = self._identity(agent)
        other = os.geteuid() == 0 and identity.uid != 0
        return (identity.uid, identity.gid, identity.groups) if other else None

    # --- stops ---------------------------------------------------------------------------------------------------
    def announce(self, agent: Agent, what: str, grace_s: float) -> None:
        """Say in the agent's stop file that the coming stop is planned. Never raises."""
        announce.write(
            self._home.agent(agent.name),
            instance=agent.world.epoch,
            what=what,
            grace_s=grace_s,
            at=self._clock_at(),
        )

    def stop_writes(self, agent: Agent) -> Writes:
        world = agent.world
        files = recipes.find(agent.spec.recipe).before_stop(
            agent.spec, world.pid, world.starttime, stopper_pid=os.getpid(), now_at=self._clock_at()
        )
        return [(file.path, file.data, file.mode) for file in files]

    async def write_as_agent(self, agent: Agent, writes: Writes) -> None:
        """Write with the agent's rights. Raises OSError when a file could not be written."""
        told = self.rights(agent)
        rights: dict[str, Any] = {"user": told[0], "group": told[1], "extra_groups": list(told[2])} if told else {}
        for path, data, mode in writes:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _WRITER, path, str(mode)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                env={},
                **rights,
            )
            try:
                await process.communicate(data)
            except asyncio.CancelledError:
                process.kill()
                raise
            if process.returncode:
                raise OSError(0, f"{path} could not be written")

    # --- how it ended --------------------------------------------------------------------------------------------
    def exit_words(self, agent: Agent) -> str:
        """The exit as the recipe explains it; "" when no exit was seen yet."""
        return evidence.exit_words(agent)

    def oom_kills(self, agent: Agent) -> int | None:
        """How many processes of the pod the kernel has killed for memory; None where it does not count."""
        return evidence.oom_kills(self.cgroups_of(agent))
