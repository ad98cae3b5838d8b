"""What the API shows of a keeper: its agents, one of them, its incidents. Only looks.

Called by the modules of the API; everything is of one moment, since nothing here waits.
"""

from __future__ import annotations

import os
from typing import Any

from holdfast import __version__, errors
from holdfast.errors import HoldfastError
from holdfast.incidents import grouping
from holdfast.incidents import model as incidents
from holdfast.keeper.density import shown
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling import notices, views
from holdfast.keeper.telling import status as rows


def status(keeper: Keeper) -> views.Status:
    """What `ps --json` shows."""
    now = keeper.clock.now_mono()
    heard, memory = bool(keeper.fleet.alerts), shown.Look(keeper)
    keeper.resources.freshen(now)
    processes = keeper.intake.processes
    processes["keeper"].pid = os.getpid()
    return views.Status(
        holdfast=views.Own(version=__version__, processes=list(processes.values())),
        agents=[
            rows.row(agent, now, keeper.resources.usage(name), heard, memory.of(agent))
            for name, agent in keeper.agents.items()
        ],
        warnings=notices.warnings(keeper),
        node=memory.node(keeper.node.view()),
    )


def describe(keeper: Keeper, name: str) -> views.Description:
    """What `describe --json` shows. Raises HoldfastError for a name nobody has."""
    agent, now = keeper.agent(name), keeper.clock.now_mono()
    keeper.resources.freshen(now)
    usage = keeper.resources.usage(name)
    lags = keeper.log_settings.lags.get(name, [])
    pod, memory = keeper.places.describe(agent), shown.Look(keeper).of(agent)
    return rows.description(agent, now, usage, bool(keeper.fleet.alerts), pod, lags, memory)


def incident_rows(keeper: Keeper) -> list[dict[str, Any]]:
    """One each, the newest last."""
    return [incidents.summary(incident) for incident in keeper.casebook.known.values()]


def incident_groups(keeper: Keeper) -> list[dict[str, Any]]:
    """Those of one kind together."""
    return grouping.groups(keeper.casebook.known.values())


def incident_detail(keeper: Keeper, incident_id: str) -> dict[str, Any]:
    """Raises HoldfastError for an id that is not known."""
    incident = keeper.casebook.known.get(incident_id)
    if incident is None:
        raise HoldfastError(errors.INCIDENT_NOT_FOUND, incident=incident_id)
    return incidents.detail(incident)
