"""A new fleet is taken: on disk, in the ledger, then acted upon agent by agent, only where something changed.

Invariant: a fleet is taken whole or not at all; what it takes out is stopped with its own grace and keeps its state.
Called by the keeper for PUT /v1/fleet, dry or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.keeper import fleet as fleets
from holdfast.keeper.agent import Agent
from holdfast.keeper.telling import difference, views
from holdfast.spec.model import AgentSpec, FleetSpec

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def put(keeper: Keeper, new: FleetSpec, *, merge: bool) -> views.FleetChange:
    """Take a new fleet: on disk, in the ledger, then acted upon. Raises HoldfastError, changing nothing."""
    fleets.check(new)
    old = keeper.fleet
    wanted = fleets.merge(old, new) if merge else new
    fleets.check(wanted)
    change = fleets.compare(old, wanted)
    if wanted != old:
        _keep(keeper, wanted, change)
        keeper.fleet = wanted
        keeper.checkpoint.fleet()
        _apply(keeper, old, wanted, change)
        keeper.outgoing.look()
        keeper.log_settings.write()
    for spec in new.agents:  # `up` also means: try again now what waits for a person
        if spec.name in change.unchanged and keeper.phase(spec.name) is Phase.ESCALATED:
            keeper.command(keeper.agents[spec.name], "start", "the fleet was put up again")
    return change


def plan(keeper: Keeper, new: FleetSpec, *, merge: bool) -> views.FleetChange:
    """What `put` would do. Raises HoldfastError as it does, and changes nothing."""
    fleets.check(new)
    wanted = fleets.merge(keeper.fleet, new) if merge else new
    fleets.check(wanted)

    def runs(name: str) -> bool:
        agent = keeper.agents.get(name)
        return agent is not None and agent.ladder.wanted

    return difference.plan(keeper.fleet, wanted, runs)


def _keep(keeper: Keeper, wanted: FleetSpec, change: views.FleetChange) -> None:
    path = keeper.home.path / fleets.FILE
    kinds = {kind: getattr(change, kind) for kind in ("added", "changed", "removed", "unchanged")}
    try:
        fleets.save(path, wanted)
    except OSError as error:
        raise HoldfastError(errors.DISK_FULL, path=path, what="the change of the fleet") from error
    named = {key: names[:100] for key, names in kinds.items() if key != "unchanged"}
    words = ", ".join(f"{len(names)} {key}" for key, names in kinds.items() if names) or "nothing changed"
    body = {"digest": fleets.digest(wanted), **named}
    keeper.recorder.record("fleet.applied", "", f"a new fleet: {words}", body, durable=True)


def _apply(keeper: Keeper, old: FleetSpec, wanted: FleetSpec, change: views.FleetChange) -> None:
    before = {spec.name: spec for spec in old.agents}
    added, changed = set(change.added), set(change.changed)
    keeper.listening.expect(wanted.agents)
    for spec in wanted.agents:
        agent = keeper.agents.get(spec.name)
        if agent is None:
            agent = keeper.add(spec, None)
            keeper.agent_changed(agent)
        elif spec.name in added or spec.name in changed:
            _change(keeper, agent, before.get(spec.name), spec)
    for name in change.removed:
        _remove(keeper, keeper.agents[name])
    _in_order(keeper, wanted)
    keeper.semaphore.fleet_changed()
    keeper.queue.fleet_changed()
    keeper.maintenance.look()
    keeper.planned.look()
    keeper.scaler.look()
    keeper.listening.settle()


def _change(keeper: Keeper, agent: Agent, before: AgentSpec | None, spec: AgentSpec) -> None:
    """`before` None: it was leaving and is wanted again."""
    agent.spec, agent.policy = spec, fleets.policy_of(spec)
    keeper.restoring.follow(agent)
    agent.leaving = False
    agent.place = None
    if before is None or before.restart.at != spec.restart.at:
        agent.memory.settled_at = 0.0  # a new plan owes nothing for a time of day that was over when it was written
    if before is None:
        keeper.command(agent, "start", "it is in the fleet again")
    elif agent.ladder.wanted and not agent.ladder.aside and fleets.needs_new_process(before, spec):
        keeper.command(agent, "restart", "its specification changed")
    elif agent.ladder.aside == "hibernating" and fleets.needs_new_process(before, spec):
        keeper.sleepers.wake(agent, "its specification changed")  # it may be called on other ports than those held
    else:
        keeper.hands.renew_permit(agent)
    keeper.health.follow(agent, keeper.clock.now_mono())


def _remove(keeper: Keeper, agent: Agent) -> None:
    """Stopped with its own grace, then forgotten; its state stays where it is."""
    agent.leaving = True
    keeper.command(agent, "stop", "it is no longer in the fleet")
    if agent.ladder.phase is Phase.STOPPED and agent.world.state in ("down", "finished", "asking", "unknown"):
        keeper.gone(agent)


def _in_order(keeper: Keeper, wanted: FleetSpec) -> None:
    """Rows are shown in the order of the file; what is leaving comes last."""
    order = {spec.name: number for number, spec in enumerate(wanted.agents)}
    ordered = sorted(keeper.agents.items(), key=lambda pair: order.get(pair[0], len(order)))
    keeper.agents.clear()
    keeper.agents.update(ordered)
