"""Watches the node for causes that many agents share, and turns what the rule says into one incident, not many.

Invariant: nothing here starts, stops or deletes anything; all it does to an agent is to tell its ladder that silence
says nothing now, and that this is over. An incident of the node is in the ledger when it opens, grows and closes, and
is taken up again by the next keeper. Called by the health loop and by behaviour (what is heard), by the keeper
(wiring, API), and by its own timer: once a second while something stands, else every few seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from holdfast import errors, limits
from holdfast.clock import Clock
from holdfast.correlation import away
from holdfast.correlation.model import Action, Case, Cause, Close, Hold, Joined, LetGo, Open, Sign, Tell
from holdfast.correlation.rule import Correlation
from holdfast.errors import HoldfastError
from holdfast.healing.model import Starved
from holdfast.home import Home
from holdfast.incidents import model as incidents
from holdfast.incidents.model import Incident, Outcome
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.neighbours import Neighbours
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.telling.cases import case_body
from holdfast.keeper.telling.outgoing import Outgoing
from holdfast.keeper.telling.views import NodeView
from holdfast.keeper.watching.disk_watch import DiskWatch
from holdfast.keeper.watching.starvation import Starvation
from holdfast.node import network, senses

BEHAVIOUR = "behaviour:"


class Book(Protocol):
    """Where incidents are kept."""

    def adopt(self, incident: Incident) -> None: ...

    def rewrite(self, incident: Incident) -> None: ...


class Parts(NamedTuple):
    """What the watch works with."""

    agents: dict[str, Agent]
    home: Home
    clock: Clock
    healer: Healer
    starvation: Starvation
    recorder: Recorder
    outgoing: Outgoing
    book: Book
    disks: DiskWatch
    boot_id: str


class NodeWatch:
    """`on_away`: called with a gap in seconds, after which deadlines that passed meanwhile prove nothing."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rule = Correlation()
        self._incidents: dict[str, Incident] = {}  # open ones, by the key of their case
        self._seen: dict[str, tuple[int, str]] = {}  # running instance and own incident, by agent
        self.on_away: list[Callable[[float], None]] = []
        self._clocks = self._read_clocks()
        self._away: tuple[str, float] = ("", float("-inf"))
        self._traffic: network.Traffic | None = None
        self._rates: tuple[float, float] | None = None
        self._loopback_down = False
        self._population = (float("-inf"), 0)
        self._slow_mono = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = limits.NODE_IDLE_LOOK_S
        self.neighbours: Neighbours | None = None  # set once the parts are wired

    # --- life ----------------------------------------------------------------------------------------------------
    def begin(self, left_open: list[Incident]) -> None:
        """Take up the incidents that a former keeper left open."""
        now = self._now()
        for incident in left_open:
            self._incidents[incident.node] = incident
            self._rule.cases[incident.node] = Case(
                key=incident.node,
                cause=Cause(incident.node.partition(":")[0]),
                kind=incident.node.partition(":")[2],
                why=incident.cause,
                began_mono=now,
                opened_mono=now,
                alerted=incident.outcome is Outcome.ESCALATED,
                agents=dict.fromkeys(incident.agents, now),
            )
        self._parts.disks.look()
        self._parts.starvation.excused = lambda agent: self._rule.holds(agent.name)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> float:
        return self._parts.clock.now_mono()

    def _arm(self) -> None:
        busy = not self._rule.quiet or self._parts.starvation.starved
        self._due_s = limits.NODE_LOOK_S if busy else limits.NODE_IDLE_LOOK_S
        self._timer = asyncio.get_running_loop().call_later(self._due_s, self._tick)

    def _tick(self) -> None:
        now = self._now()
        self.look_at_clocks()
        if now - self._slow_mono >= limits.LOOK_EVERY_S:
            self._slow_mono = now
            self._parts.disks.look()
            traffic = senses.traffic(now)
            self._rates, self._traffic = network.rates(self._traffic, traffic), traffic
            self._loopback_down = senses.loopback_is_up() is False
        if not self._rule.quiet:
            self._parts.starvation.feel(now)
        self._look(now)
        if self.neighbours is not None:
            self.neighbours.look(self._parts.starvation.pressure, now)
        self._arm()

    def neighbours_named(self, text: str) -> None:
        """Who takes what is short: a moment of the open incident about that."""
        incident = self._incidents.get("starved")
        if incident is not None:
            incidents.add_moment(incident, self._parts.clock.now_at(), text)
            self._parts.book.rewrite(incident)

    # --- clocks --------------------------------------------------------------------------------------------------
    def look_at_clocks(self) -> bool:
        """True when we were away since the last look. Cheap: for sources that are about to judge by the wall clock."""
        before, self._clocks = self._clocks, self._read_clocks()
        found = away.gap(before, self._clocks, limits.NODE_IDLE_LOOK_S)
        if found is None:
            return False
        now = self._now()
        self._away = (found.why, now)
        body = {"gap_s": round(found.seconds, 3), "kind": found.kind}
        self._parts.recorder.record("node.away", "", f"{found.why}: nobody is judged for it", body)
        for hook in self.on_away:
            hook(found.seconds)
        self._look(now)
        return True

    def _read_clocks(self) -> away.Clocks:
        return away.Clocks(*senses.clocks(), self._parts.clock.now_at())

    # --- what is heard of agents ---------------------------------------------------------------------------------
    def heard_bad(self, agent: Agent, verdict: str, now: float) -> None:
        """A probe's bad word about an instance past its gate, before its ladder hears of it."""
        strikes, had = agent.policy.strikes, agent.ladder.strikes  # a ladder held back counts none
        self._bad(agent, verdict, strikes, max(1, strikes - had), now)

    def heard_good(self, agent: Agent) -> None:
        """A probe's good word."""
        self._good(agent.name, behaviour=False)

    def misbehaves(self, agent: Agent, sources: tuple[str, ...], now: float) -> None:
        """Sources of behaviour say that it fails, before its ladder hears of it. `sources` (): they say no more."""
        if sources:
            self._bad(agent, BEHAVIOUR + ",".join(sources), 1, 1, now)
        else:
            self._good(agent.name, behaviour=True)

    def _bad(self, agent: Agent, kind: str, ripe_at: int, ripe_in: int, now: float) -> None:
        if not agent.ladder.gate_passed:
            return
        self._look(now)
        bad = self._rule.bads.get(agent.name)
        count = bad.count if bad is not None and bad.kind == kind else 0
        self._act(self._rule.bad(agent.name, kind, min(ripe_at, count + ripe_in), now, self._heard_of(now)), now)
        self._hurry()

    def _heard_of(self, now: float) -> int:
        """How many agents run and can be heard, at most NODE_LOOK_S old: asked for every bad word of a whole fleet."""
        at, count = self._population
        if now - at >= limits.NODE_LOOK_S:
            ladders = [agent.ladder for agent in self._parts.agents.values()]
            count = sum(1 for ladder in ladders if ladder.running and ladder.gate_passed)
            self._population = (now, count)
        return count

    def _good(self, name: str, *, behaviour: bool) -> None:
        if self._rule.minds(name):
            bad = self._rule.bads.get(name)
            if bad is None or bad.kind.startswith(BEHAVIOUR) is behaviour:
                self._rule.good(name)

    def _hurry(self) -> None:
        if self._due_s > limits.NODE_LOOK_S and self._timer is not None:
            self._timer.cancel()
            self._arm()

    def follow(self, agent: Agent, now: float) -> None:
        """An agent's instance or its own incident may be another one now."""
        running = agent.world.epoch if agent.ladder.running else 0
        incident = "" if agent.incident is None else agent.incident.id
        before = self._seen.get(agent.name, (0, ""))
        if (running, incident) == before:
            return
        self._seen[agent.name] = (running, incident)
        if running != before[0]:
            self._act(self._rule.ended(agent.name), now)
        if incident and incident != before[1]:
            self._act(self._rule.failed(agent.name, now), now)

    def forget(self, name: str) -> None:
        self._act(self._rule.ended(name), self._now())
        self._seen.pop(name, None)

    def covers(self, agent: Agent) -> str:
        """The incident of the node that tells a person about this agent as well; "" when its own alert is due."""
        case = self._rule.covers(agent.name)
        if case is None or case.key not in self._incidents:
            return ""
        if not case.alerted:
            case.alerted = True
            self._tell(case)
        return self._incidents[case.key].id

    # --- the rule ------------------------------------------------------------------------------------------------
    def _signs(self, now: float) -> list[Sign]:
        pressure = self._parts.starvation.pressure
        found = self._parts.disks.signs()
        if pressure.starved:
            found.append(Sign(key="starved", cause=Cause.STARVED, why=f"the machine is starved: {pressure.why}"))
        if self._loopback_down:
            found.append(Sign(key="network", cause=Cause.NETWORK, why="the loopback interface is down"))
        why, since = self._away
        if now - since < limits.AWAY_GRACE_S:
            found.append(Sign(key="away", cause=Cause.AWAY, why=why))
        return found

    def _look(self, now: float) -> None:
        self._act(self._rule.look(self._signs(now), now), now)

    def _act(self, actions: list[Action], now: float) -> None:
        joined: dict[str, list[str]] = {}
        for action in actions:
            match action:
                case Hold():
                    self._hold(action, now)
                case LetGo():
                    self._let_go(action.agent, now)
                case Open():
                    self._open(self._rule.cases[action.key], now)
                case Joined():
                    joined.setdefault(action.key, []).extend(action.agents)
                case Close():
                    self._close(action, now)
                case Tell():
                    self._tell(self._rule.cases[action.key])
        for key, names in joined.items():
            self._join(key, names)

    def _hold(self, action: Hold, now: float) -> None:
        agent = self._parts.agents.get(action.agent)
        if agent is not None:
            self._parts.starvation.hold_back(agent, now, why=action.why)

    def _let_go(self, name: str, now: float) -> None:
        agent = self._parts.agents.get(name)
        if agent is not None and agent.ladder.starved and not self._parts.starvation.starved:
            self._parts.healer.observe(agent, Starved(on=False), now, text="is no longer held back")

    # --- incidents -----------------------------------------------------------------------------------------------
    def _open(self, case: Case, now: float) -> None:
        parts = self._parts
        at = parts.clock.now_at() - max(0.0, now - case.began_mono)
        incident = Incident(
            id=incidents.incident_id(parts.home.home_id(), f"node:{case.key}", 0, at),
            agent="",
            number=0,
            cause=case.why,
            opened_at=at,
            boot_id=parts.boot_id,
            fault_mono=case.began_mono,
            caught_s=max(0.0, now - case.began_mono),
            node=case.key,
        )
        self._incidents[case.key] = incident
        parts.book.adopt(incident)
        self._write(
            incident, "node.incident", f"{case.why}: one incident, and nobody is restarted for it", durable=True
        )

    def _join(self, key: str, names: list[str]) -> None:
        incident = self._incidents.get(key)
        if incident is not None:
            incident.agents = tuple(sorted({*incident.agents, *names}))
            self._write(incident, "node.joined", f"suffer from it as well: {_some(names)}")

    def _close(self, action: Close, now: float) -> None:
        incident = self._incidents.pop(action.key, None)
        if incident is None:
            return
        incident.closed_at = self._parts.clock.now_at()
        incident.outcome = Outcome.RECOVERED
        incident.restored_s = max(0.0, now - incident.fault_mono)
        self._write(incident, "node.well", f"{incident.cause}: over, {action.why}", durable=True)

    def _tell(self, case: Case) -> None:
        incident = self._incidents.get(case.key)
        if incident is None:
            return
        incident.outcome = Outcome.ESCALATED
        self._write(incident, "node.told", "it lasts: a person is told, once for all of them", durable=True)
        said = HoldfastError(
            errors.NODE_TROUBLE,
            cause=incident.cause,
            count=len(incident.agents),
            agents=_some(list(incident.agents)) or "none so far",
            incident=incident.id,
        )
        self._parts.outgoing.raise_notice(incident.id, "", said, os.uname().nodename, incident)

    def _write(self, incident: Incident, kind: str, text: str, *, durable: bool = False) -> None:
        parts = self._parts
        incidents.add_moment(incident, parts.clock.now_at(), text)
        body = {"case": case_body(incident), "incident": incident.id}
        parts.recorder.record(kind, "", text, body, durable=durable)
        parts.book.rewrite(incident)

    # --- the API -------------------------------------------------------------------------------------------------
    def view(self) -> NodeView:
        pressure = self._parts.starvation.pressure
        received, sent = self._rates or (None, None)
        open_ones = list(self._incidents.values())
        return NodeView(
            starved=pressure.starved,
            why=pressure.why or (open_ones[0].cause if open_ones else ""),
            net_rx_bytes_s=received,
            net_tx_bytes_s=sent,
            disks=self._parts.disks.views(),
            incident=open_ones[0].id if open_ones else None,
            held_back=sum(1 for agent in self._parts.agents.values() if agent.ladder.starved),
            neighbours=[] if self.neighbours is None else self.neighbours.names,
        )


def _some(names: list[str]) -> str:
    """Names for a sentence; a thousand would not be read."""
    shown = sorted(names)[: limits.NAMES_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
