"""The first thing a keeper does: what was remembered becomes its agents, incidents and alerts again.

Invariant: nothing is acted upon here; that begins when init has told what the world is like. Called once by Keeper.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast import __version__
from holdfast.healing.model import NodeBooted
from holdfast.init.launch import PACKAGE_PARENT
from holdfast.keeper.recall import Recalled

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def take_up(keeper: Keeper, recalled: Recalled) -> None:
    """Agents as they were remembered; after a reboot or a `down`, back to the desired state without blame."""
    for spec in keeper.fleet.agents:
        keeper.add(spec, recalled.agents.get(spec.name))
    for incident in recalled.incidents.values():
        keeper.casebook.adopt(incident)
    for name, incident in recalled.open.items():
        if name in keeper.agents:
            keeper.agents[name].incident = incident
            keeper.agents[name].fault_mono = incident.fault_mono if incident.boot_id == keeper.boot_id else None
    keeper.outgoing.waiting = dict(recalled.waiting)
    keeper.alarms.known = dict(recalled.alarms)
    keeper.outgoing.tested = recalled.tested
    keeper.intake.init_seq = recalled.init_seq
    keeper.recorder.record(
        "keeper.started",
        "",
        f"keeper {__version__} started as process {os.getpid()}, code in {PACKAGE_PARENT}",
        {"boot_id": keeper.boot_id, "version": __version__, "code": PACKAGE_PARENT, "down": False},
        durable=True,
    )
    if recalled.down or (recalled.boot_id and recalled.boot_id != keeper.boot_id):
        keeper.intake.forget_past = not recalled.down
        why = "Holdfast was taken down" if recalled.down else "the machine was started anew"
        for agent in keeper.agents.values():
            keeper.healer.observe(agent, NodeBooted(), keeper.clock.now_mono(), text=f"{why}: back to what is wanted")
