"""What init writes down and what it tells: agents' records, numbered events, the journal of both.

Invariant: an event is in the journal before the keeper hears of it, and is kept until the keeper has acked it.
Base of supervise.Supervisor, which decides when something changed.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from holdfast.init import procfs
from holdfast.init.agent import Agent
from holdfast.init.journal import Journal, Record

EVENTS_MAX = 20_000  # unacked events kept while there is no keeper


class Memory:
    """The agents, and all that must outlive this init."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.agents: dict[str, Agent] = {}
        self.mode = "run"  # written down for the next init; see requests.py
        self.seq = 0
        self.acked = 0
        self.lost_mono = 0.0  # since when no keeper steers memory, 0 when one does; see pausing.py
        self.service_restarts: dict[str, int] = {}  # unplanned ends since the last planned start
        self.events: deque[dict[str, Any]] = deque()  # not yet acked
        self.unsent: list[dict[str, Any]] = []
        self.records: list[Record] = []
        self.changed: dict[str, None] = {}

    def _note(self, agent: Agent) -> None:
        self.changed[agent.name] = None

    def _emit(self, kind: str, agent: Agent, **fields: Any) -> None:
        if agent.name.startswith("@"):
            if kind not in ("spawned", "exited"):
                return
            service = agent.name[1:]
            if kind == "spawned":  # who left in order was asked to, as by an upgrade: a planned start counts anew
                count = -1 if agent.code == 0 else self.service_restarts.get(service, -1)
                self.service_restarts[service] = count + 1
            fields = {"name": service, "what": kind, "restarts": self.service_restarts.get(service, 0), **fields}
            kind = "service"
        self.tell(kind, agent=agent.name, epoch=agent.epoch, **fields)

    def tell(self, kind: str, **fields: Any) -> None:
        """A durable event, of an agent when `fields` says which."""
        self.seq += 1
        event = {"seq": self.seq, "ev": kind, "at": time.time(), "mono": time.monotonic(), **fields}
        self.events.append(event)
        while len(self.events) > EVENTS_MAX:
            self.events.popleft()
        self.unsent.append(event)
        self.records.append({"t": "event", "event": event})

    def ack(self, seq: int) -> None:
        while self.events and self.events[0]["seq"] <= seq:
            self.events.popleft()
        self.acked = max(self.acked, seq)
        self.records.append({"t": "ack", "seq": seq})

    def settle(self) -> None:
        """Write down this turn's changes. Afterwards births may be asked for and the keeper be told."""
        if not self.records and not self.changed:
            return
        records = self.records + [self.agents[name].record() for name in self.changed if name in self.agents]
        self.records, self.changed = [], {}
        if self.journal.full:
            self.journal.begin(self.snapshot())
        else:
            self.journal.append(*records)

    def line_record(self) -> Record:
        return {"t": "line", "lost": self.lost_mono}

    def snapshot(self) -> list[Record]:
        records: list[Record] = [{"t": "ack", "seq": self.acked}, {"t": "seq", "seq": self.seq}]
        records.append({"t": "services", "restarts": self.service_restarts})
        records.append({"t": "boot", "id": procfs.boot_id()})
        records.append({"t": "mode", "mode": self.mode})
        records.append(self.line_record())
        for agent in self.agents.values():
            records += [agent.definition_record(), agent.record()]
        records += [{"t": "event", "event": event} for event in self.events]
        return records
