"""What peers ask of init, in the words of protocol.py: the keeper's requests, `holdfast down` without a keeper."""

from __future__ import annotations

import os
import signal
from typing import Any, Protocol

from holdfast.init import launch, procfs, tree
from holdfast.init.agent import LIVING, Agent
from holdfast.init.link import Connection
from holdfast.init.notify import Receiver
from holdfast.init.pausing import Pausing
from holdfast.init.protocol import PROTOCOL, AgentDef, Permit
from holdfast.init.services import Services
from holdfast.init.supervise import Supervisor

MODES = ("run", "shutdown", "leave")  # shutdown: end agents and Holdfast; leave: end Holdfast only


class Refused(Exception):
    """The answer's error text."""


class Host(Protocol):
    """The process that requests are carried out in."""

    supervisor: Supervisor
    services: Services
    pausing: Pausing
    beats: Receiver
    home_id: str
    agents_nofile: int
    since_mono: float  # when this code began to run; a re-executed init has another

    def say_goodbye(self) -> None: ...

    def reexec(self) -> str | None: ...


class Requests:
    """Turns messages into calls of the supervisor; knows which connection is the keeper."""

    def __init__(self, init: Host) -> None:
        self.init = init
        self.keeper: Connection | None = None
        self.mode = "run"

    def handle(self, connection: Connection, message: dict[str, Any]) -> None:
        if connection is self.keeper:
            self.init.services.keeper_spoke()
        answer: dict[str, Any] = {"re": message.get("id"), "ok": True}
        try:
            answer.update(self._carry_out(connection, message) or {})
        except Refused as error:
            answer.update(ok=False, error=str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            answer.update(ok=False, error=f"malformed request: {error!r}")
        if message.get("id") is not None:
            self.init.supervisor.settle()
            connection.send(answer)

    def _carry_out(self, connection: Connection, message: dict[str, Any]) -> dict[str, Any] | None:
        supervisor = self.init.supervisor
        operation = message["op"]
        if operation == "beat":
            return None
        if operation == "hello":
            return self._hello(connection, message)
        if operation == "ack":
            supervisor.ack(int(message["seq"]))
        elif operation == "steer":
            self.init.pausing.steer()
        elif operation == "shutdown":
            self.begin_shutdown(keep_agents=bool(message.get("keep_agents")))
        elif operation == "code":
            return {"code": {**launch.own_code(), "since_mono": self.init.since_mono}, "services": self._services()}
        elif operation == "reexec":
            why = self.init.reexec()
            if why is not None:
                raise Refused(f"the new code was not taken: {why}")
        elif operation == "define":
            name = str(message["agent"])
            if name.startswith("@"):
                raise Refused("names beginning with @ are Holdfast's own")
            definition, permit = AgentDef(**message["def"]), Permit(**message["permit"])
            if definition.nofile is None:
                definition.nofile = self.init.agents_nofile
            supervisor.define(name, definition, permit, int(message.get("epoch", 0)))
            return supervisor.agents[name].status()
        else:
            return self._to_agent(operation, self._agent(message), message)
        return None

    def _to_agent(self, operation: str, agent: Agent, message: dict[str, Any]) -> dict[str, Any] | None:
        supervisor = self.init.supervisor
        if _is_stale(operation, agent, message):
            if operation == "restart" and agent.epoch == int(message["instance"]):
                supervisor.tell_finished(agent)  # whoever asks for it has not heard that the job is done
            return agent.status()
        if operation == "permit":
            supervisor.set_permit(agent, Permit(**message["permit"]))
        elif operation == "start":
            if self.mode != "run":
                raise Refused("Holdfast is stopping")
            supervisor.start(agent, str(message.get("cause", "start")))
        elif operation in ("stop", "restart"):
            number = int(getattr(signal, f"SIG{message.get('signal', agent.definition.stop_signal)}"))
            grace_s = float(message.get("grace_s", agent.definition.grace_s))
            after = "spawn" if operation == "restart" and self.mode == "run" else "down"
            self.init.pausing.free(agent)  # what stands still cannot end by itself
            supervisor.stop(agent, number, grace_s, str(message.get("cause", operation)), after=after)
        elif operation == "kill":
            supervisor.kill(agent, str(message.get("cause", operation)))
        elif operation == "pause":
            until_mono = message["until_mono"]
            self.init.pausing.pause(agent, None if until_mono is None else float(until_mono))
        elif operation == "resume":
            self.init.pausing.resume(agent)
        elif operation == "forget":
            if not supervisor.forget(agent):
                raise Refused(f"{agent.name} is not down")
        else:
            raise Refused(f"unknown operation {operation!r}")
        return agent.status() if agent.name in supervisor.agents else None

    def _agent(self, message: dict[str, Any]) -> Agent:
        name = message["agent"]
        agent = self.init.supervisor.agents.get(name)
        if agent is None or name.startswith("@"):
            raise Refused(f"no agent {name!r}")
        return agent

    def _hello(self, connection: Connection, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("protocol") != PROTOCOL:
            raise Refused(f"protocol {message.get('protocol')!r} is not {PROTOCOL}")
        if self.keeper is not None and self.keeper is not connection:
            self.keeper.close()
        self.keeper = connection
        self.init.pausing.line_lost()  # of the former one, were it its own: it has to take over by itself
        self.init.services.keeper_connected = True
        self.init.services.keeper_spoke()
        supervisor = self.init.supervisor
        supervisor.unsent = list(supervisor.events)  # everything unacked, once more
        epochs = {name: agent.epoch for name, agent in supervisor.agents.items() if not name.startswith("@")}
        supervisor.unsent += self.init.beats.all_held(epochs)  # behind the births they belong to
        restarts = supervisor.service_restarts
        return {
            "boot_id": procfs.boot_id(),
            "home_id": self.init.home_id,
            "init": {"pid": os.getpid(), "restarts": restarts.get("init", 0)},
            "guard": {"pid": os.getppid(), "restarts": restarts.get("guard", 0)},
            "services": self._services(),
            "agents": {n: a.status() for n, a in supervisor.agents.items() if not n.startswith("@")},
            "seq": supervisor.seq,
            "acked": supervisor.acked,
            "journal_failed": supervisor.journal.failed,
            "mode": self.mode,
            "notify_socket": self.init.beats.identity,
        }

    def _services(self) -> dict[str, Any]:
        supervisor = self.init.supervisor
        return {
            name[1:]: {"pid": agent.pid, "restarts": supervisor.service_restarts.get(name[1:], 0)}
            for name, agent in supervisor.agents.items()
            if name.startswith("@")
        }

    def gone(self, connection: Connection) -> None:
        if connection is self.keeper:
            self.keeper = None
            self.init.pausing.line_lost()
            self.init.services.keeper_connected = False
            self.init.services.keeper_spoke()  # the minute of patience begins now

    def tell_keeper(self) -> None:
        supervisor = self.init.supervisor
        if self.keeper is not None:
            for event in supervisor.unsent:
                self.keeper.send(event)
        supervisor.unsent = []

    def forward_beats(self, told: list[dict[str, Any]]) -> None:
        """Not kept for later: what counts is held by the receiver and told again at hello."""
        if self.keeper is not None:
            for message in told:
                if not message["agent"].startswith("@"):
                    self.keeper.send(message)

    def beat(self) -> None:
        if self.keeper is not None:
            self.keeper.send({"ev": "beat"})

    # --- the end -------------------------------------------------------------------------------------------
    def begin_shutdown(self, *, keep_agents: bool) -> None:
        self.mode = "leave" if keep_agents else "shutdown"
        self.init.supervisor.mode = self.mode
        self.init.supervisor.records.append({"t": "mode", "mode": self.mode})
        if keep_agents:
            return
        for name, agent in self.init.supervisor.agents.items():
            if not name.startswith("@") and agent.state not in ("finished",):
                number = int(getattr(signal, f"SIG{agent.definition.stop_signal}"))
                self.init.pausing.free(agent)
                self.init.supervisor.stop(agent, number, agent.definition.grace_s, "shutdown")

    def leave(self) -> None:
        if self.mode == "run":
            self.begin_shutdown(keep_agents=True)

    def continue_shutdown(self) -> None:
        """Each turn: once the agents are down, end our own services, then say goodbye to guard."""
        if self.mode == "run":
            return
        agents = self.init.supervisor.agents
        if self.mode == "shutdown":
            living = [a for n, a in agents.items() if not n.startswith("@") and a.state in (*LIVING, "waiting")]
            if living:
                return
        if self.init.services.stop():
            if self.mode == "shutdown":
                tree.remove_groups([agent.definition for agent in agents.values()], self.init.home_id)
            else:
                self.init.pausing.free_all()
            self.init.say_goodbye()


def _is_stale(operation: str, agent: Agent, message: dict[str, Any]) -> bool:
    """Whether the keeper decided about an instance that is no longer the last one.

    `instance` names it; an act for an earlier one is left undone, since the events under way to the keeper will let
    it decide anew. `while_running`: a permit that was computed before the death of that instance, which has used a
    restart since.
    """
    instance = message.get("instance")
    if instance is None:
        return False
    if operation in ("start", "restart", "permit", "kill") and agent.epoch > int(instance):
        return True
    if operation == "restart" and agent.state == "finished":
        return True
    return operation == "permit" and bool(message.get("while_running")) and agent.state not in ("up", "stopping")
