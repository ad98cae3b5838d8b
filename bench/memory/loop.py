"""`python -m bench.memory.loop SPEC`: Holdfast's side, the RAM semaphore over the memory groups, for one scenario.

What the keeper does, without the keeper: read when it is due or the kernel tells, decide, act, never wait. Its store is
a file: who was shed and when; it may be killed at any time and begins again from that and from what it finds. Every act
that matters is a line of the ledger. Runs in the scenario's process namespace.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.memory.ground import Ground
from bench.memory.scenarios import REST_MB, rest_words
from holdfast import limits
from holdfast.density import model, peek, semaphore
from holdfast.density.model import Phase, Reading, Seen, State
from holdfast.density.node_memory import reserve as reserve_for
from holdfast.init import protocol, tree
from holdfast.node.kept_file import KeptFile
from holdfast.node.memory import NodeMemory
from holdfast.pods.memory_attach import attach
from holdfast.pods.memory_group import Memory

MB = 1024 * 1024
COALESCE_S = 0.002
START_BYTES = (REST_MB + 16) * MB  # the first ceiling of those that grow
START_AGAIN_S = 1.0  # an agent that was asked to come back and is not there after it is asked again


class Agent:
    """One agent as the loop knows it. `bare`: as if there were no cgroup to hold it."""

    def __init__(self, name: str, priority: int, ground: Ground, bare: bool) -> None:
        self.name, self.priority = name, priority
        self.directory = ground.memory[name]
        v2 = Path(ground.v2[name]) if ground.v2.get(name) else None
        v1 = [Path(ground.memory[name])] + ([Path(ground.freezer[name])] if ground.freezer.get(name) else [])
        held = (None, []) if bare else (v2, v1)
        self.group = attach(*held, None, lambda: ground.living(name))
        self.events = KeptFile(f"{v2}/cgroup.events") if v2 else None
        self.ground = ground
        self.shed_mono: float | None = None
        self.leaving_mono: float | None = None
        self.started_mono: float | None = None

    def populated(self) -> bool:
        told = self.events.read() if self.events else None
        return b"populated 1" in told if told is not None else bool(self.ground.living(self.name))

    def kill(self) -> None:
        """As init does it: the whole tree, frozen meanwhile."""
        if not self.group.ceilings:
            for _ in range(tree.KILL_ROUNDS):
                tree.signal_all(self.ground.living(self.name), signal.SIGKILL)
            return
        definition = protocol.AgentDef(
            argv=[],
            env={},
            cwd="/",
            fifo="",
            lock="",
            cgroup_v2=self.ground.v2.get(self.name) or None,
            cgroup_v1=self.ground.directories(self.name),
        )
        tree.kill(definition, "", (0, 0), list)


class Loop:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.ground = Ground(**spec["ground"])
        self.program: str = spec["program"]
        self.tick_s: float | None = spec.get("tick_s")
        self.place = Path(spec["place"])
        self.ledger = os.open(self.place / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.node = NodeMemory(Path(self.ground.node))
        bare = spec["bare"]
        self.agents = {name: Agent(name, priority, self.ground, bare) for name, priority in spec["agents"].items()}
        self.state = State()
        self.reading: Reading | None = None
        self.epoll = select.epoll()
        self.watched: dict[int, Agent] = {}
        self._begin_again()

    # --- what outlives this process ------------------------------------------------------------------------------
    def _begin_again(self) -> None:
        for line in (self.place / "ledger").read_text().splitlines():
            told = json.loads(line)
            agent = self.agents.get(told.get("agent", ""))
            if agent is None:
                continue
            if told["what"] in ("stop", "kill"):
                agent.shed_mono = agent.leaving_mono = told["mono"]
            elif told["what"] == "gone":
                agent.leaving_mono = None
            elif told["what"] == "back":
                agent.shed_mono = None
        highest = max(agent.priority for agent in self.agents.values())
        for agent in self.agents.values():
            if agent.priority < highest and not agent.populated():
                agent.group.set_ceiling(START_BYTES)  # stands before its first page, as that of an admitted start does
        self.note("begin", None)

    def note(self, what: str, agent: Agent | None, **facts: Any) -> None:
        record = {"what": what, "mono": time.monotonic(), "agent": agent.name if agent else "", **facts}
        os.write(self.ledger, (json.dumps(record) + "\n").encode())

    # --- reading -------------------------------------------------------------------------------------------------
    def read(self, now: float) -> Reading | None:
        node = self.node.read()
        if node is None:
            return None
        seen = tuple(one for agent in self.agents.values() if (one := self._see(agent, now)) is not None)
        return Reading(
            node_bytes=node.total_bytes,
            reserve_bytes=reserve_for(node.total_bytes),
            available_bytes=node.available_bytes,
            agents=seen,
            ceilings=all(agent.group.ceilings for agent in self.agents.values()),
            swap_free_bytes=node.swap_free_bytes,
        )

    def _see(self, agent: Agent, now: float) -> Seen | None:
        lease = self.state.leases.get(agent.name)
        memory = agent.group.read(lease.slack_bytes if lease else 0)
        phase = self._phase(agent, memory, now)
        if phase is None:
            return None
        gone = phase is Phase.SHED
        return Seen(
            name=agent.name,
            priority=agent.priority,
            phase=phase,
            usage_bytes=0 if gone else memory.usage_bytes,
            start_bytes=REST_MB * MB if gone else 0,
            ceiling_bytes=memory.ceiling_bytes,
            hits=memory.hits,
            frozen=memory.frozen and not gone,
            shed_mono=agent.shed_mono if gone else None,
        )

    def _phase(self, agent: Agent, memory: Memory, now: float) -> Phase | None:
        populated = agent.populated()
        if agent.leaving_mono is not None:
            if populated:
                return Phase.LEAVING
            self.note("gone", agent, took_s=round(now - agent.leaving_mono, 4))
            agent.leaving_mono = None
            agent.group.release()
        if agent.shed_mono is not None:
            if populated:
                self.note("back", agent)
                agent.shed_mono = None
            else:
                return Phase.SHED
        return Phase.RUNNING if populated else None

    # --- acting --------------------------------------------------------------------------------------------------
    def act(self, action: model.Action) -> None:
        name = action.victim if isinstance(action, model.Shed) else action.agent
        agent = self.agents[name]
        match action:
            case model.SetCeiling(bytes=ceiling):
                agent.group.set_ceiling(ceiling)
            case model.Protect(bytes=keep, floor_bytes=floor):
                agent.group.protect(keep, floor)
            case model.Freeze():
                agent.group.freeze()
                self.note("freeze", agent)
            case model.Thaw():
                agent.group.thaw()
                self.note("thaw", agent)
            case model.Stop():
                self._leave(agent)
                agent.group.thaw()
                tree.signal_all(self.ground.living(name), signal.SIGTERM)
                self.note("stop", agent)
            case model.Kill():
                self._leave(agent)
                agent.kill()
                self.note("kill", agent)
            case model.Shed():
                self._note_shed(agent, action)
            case model.ComeBack():
                self._start(agent)
            case model.TakeEvidence() | model.Spared() | model.Starved():
                self.note(type(action).__name__.lower(), agent)
            case _:
                self.note("ignored", agent, action=type(action).__name__)

    def _leave(self, agent: Agent) -> None:
        agent.leaving_mono = agent.leaving_mono or time.monotonic()
        agent.shed_mono = agent.shed_mono or time.monotonic()

    def _note_shed(self, agent: Agent, shed: model.Shed) -> None:
        lower = [
            one.name
            for one in self.agents.values()
            if one.priority < agent.priority and one.shed_mono is None and one.leaving_mono is None and one.populated()
        ]
        facts = {
            "needer": shed.needer,
            "usage_mb": shed.usage_bytes // MB,
            "lease_mb": shed.lease_bytes // MB,
            "rate_mb_s": shed.rate_bytes_s // MB,
            "reason": shed.reason,
            "lower": lower,
        }
        self.note("chosen", agent, **facts)

    def _start(self, agent: Agent) -> None:
        now = time.monotonic()
        if agent.started_mono is not None and now - agent.started_mono < START_AGAIN_S:
            return
        agent.started_mono = now
        subprocess.Popen(
            [self.program, *rest_words(agent.name)],
            preexec_fn=lambda: self.ground.enter(agent.name),
            start_new_session=True,
        )

    # --- the loop ------------------------------------------------------------------------------------------------
    def turn(self) -> None:
        now = time.monotonic()
        reading = self.read(now)
        if reading is None:
            return
        self.reading = reading
        self.state, actions = semaphore.decide(self.state, reading, now)
        for action in actions:
            self.act(action)

    def watch(self) -> None:
        """Descriptors appear with the first ceiling."""
        for agent in self.agents.values():
            fds = [(agent.group.notify_fd, agent.group.notify_mask)]
            fds += [(agent.events.fd, select.EPOLLPRI)] if agent.events else []
            for fd, mask in fds:
                if fd is not None and fd >= 0 and fd not in self.watched:
                    self.epoll.register(fd, mask)
                    self.watched[fd] = agent

    def run(self) -> None:
        while True:
            self.turn()
            self.watch()
            if self.tick_s is not None:
                time.sleep(self.tick_s)
                continue
            heard = self._wait()
            if heard:
                time.sleep(COALESCE_S)
                for fd, _ in heard + self.epoll.poll(0):
                    if fd == self.watched[fd].group.notify_fd:
                        self.watched[fd].group.heard()

    def _wait(self) -> list[tuple[int, int]]:
        """Until the kernel tells something, or a look is due and worth its price."""
        due_mono = self.state.due_mono
        while not (heard := self.epoll.poll(max(0.0, due_mono - time.monotonic()))):
            now, node = time.monotonic(), self.node.read()
            if node is None or self.reading is None:
                break
            if peek.worth_looking(self.state, self.reading, node.available_bytes, now):
                break
            due_mono = now + limits.TICK_TIGHT_S
        return heard


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that come back are reaped by the kernel
    Loop(spec).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
