"""The keeper's line to the logger: what each agent's logs may take goes there, who prints too much comes back.

Invariants: HOME/logger/settings.json and limits say what the fleet says, are replaced whole and only when they differ,
and are written again until the disk takes them; facts are told to `Behaviour` for the instance that runs and change
nothing but what is shown. There is no periodic wake-up: inotify tells. Called by keeper.py and applying.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.files import write_atomic
from holdfast.health.model import Judgement, Observed
from holdfast.home import Home
from holdfast.keeper.agent import Agent
from holdfast.logs import settings, ship_lag, wanted
from holdfast.logs.watch import Watch
from holdfast.spec.model import FleetSpec

RETRY_S = 5.0
RATE = "log-rate"
SHIPPING = "log-shipping"


class LogSettings:
    """`report` is Behaviour's door. Made inside a running loop."""

    def __init__(
        self,
        home: Home,
        agents: dict[str, Agent],
        fleet: Callable[[], FleetSpec],
        report: Callable[[Observed, float], None],
        now_mono: Callable[[], float],
    ) -> None:
        self._home: Path = home.path
        self._directory: Path = home.path / settings.DIRECTORY
        self._agents = agents
        self._fleet = fleet
        self._report = report
        self._now_mono = now_mono
        self._watch: Watch | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._told: dict[str, set[str]] = {}  # by source
        self.lags: dict[str, list[ship_lag.Lag]] = {}  # servers that lag, by agent

    def begin(self) -> None:
        """Write what is wanted and hear what is told."""
        self.write()
        try:
            self._watch = Watch()
            self._watch.add(str(self._directory))
        except OSError:  # no inotify: the fact still stands in the agent's log
            self.close()
            return
        asyncio.get_running_loop().add_reader(self._watch.fd, self._heed)
        self.look()

    def close(self) -> None:
        """Idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fd)
            self._watch.close()
            self._watch = None

    # --- to the logger -------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Bring both files to what the fleet says; a disk that refuses is tried again."""
        fleet = self._fleet()
        agents = {spec.name: wanted.AgentWanted(logs=spec.logs, labels=spec.labels) for spec in fleet.agents}
        helpers = []
        if any(spec.logs.ship for spec in fleet.agents):
            helpers.append("shipper")
        limits = {spec.name: wanted.limit_of(spec.logs) for spec in fleet.agents}
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            # The helpers are started by `limits`, so what they read is there first.
            _replace(self._directory / settings.SETTINGS, msgspec.json.encode(wanted.Wanted(agents=agents)))
            _replace(self._directory / settings.LIMITS, settings.pack(limits, tuple(helpers)))
        except OSError:
            if self._retry is not None:
                self._retry.cancel()
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self.write)

    # --- from the logger -----------------------------------------------------------------------------------------
    def _heed(self) -> None:
        assert self._watch is not None
        if any(name.endswith(".json") for _, _, name in self._watch.events()):
            self.look()

    def look(self) -> None:
        """Read the facts and report what changed."""
        throttled = settings.read_facts(self._directory / settings.FACTS, "throttled")
        told = {
            name: f"prints more than {int(fact.get('rate_lines_s', 0))} lines a second: it is held back"
            for name, fact in throttled.items()
            if isinstance(fact, dict)
        }
        self._tell(RATE, told)
        self.lags = ship_lag.read(self._home).agents
        late = {name: ship_lag.words(lags) for name, lags in self.lags.items()}
        self._tell(SHIPPING, {name: text for name, text in late.items() if text})

    def _tell(self, source: str, told: dict[str, str]) -> None:
        for name in self._told.get(source, set()) | set(told):
            agent = self._agents.get(name)
            if agent is None:
                continue
            judgement = Judgement.DEGRADED if name in told else Judgement.OK
            seen = Observed(
                agent=name,
                instance=agent.ladder.instance,
                source=source,
                judgement=judgement,
                detail=told.get(name, ""),
            )
            self._report(seen, self._now_mono())
        self._told[source] = set(told)


def _replace(path: Path, data: bytes) -> None:
    """Raises OSError. The same content is left as it is, so that nobody wakes up for it."""
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass
    write_atomic(path, data)
