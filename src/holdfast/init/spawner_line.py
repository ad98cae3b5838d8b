"""The line to the spawner, from init's side: started, asked for births, heard, started again when it died.

Invariant: there is one spawner at most, and none is started while a former one or one of its newborns is before its
exec: all of them hold spawner.lock. What it does is in spawn.py. Called by the loop in main.py, after the journal is
written.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
from dataclasses import asdict
from typing import Any

from holdfast.init import adopt, joining, spawn
from holdfast.init.agent import Agent
from holdfast.init.pausing import Pausing
from holdfast.init.protocol import INSTANCE_ENV
from holdfast.init.supervise import Supervisor


class SpawnerLine:
    """`fd` is -1 while there is no spawner: `start` is to be tried again soon."""

    def __init__(self, home: str, run: str, supervisor: Supervisor, pausing: Pausing, epoll: select.epoll) -> None:
        self.supervisor, self.pausing, self.epoll = supervisor, pausing, epoll
        self.fd = -1
        self._socket: socket.socket | None = None
        self._notify_path = f"{run}/notify.sock"
        self._lock_path = f"{home}/init/spawner.lock"
        self._lock = self._open_lock()

    def _open_lock(self) -> int:
        return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def start(self) -> None:
        """As soon as the former spawner and all its newborns have let go of the lock."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        pid, self._socket = spawn.start(self._lock)
        os.close(self._lock)
        self._lock = -1
        self.fd = self._socket.fileno()
        self.supervisor.processes.spawner_pid = pid
        self.epoll.register(self.fd, select.EPOLLIN)
        adopt.resolve_births(self.supervisor)
        self.supervisor.joins = dict.fromkeys(self.supervisor.agents)  # its forerunner may not have come to it

    def died(self) -> None:
        """It was reaped: what it said last is heard first."""
        self.hear()
        if self._socket is None:
            return
        self.epoll.unregister(self.fd)
        self._socket.close()
        self._socket, self.fd = None, -1
        self.supervisor.in_flight.clear()
        self._lock = self._open_lock()

    def hear(self) -> None:
        """Its answers, and what newborns say that could not exec."""
        while self._socket is not None:
            try:
                raw = self._socket.recv(spawn.MESSAGE_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                raw = b""
            if not raw:
                return  # its death is seen by reaping
            self.supervisor.born(json.loads(raw))

    def ask(self) -> None:
        """Ask for the births that are due, then for what can wait; what it cannot take now is kept in order."""
        births = self.supervisor.births
        while births and self._socket is not None:
            agent = self.supervisor.agents.get(births[0])
            if agent is not None and agent.state == "spawning":
                self.pausing.before_birth(agent)
                try:
                    self._socket.send(json.dumps(self._request(agent)).encode())
                except BlockingIOError:
                    self.epoll.modify(self.fd, select.EPOLLIN | select.EPOLLOUT)
                    break
                except OSError as error:
                    failed = {"failed": error.errno, "stage": "request", "reason": error.strerror}
                    self.supervisor.born({"agent": agent.name, "epoch": agent.epoch, **failed})
                else:
                    self.supervisor.in_flight.add(agent.name)
            births.popleft()
        else:
            if self._socket is not None:
                self.epoll.modify(self.fd, select.EPOLLIN)
                joining.ask(self._socket, self.supervisor.agents, self.supervisor.joins)

    def _request(self, agent: Agent) -> dict[str, Any]:
        env = dict(agent.definition.env)
        env[INSTANCE_ENV] = self.supervisor.processes.instance(agent)
        if agent.definition.notify:
            env["NOTIFY_SOCKET"] = self._notify_path
        definition = asdict(agent.definition)
        del definition["env"]
        return {"agent": agent.name, "epoch": agent.epoch, "def": definition, "env": env}
