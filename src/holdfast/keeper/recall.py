"""What the keeper remembers when it comes back: the store's checkpoint, then every ledger record behind it.

Invariant: the checkpoint is only a shortcut; from an empty one the same memory results, since each record holds the
state after what it tells. After a reboot of the machine monotonic times are void, which the keeper tells triage.
Called once at the keeper's start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from holdfast import limits
from holdfast.alerts.outbox import Waiting
from holdfast.healing.model import Ladder
from holdfast.incidents import model
from holdfast.incidents.changes import Proven
from holdfast.incidents.model import Incident
from holdfast.keeper.agent import Memory, unpack_ladder
from holdfast.keeper.density.asleep import Asleep
from holdfast.keeper.state.restore_course import Restoration
from holdfast.keeper.store import Items, Store
from holdfast.keeper.telling.alarms import Alarm
from holdfast.keeper.telling.views import Death
from holdfast.ledger.record import Record
from holdfast.spec.model import FleetSpec


class Recalled:
    """Everything durable, in memory."""

    def __init__(self) -> None:
        self.agents: dict[str, Memory] = {}
        self.incidents: dict[str, Incident] = {}
        self.open: dict[str, Incident] = {}  # by agent
        self.waiting: dict[str, Waiting] = {}
        self.fleet: FleetSpec | None = None
        self.fleet_digest = ""
        self.init_seq = 0
        self.boot_id = ""
        self.tested = ""
        self.alarms: dict[str, Alarm] = {}  # about resources, by key
        self.seq = 0  # of the ledger: everything up to here is included
        self.down = False  # Holdfast was taken down on request, and not yet back
        self.store: Store | None = None  # the open store it came from
        self.skipped = 0  # records whose body could not be understood


def from_items(items: Items) -> Recalled:
    """The checkpoint. Raises msgspec.DecodeError or ValueError when it cannot be understood."""
    recalled = Recalled()
    meta = {key: body.decode() for (kind, key), body in items.items() if kind == "meta" and key != "fleet"}
    recalled.init_seq = int(meta.get("init_seq", "0"))
    recalled.boot_id = meta.get("boot_id", "")
    recalled.tested = meta.get("tested", "")
    alarms = msgspec.json.decode(meta.get("alarms", "[]"), type=list[Alarm])
    recalled.alarms = {alarm.key: alarm for alarm in alarms}
    recalled.fleet_digest = meta.get("fleet_digest", "")
    recalled.down = meta.get("down") == "1"
    recalled.seq = int(meta.get("ledger_head", "0").partition(":")[0])
    if ("meta", "fleet") in items:
        recalled.fleet = msgspec.json.decode(items["meta", "fleet"], type=FleetSpec)
    for (kind, key), body in items.items():
        if kind == "agent":
            recalled.agents[key] = msgspec.json.decode(body, type=Memory)
        elif kind == "incident":
            recalled.incidents[key] = msgspec.json.decode(body, type=Incident)
        elif kind == "alert":
            recalled.waiting[key] = msgspec.json.decode(body, type=Waiting)
    recalled.incidents = dict(sorted(recalled.incidents.items(), key=lambda pair: pair[1].opened_at))
    for incident in recalled.incidents.values():
        if incident.closed_at is None:
            recalled.open[incident.agent] = incident
    return recalled


def replay(recalled: Recalled, records: Iterable[Record]) -> int:
    """Bring what was recalled up to the end of the ledger; returns how many records were read."""
    count = 0
    for record in records:
        if record.seq <= recalled.seq:
            continue
        count += 1
        recalled.seq = record.seq
        try:
            _apply(recalled, record)
        except (msgspec.ValidationError, ValueError, TypeError, KeyError):
            recalled.skipped += 1  # a record of a later version: what is not understood is left out
    return count


def _apply(recalled: Recalled, record: Record) -> None:
    body = record.body
    if "init_seq" in body:
        recalled.init_seq = max(recalled.init_seq, int(body["init_seq"]))
    if "boot_id" in body:
        recalled.boot_id = str(body["boot_id"])
    if "down" in body:
        recalled.down = bool(body["down"])
    if "tested" in body:
        recalled.tested = str(body["tested"])
    if "alarm" in body:
        alarm = msgspec.convert(body["alarm"], Alarm)
        recalled.alarms[alarm.key] = alarm
    if "digest" in body:
        recalled.fleet_digest = str(body["digest"])
    if "waiting" in body:
        waiting = msgspec.convert(body["waiting"], Waiting)
        recalled.waiting[waiting.id] = waiting
    if "delivered" in body:
        recalled.waiting.pop(str(body["delivered"]), None)
    if record.agent:
        _apply_to_agent(recalled, record, body)
    elif "case" in body:
        _apply_case(recalled, "", body["case"])


def _apply_to_agent(recalled: Recalled, record: Record, body: dict[str, Any]) -> None:
    name = record.agent
    if body.get("forgotten"):
        recalled.agents.pop(name, None)
        recalled.open.pop(name, None)
        return
    memory = recalled.agents.setdefault(name, Memory(ladder=Ladder()))
    if "ladder" in body:
        memory.ladder = unpack_ladder(body["ladder"])
    if "pod" in body:
        memory.pod = int(body["pod"])
    if "start_cpu_s" in body:
        memory.start_cpu_s = float(body["start_cpu_s"])
    if "start_peak_bytes" in body:
        memory.start_peak_bytes = int(body["start_peak_bytes"])
    if "start_s" in body:
        memory.start_s = float(body["start_s"])
    if "beat_instance" in body:
        memory.beat_instance = int(body["beat_instance"])
    if "settled_at" in body:
        memory.settled_at = float(body["settled_at"])
    if "leaked_at" in body:
        memory.leaked_at = float(body["leaked_at"])
    if "proven" in body:
        memory.proven = msgspec.convert(body["proven"], Proven)
    if "restoration" in body:
        memory.restoration = msgspec.convert(body["restoration"], Restoration | None)
    if "asleep" in body:
        memory.asleep = msgspec.convert(body["asleep"], Asleep | None)
    if "unheld" in body:
        memory.unheld = str(body["unheld"])
    if "restored_from" in body:
        memory.restored_from = str(body["restored_from"])
    if "death" in body:
        memory.deaths = (*memory.deaths, msgspec.convert(body["death"], Death))[-limits.DEATHS_KEPT :]
    if "explained" in body:
        told = msgspec.convert(body["explained"], Death)
        memory.deaths = tuple(told if death.instance == told.instance else death for death in memory.deaths)
    if "case" in body:
        _apply_case(recalled, name, body["case"])
    incident = recalled.open.get(name)
    if incident is not None:
        model.add_moment(incident, record.at, str(body.get("text", "")))


def _apply_case(recalled: Recalled, name: str, case: dict[str, Any]) -> None:
    told = msgspec.convert(case, Incident)
    known = recalled.incidents.get(told.id)
    if known is None:
        recalled.incidents[told.id] = known = told
    else:
        for field in case:
            setattr(known, field, getattr(told, field))
    if known.closed_at is None:
        recalled.open[name] = known
    else:
        recalled.open.pop(name, None)


def boot_id() -> str:
    """Names this boot of the machine; monotonic times compare only within one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
