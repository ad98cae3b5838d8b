"""What was found out about an agent after the fact: how it died, where it hung, what most likely did it.

Invariant: a finding is in the ledger before anybody is told of it, with what a replay needs. Called by the casebook
and by whoever looks into hung agents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs, to_builtins

from holdfast.evidence.model import Bundle
from holdfast.incidents import model as incidents
from holdfast.incidents import stuck
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.telling.cases import case_body
from holdfast.keeper.telling.evidence import Evidence


class Findings:
    """`changed` hears of an agent whose last death reads differently now."""

    def __init__(self, agents: Mapping[str, Agent], recorder: Recorder, changed: Callable[[Agent], None]) -> None:
        self._agents = agents
        self._recorder = recorder
        self._changed = changed

    def explained(self, agent: Agent, found: Evidence, instance: int) -> None:
        """What log and ports tell of the last death replaces what its exit alone told."""
        death = agent.memory.deaths[-1]
        agent.taken = found.taken or agent.taken
        told = structs.replace(death, exit=found.exit or death.exit, cause=found.taken or death.cause)
        if told != death:
            agent.memory.deaths = (*agent.memory.deaths[:-1], told)
            body = {"instance": instance, "explained": to_builtins(told)}
            self._recorder.record("agent.explained", agent.name, f"it died so: {told.exit}", body)
            self._changed(agent)

    def looked_into(self, agent: Agent, bundle: Bundle | None, why: str) -> None:
        """A hung instance was looked into and is about to be killed; `why` when that could not be done."""
        found = stuck.spot(bundle)
        said = why or f"evidence was taken in {bundle.took_s if bundle else 0.0:.2f} s"
        said += f": it hung in {stuck.place(found)}" if found else ""
        self._recorder.record("agent.evidence", agent.name, said, {"instance": agent.ladder.instance})

    def judged(self, incident: incidents.Incident) -> None:
        """The most likely cause was found; replay needs it only while the incident is open."""
        agent = self._agents.get(incident.agent)
        body: dict[str, Any] = {"incident": incident.id, "kind": incident.kind, "likely": incident.likely}
        if agent is not None and agent.incident is incident:
            body["case"] = case_body(incident)
        self._recorder.record("incident.judged", incident.agent, f"most likely: {incident.likely}", body)
