"""Incidents at work: opened and closed as triage says, with evidence, a post-mortem, and one alert.

Invariant: what has to survive is in the ledger first (the body returned here becomes part of the record); log
lines, post-mortem files and the sending of alerts happen beside the loop and are tried again until done.
Called by the healer, and by the keeper for the API.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.clock import Clock
from holdfast.errors import AGENT_ESCALATED, HoldfastError
from holdfast.evidence.model import Bundle
from holdfast.healing.actions import Alert, CloseIncident, OpenIncident
from holdfast.home import Home
from holdfast.incidents import files, model
from holdfast.incidents.causes import UNKNOWN
from holdfast.incidents.facts import joined
from holdfast.incidents.model import Incident, Outcome
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling import words
from holdfast.keeper.telling.evidence import AfterFault, Evidence
from holdfast.keeper.telling.outgoing import Outgoing
from holdfast.keeper.watching.errands import Errands, HeldUp


class Ears(NamedTuple):
    """Who hears of it: an incident changed; the last death is explained; the likely cause was found."""

    changed: Callable[[Incident], None]
    explained: Callable[[Agent, Evidence, int], None]
    judged: Callable[[Incident], None]


class _Waiting(Struct):
    """What the next post-mortem of an incident has to take in. `agent`: look at the machine for it first."""

    agent: Agent | None = None
    bundle: Bundle | None = None
    hung: bool = False
    gap: str = ""
    found: Evidence | None = None


class Casebook:
    """All incidents known, newest last; see healer.Cases."""

    def __init__(
        self,
        home: Home,
        clock: Clock,
        tasks: Tasks,
        outgoing: Outgoing,
        evidence: AfterFault,
        ears: Ears,
        values_of: Callable[[str], Sequence[str]],
        boot_id: str,
    ) -> None:
        self.known: OrderedDict[str, Incident] = OrderedDict()
        self._home = home
        self._clock = clock
        self._tasks = tasks
        self._outgoing = outgoing
        self._evidence = evidence
        self._looks = Errands()  # into what may hang: files of an agent whose mount died
        self._changed, self._explained, self._judged = ears
        self._values_of = values_of  # secrets by agent
        self._boot_id = boot_id
        self._unwritten: OrderedDict[str, _Waiting] = OrderedDict()
        self._writing = False
        self.write_error = ""
        self.covered: Callable[[Agent], str] = lambda agent: ""  # the incident of the node that tells of it

    # --- as triage says ------------------------------------------------------------------------------------------
    def opened(self, agent: Agent, act: OpenIncident, now_mono: float) -> dict[str, Any]:
        """Begin a case; returns what the ledger record must hold."""
        fault_mono = now_mono if agent.fault_mono is None else min(agent.fault_mono, now_mono)
        seen_mono = max(now_mono, self._clock.now_mono() if agent.caught_live else now_mono)
        at = self._clock.now_at() - max(0.0, self._clock.now_mono() - fault_mono)
        incident = Incident(
            id=model.incident_id(self._home.home_id(), agent.name, act.incident, at),
            agent=agent.name,
            number=act.incident,
            cause=words.named(act.cause, agent.taken),
            opened_at=at,
            boot_id=self._boot_id,
            fault_mono=fault_mono,
            caught_s=max(0.0, seen_mono - fault_mono),
        )
        agent.incident = incident
        self.adopt(incident)
        self._later(incident, agent)
        return {"case": case_body(incident)}

    def closed(self, agent: Agent, act: CloseIncident, now_mono: float) -> dict[str, Any]:
        incident = agent.incident
        if incident is None:
            return {}
        incident.outcome = Outcome(act.outcome)
        incident.closed_at = self._clock.now_at()
        if incident.outcome is Outcome.RECOVERED and incident.restored_s is None:
            incident.restored_s = max(0.0, now_mono - incident.fault_mono)
        agent.incident = None
        agent.fault_mono = None
        self._changed(incident)
        self._later(incident, None)
        return {"case": case_body(incident)}

    def died(self, agent: Agent) -> None:
        """Once more inside an open incident: why, the log may tell."""
        if agent.incident is not None:
            self._later(agent.incident, agent)

    def climbed(self, agent: Agent, tier: int) -> None:
        incident = agent.incident
        if incident is not None and tier and tier not in incident.tiers:
            model.add_tier(incident, tier, self._clock.now_at())
            self._changed(incident)

    def watched(self, agent: Agent, now_mono: float) -> None:
        """Keep `restored_s` at the beginning of the present good run; none while it is bad."""
        incident, since = agent.incident, agent.ladder.good_since_mono
        if incident is None:
            return
        restored = None if since is None else max(0.0, since - incident.fault_mono)
        if (restored is None) != (incident.restored_s is None):
            incident.restored_s = restored
            self._changed(incident)

    def alert(self, agent: Agent, act: Alert) -> None:
        """Tell a person, once: the incident's id is the key."""
        incident = agent.incident
        if incident is None:
            return
        incident.outcome = Outcome.ESCALATED
        self._changed(incident)
        self._later(incident, agent)
        if node := self.covered(agent):
            model.add_moment(incident, self._clock.now_at(), f"a person is told by incident {node} of the machine")
            return
        said = HoldfastError(AGENT_ESCALATED, agent=agent.name, cause=incident.cause, incident=incident.id)
        self._outgoing.raise_alert(incident, said, os.uname().nodename)

    # --- evidence and files, beside the loop ---------------------------------------------------------------------
    def adopt(self, incident: Incident) -> None:
        """Take an incident into the book; the oldest beyond INCIDENTS_KEPT leave it."""
        self.known[incident.id] = incident
        self._changed(incident)
        while len(self.known) > limits.INCIDENTS_KEPT:
            gone, _ = self.known.popitem(last=False)
            self._unwritten.pop(gone, None)

    def rewrite(self, incident: Incident) -> None:
        """It changed: have its files written anew."""
        self._changed(incident)
        self._later(incident, None)

    def note(self, agent: Agent, at: float, text: str) -> None:
        """A ledger record about an agent whose incident is open belongs to its timeline."""
        if agent.incident is not None:
            model.add_moment(agent.incident, at, text)

    def looked_into(self, agent: Agent, bundle: Bundle | None, why: str) -> None:
        """A hung instance is about to be killed: what was seen of it, or why nothing was."""
        incident = agent.incident
        if incident is None:
            return
        waiting = self._waiting(incident)
        waiting.hung, waiting.bundle, waiting.gap = True, bundle or waiting.bundle, why
        self._later(incident, agent)

    def _waiting(self, incident: Incident) -> _Waiting:
        return self._unwritten.setdefault(incident.id, _Waiting())

    def _later(self, incident: Incident, agent: Agent | None) -> None:
        """Have the evidence taken (when `agent` is given) and the post-mortem written anew."""
        waiting = self._waiting(incident)
        waiting.agent = agent or waiting.agent
        self.write_again()

    def write_again(self) -> None:
        """Also called when the store was written: what a full disk refused is tried once more."""
        if self._unwritten and not self._writing:
            self._writing = True
            self._tasks.spawn(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._unwritten:
                incident_id, waiting = self._unwritten.popitem(last=False)
                incident = self.known.get(incident_id)
                if incident is None:
                    continue
                try:
                    await self._write(incident, waiting)
                except BaseException:
                    self._put_back(incident_id, waiting)
                    raise
            await asyncio.to_thread(files.prune, self._home.incidents)
            self.write_error = ""
        except OSError as error:
            self.write_error = error.strerror or str(error)
        finally:
            self._writing = False

    def _put_back(self, incident_id: str, waiting: _Waiting) -> None:
        """It could not be written: what came in meanwhile is newer."""
        newer = self._unwritten.setdefault(incident_id, waiting)
        newer.agent = newer.agent or waiting.agent
        newer.found = newer.found or waiting.found
        newer.hung = newer.hung or waiting.hung
        newer.bundle = newer.bundle or waiting.bundle

    async def _write(self, incident: Incident, waiting: _Waiting) -> None:
        """Raises OSError when the disk refuses; nothing is lost then."""
        if waiting.agent is not None:
            waiting.found = await self._take_evidence(incident, waiting.agent) or waiting.found
            waiting.agent = None
        path = str(files.path_of(self._home.incidents, incident.id))
        copied = msgspec.structs.replace(incident, postmortem=path)
        values, known = self._values_of(incident.agent), list(self.known.values())
        await asyncio.to_thread(_write_files, self._home.incidents, copied, waiting, known, values)
        news = (copied.kind, copied.likely) != (incident.kind, incident.likely)
        for field in ("postmortem", "kind", "likely", "confidence", "function", "fingerprint"):
            setattr(incident, field, getattr(copied, field))  # told only when it is there
        self._changed(incident)
        if news and incident.kind != UNKNOWN.kind:
            self._judged(incident)

    async def _take_evidence(self, incident: Incident, agent: Agent) -> Evidence | None:
        """Exit in words, last lines and the rest; without them the post-mortem says so."""
        deaths = agent.memory.deaths
        try:
            work = self._evidence.begin(agent, incident)
            found = await self._looks.run(agent.name, work, limits.EVIDENCE_TIMEOUT_S)
        except (OSError, HeldUp, HoldfastError):
            return None
        incident.exit, incident.log_lines = found.exit or incident.exit, tuple(found.lines)
        if found.taken:
            incident.cause = found.taken
        if found.exit and deaths and agent.memory.deaths[-1] is deaths[-1]:
            self._explained(agent, found, deaths[-1].instance)
        return found


def _write_files(
    directory: Path, incident: Incident, waiting: _Waiting, known: Sequence[Incident], values: Sequence[str]
) -> None:
    """What was found joins what is on disk; then both forms. Raises OSError."""
    facts = files.read_facts(directory, incident.id)
    if waiting.found is not None:
        facts = joined(facts, waiting.found.facts)
    if waiting.hung:
        facts.hung, facts.bundle = True, waiting.bundle or facts.bundle
        facts.gaps = (*facts.gaps, waiting.gap) if waiting.gap and waiting.gap not in facts.gaps else facts.gaps
    if waiting.found is not None or waiting.hung:
        files.write_facts(directory, incident.id, facts, values)
    files.write(directory, incident, facts, known, values)


def case_body(incident: Incident) -> dict[str, Any]:
    """What replay needs to have the incident again; timeline and log lines are found elsewhere."""
    body: dict[str, Any] = msgspec.to_builtins(incident)
    for bulky in ("timeline", "log_lines", "moments_dropped", "postmortem"):
        body.pop(bulky, None)
    return body
