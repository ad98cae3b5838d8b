"""A keeper that has nothing but versions of state, scripted, behind the real API on a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from holdfast import errors
from holdfast.api import serve
from holdfast.api.app import make_app
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.health.model import HealthValue
from holdfast.home import Home
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling import looking, views
from holdfast.keeper.watching.errands import Errands
from holdfast.spec.model import FleetSpec
from holdfast.state.answers import Deleted
from holdfast.worker.protocol import Fault, JobFailed

Script = list[Any]
NOW = 1_800_000_000.0


def snapshot(digits: str, seq: int, ago_s: float, **more: Any) -> dict[str, Any]:
    row = {
        "id": digits.ljust(32, "0"), "at": NOW - ago_s, "cause": "timer", "label": "", "consistency": "guard",
        "files": 5246, "bytes": 440 * 2**20, "bytes_new": 15 * 2**20, "pinned": False, "remote": None, "seq": seq,
    }  # fmt: skip
    return {**row, **more}


class StateKeeper:
    """`jobs[name]` is what a job says: a list of messages (an exception is raised), or a function of its arguments.

    Each job is kept in `asked` with its arguments.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.tasks = Tasks()
        self.clock = SimpleNamespace(now_at=lambda: NOW, now_mono=lambda: 0.0)
        ladder = SimpleNamespace(phase="healthy")
        spec = SimpleNamespace(name="bot", recipe="process", labels={}, state=SimpleNamespace(paths=("/srv/bot",)))
        self.agents = {"bot": SimpleNamespace(name="bot", ladder=ladder, spec=spec)}
        self.snapshots = self.restoring = self.removing = self
        self.errands = Errands()
        self.gone: list[Deleted] = []  # what `listed` answers
        self.missing: list[str] = []
        self.fleet = FleetSpec(source="/f.yaml")
        self.rows = [
            snapshot("aaaa1111", 1, 7200.0),
            snapshot("aaaa2222", 2, 3600.0, pins=["known-good"], pinned=True),
            snapshot("bbbb3333", 3, 60.0, label="before\x1b[2J the cleanup"),
        ]
        self.jobs: dict[str, Script | Callable[[dict[str, Any]], Script]] = {
            "snapshots": [{"result": {"snapshots": self.rows, "trouble": ["The only copy is on the same disk."]}}],
        }
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.finished: list[str] = []

    def agent(self, name: str) -> Any:
        if name not in self.agents:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)
        return self.agents[name]

    def status(self) -> views.Status:
        off = views.Levels(process=HealthValue.OK, endpoint=HealthValue.OFF, behaviour=HealthValue.OFF)
        rows = [
            views.AgentRow(
                name=name, phase=Phase.HEALTHY, pid=1, instance=1, health=off, tier=0, restarts=0, uptime_s=1.0,
                rss_bytes=1, why="", next="", labels={}, priority=50, user=None,
            )
            for name in self.agents
        ]  # fmt: skip
        return views.Status(holdfast=views.Own(version="0", processes=[]), agents=rows, warnings=[])

    def job(self, name: str, agent: str, **args: Any) -> AsyncIterator[dict[str, Any]]:
        self.asked.append((name, agent, args))
        if agent not in self.agents and self.find(agent) is None:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=agent)
        script = self.jobs.get(name, [JobFailed(Fault.FAILED, f"no script for {name}")])
        return self._play(name, script(args) if callable(script) else script)

    def restore(self, agent: str, snapshot: str, **args: Any) -> AsyncIterator[dict[str, Any]]:
        return self.job("restore", agent, snapshot=snapshot, **args)

    # --- removals ----------------------------------------------------------------------------------------------------
    def phase(self, name: str) -> str:
        return str(self.agent(name).ladder.phase)

    def remove(self, agent: str) -> AsyncIterator[dict[str, Any]]:
        return self.job("remove", agent)

    async def undelete(self, name: str) -> AsyncIterator[dict[str, Any]]:
        if name not in [one.agent for one in self.gone]:
            raise HoldfastError(errors.NOT_DELETED, what=f"agent {name}")
        yield {"progress": {"done": 0, "total": 0, "what": "starting it"}}
        yield {"result": {"agent": name, "snapshots": 12, "newest": "b" * 32, "missing": self.missing}}

    def set_wanted(self, name: str, *, up: bool) -> None:
        self.agent(name).ladder.phase = "healthy" if up else "stopped"

    def find(self, name: str) -> Any:
        found = next((one for one in self.gone if one.agent == name and name not in self.agents), None)
        state = SimpleNamespace(paths=found.paths if found else ())
        return found and SimpleNamespace(spec=SimpleNamespace(name=name, recipe="process", state=state))

    def listed(self) -> list[Deleted]:
        return self.gone

    async def _play(self, name: str, script: Script) -> AsyncIterator[dict[str, Any]]:
        try:
            for message in script:
                await asyncio.sleep(0)
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            self.finished.append(name)

    def last(self, name: str) -> dict[str, Any]:
        """The arguments of the newest job of this name."""
        return next(args for job, _, args in reversed(self.asked) if job == name)


@contextmanager
def serving(home: Home) -> Iterator[StateKeeper]:
    """The API in a thread of its own, until the block ends."""
    keeper, ready, loop = StateKeeper(home), threading.Event(), asyncio.new_event_loop()
    done = asyncio.Event()

    async def run() -> None:
        home.api_socket.parent.mkdir(parents=True, exist_ok=True)
        server = await serve.serve(make_app(keeper), serve.bind(home.api_socket))  # type: ignore[arg-type]
        ready.set()
        await done.wait()
        server.close()
        await keeper.tasks.finish(5.0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(20.0)
    try:
        with patch.object(looking, "status", lambda keeper: keeper.status()):
            yield keeper
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(20.0)
        loop.close()
