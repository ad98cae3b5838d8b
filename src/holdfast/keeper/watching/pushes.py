"""The source `push`: beats that come by HTTP. Tokens, the port they come to, and what each push is taken for.

Invariants: a token is drawn by the keeper, kept only in HOME/push.json (mode 0600) and in the environment of its own
agent, and compared by its hash; the port is chosen once and kept, so that the URLs of running agents stay good; it is
open on 127.0.0.1 only, and only while an agent declares `health.push`. What a push means is decided in health/push.py;
HTTP is spoken in api/push_listener.py. Called by sources.py, places.py and the API.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import socket
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfast import limits
from holdfast.files import write_atomic
from holdfast.health import push
from holdfast.health.push import Ping, PushState
from holdfast.home import Home
from holdfast.keeper.agent import Agent
from holdfast.keeper.watching import beats
from holdfast.keeper.watching.sources import Reporter, Turn
from holdfast.spec.model import AgentSpec

FILE = "push.json"
HOST = "127.0.0.1"
PORT_ENV = "HOLDFAST_PUSH_PORT"
URL_ENV = "HOLDFAST_PUSH_URL"


class Door:
    """The tokens and the listening socket. `failed`: why pushes cannot come in, "" when they can."""

    def __init__(self, home: Home) -> None:
        self._path: Path = home.path / FILE
        self.port = 0
        self.tokens: dict[str, str] = {}  # agent -> token
        self._agents: dict[bytes, str] = {}  # hash of a token -> agent
        self.failed = ""
        self.sock: socket.socket | None = None
        self._dropping: asyncio.TimerHandle | None = None
        self._load()

    def _load(self) -> None:
        try:
            found = json.loads(self._path.read_bytes())
            self.port = int(found["port"])
            self.tokens = {str(name): str(uuid.UUID(token)) for name, token in found["tokens"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.port, self.tokens = 0, {}
        self._agents = {_digest(token): name for name, token in self.tokens.items()}
        wished = os.environ.get(PORT_ENV, "")
        if wished.isascii() and wished.isdigit() and 0 < int(wished) < 65_536:
            self.port = int(wished)

    def open(self) -> bool:
        """Listen, on the port kept or on a free one. False, with the reason in `failed`, when that cannot be."""
        if self.sock is not None:
            return True
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, self.port))
            sock.listen(limits.PUSH_CONNECTIONS_MAX)
            port = int(sock.getsockname()[1])
            if port != self.port or not self._path.exists():
                self.port = port
                self._save()
        except OSError as error:
            sock.close()
            self.failed = f"port {self.port} of {HOST}: {error.strerror}"
            return False
        self.sock, self.failed = sock, ""
        return True

    def close(self) -> None:
        self._save_dropped()
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def token(self, agent: str) -> str:
        """The agent's, drawn now if it has none. Raises OSError when it cannot be kept."""
        if agent not in self.tokens:
            self.draw([agent])
        return self.tokens[agent]

    def draw(self, agents: Iterable[str]) -> None:
        """Tokens for those who have none, all kept by one write. Raises OSError when they cannot be kept."""
        new = {
            agent: str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
            for agent in agents
            if agent not in self.tokens
        }
        if not new:
            return
        self.tokens.update(new)
        try:
            self._save()
        except OSError:
            for agent in new:
                del self.tokens[agent]
            raise
        self._agents.update({_digest(token): agent for agent, token in new.items()})

    def drop(self, agent: str) -> None:
        """The agent is gone, and its token with it."""
        token = self.tokens.pop(agent, None)
        if token is not None:
            self._agents.pop(_digest(token), None)
            if self._dropping is None:  # many leave at once: one write for them
                self._dropping = asyncio.get_running_loop().call_later(limits.PUSH_DROPPED_S, self._save_dropped)

    def _save_dropped(self) -> None:
        if self._dropping is None:
            return
        self._dropping.cancel()
        self._dropping = None
        try:
            self._save()
        except OSError:
            pass  # a token is worth nothing without its agent

    def owner(self, token: str) -> str | None:
        """Whose token this is."""
        try:
            return self._agents.get(_digest(str(uuid.UUID(token))))
        except ValueError:
            return None

    def url(self, agent: str) -> str:
        """Where it pushes to. Raises OSError."""
        return f"http://{HOST}:{self.port}/ping/{self.token(agent)}"

    def _save(self) -> None:
        write_atomic(self._path, json.dumps({"version": 1, "port": self.port, "tokens": self.tokens}).encode())


class PushSource:
    """See sources.Source. `opened` and `closing` are set by the API, which speaks HTTP on the door's socket."""

    name = "push"

    def __init__(self, home: Home, reporter: Reporter) -> None:
        self.door = Door(home)
        self.opened: Callable[[socket.socket], None] = lambda sock: None
        self.closing: Callable[[], None] = lambda: None
        self._reporter = reporter
        self._states: dict[str, tuple[int, PushState]] = {}  # by agent, with the instance
        self._buckets: dict[str, tuple[float, float]] = {}  # agent -> pushes it may still send, and when that was so
        self._retry: asyncio.TimerHandle | None = None

    def interval_s(self, spec: AgentSpec) -> float | None:
        return None if spec.health.push is None else push.interval_s(spec.health.push)

    def begin(self, agent: Agent) -> None:
        self._states[agent.name] = (agent.ladder.instance, PushState())
        self._open()
        self._judge(agent, None, able=True)

    def look(self, agent: Agent, turn: Turn) -> None:
        self._judge(agent, None, able=turn.able and not self.door.failed)

    def forget(self, agent: str) -> None:
        self._states.pop(agent, None)
        self._buckets.pop(agent, None)

    def expect(self, specs: Iterable[AgentSpec]) -> None:
        """Before these agents are started: tokens for all of them at once. One that is missing is drawn later."""
        try:
            self.door.draw(spec.name for spec in specs if spec.health.push is not None)
        except OSError:
            return

    def settle(self, wanted: bool) -> None:
        """After a change of the fleet. `wanted`: an agent declares pushes."""
        if wanted:
            self._open()
        elif self.door.sock is not None:
            self.closing()
            self.door.close()

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self.closing()
        self.door.close()

    def env(self, spec: AgentSpec) -> dict[str, str]:
        """What the agent's environment gets."""
        if spec.health.push is None or not self._open():
            return {}
        try:
            return {URL_ENV: self.door.url(spec.name)}
        except OSError:
            return {}

    def hear(self, token: str, ping: Ping) -> str:
        """A push came in: "ok", "unknown" token, or "often" when it comes too often."""
        name = self.door.owner(token)
        if name is None:
            return "unknown"
        now = asyncio.get_running_loop().time()
        left, since = self._buckets.get(name, (limits.PUSH_BURST, now))
        left = min(limits.PUSH_BURST, left + (now - since) * limits.PUSH_RATE_S)
        if left < 1.0:
            return "often"
        self._buckets[name] = (left - 1.0, now)
        held = self._states.get(name)
        agent = None if held is None else self._reporter.agent(name, held[0])
        if agent is not None:
            self._judge(agent, ping, able=True)
        return "ok"

    def _open(self) -> bool:
        """Open the door; while it is held by somebody else, try again."""
        if self.door.sock is not None:
            return True
        if self.door.open():
            assert self.door.sock is not None
            self.opened(self.door.sock)
            return True
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(limits.PUSH_RETRY_S, self._again)
        return False

    def _again(self) -> None:
        self._retry = None
        self._open()

    def _judge(self, agent: Agent, ping: Ping | None, *, able: bool) -> None:
        rule, instance = agent.spec.health.push, agent.ladder.instance
        if rule is None:
            return
        held, state = self._states.get(agent.name, (instance, PushState()))
        now = asyncio.get_running_loop().time()
        state = state if held == instance else PushState()
        excused = bool(beats.excuse(agent, now))
        state, judgement, detail = push.judge(rule, state, ping, now, able=able, excused=excused)
        self._states[agent.name] = (instance, state)
        detail = f"pushes cannot come in: {self.door.failed}" if self.door.failed else detail
        self._reporter.report(self.name, agent.name, instance, judgement, detail, now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
