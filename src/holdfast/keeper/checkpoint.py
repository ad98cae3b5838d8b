"""When and what the keeper writes into its store: changes gathered for a moment, then one transaction.

Invariant: what is written corresponds to the ledger record named in the same transaction. A disk that refuses is
asked again every STORE_RETRY_S. Called by the keeper.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.keeper import fleet as fleets
from holdfast.keeper.recall import Recalled
from holdfast.keeper.store import Items, SetAside, Store

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper

_encode = msgspec.json.Encoder().encode


class Checkpoint:
    """Knows which parts changed since the last flush."""

    def __init__(self, keeper: Keeper, recalled: Recalled) -> None:
        self._keeper = keeper
        self.store: Store = recalled.store or Store(keeper.home.database)
        self.store.everything = self._everything
        self.corruptions: list[SetAside] = []
        self._agents: set[str] = set()
        self._incidents: set[str] = set()
        self._alerts: set[str] = set()
        self._fleet = False
        self._timer: asyncio.TimerHandle | None = None

    # --- what changed --------------------------------------------------------------------------------------------
    def agent(self, name: str) -> None:
        self._agents.add(name)
        self.later(limits.STORE_FLUSH_S)

    def agent_gone(self, name: str) -> None:
        self._agents.discard(name)
        self.store.put("agent", name, None)
        self.later(limits.STORE_FLUSH_S)

    def incident(self, incident_id: str) -> None:
        self._incidents.add(incident_id)
        self.later(limits.STORE_FLUSH_S)

    def alert(self, alert_id: str) -> None:
        self._alerts.add(alert_id)
        self.later(limits.STORE_FLUSH_S)

    def fleet(self) -> None:
        self._fleet = True
        self.meta()

    def meta(self) -> None:
        self.later(limits.STORE_FLUSH_S)

    # --- writing -------------------------------------------------------------------------------------------------
    def later(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self.flush():
            self.later(limits.STORE_RETRY_S)

    def flush(self) -> bool:
        """Write now. False when the disk refused; everything is kept for the next time."""
        keeper = self._keeper
        for name in self._agents:
            if name in keeper.agents:
                self.store.put("agent", name, _encode(keeper.agents[name].memory))
        for incident_id in self._incidents:
            known = keeper.casebook.known.get(incident_id)
            self.store.put("incident", incident_id, None if known is None else _encode(known))
        for alert_id in self._alerts:
            waiting = keeper.outgoing.waiting.get(alert_id)
            self.store.put("alert", alert_id, None if waiting is None else _encode(waiting))
        if self._fleet:
            self._put_fleet()
        self._agents.clear()
        self._incidents.clear()
        self._alerts.clear()
        self._fleet = False
        self._put_meta()
        written = self.store.flush()
        self.tell_corruptions()
        if written and keeper.intake.unacked:
            keeper.intake.unacked = False
            keeper.intake.acknowledge()
        if written:
            keeper.casebook.write_again()
        return written

    def _put_fleet(self) -> None:
        self.store.put("meta", "fleet", _encode(self._keeper.fleet))
        self.store.put("meta", "fleet_digest", fleets.digest(self._keeper.fleet).encode())

    def _put_meta(self) -> None:
        keeper = self._keeper
        self.store.put("meta", "init_seq", str(keeper.intake.init_seq).encode())
        self.store.put("meta", "boot_id", keeper.boot_id.encode())
        self.store.put("meta", "tested", keeper.outgoing.tested.encode())
        self.store.put("meta", "alarms", _encode(list(keeper.alarms.known.values())))
        self.store.put("meta", "down", b"1" if keeper.stopping else b"0")
        self.store.put("meta", "ledger_head", keeper.recorder.ledger.head.text.encode())

    def _everything(self) -> Items:
        """The whole memory, for a file that has to be made anew."""
        keeper = self._keeper
        items: Items = {("agent", name): _encode(agent.memory) for name, agent in keeper.agents.items()}
        items |= {("incident", key): _encode(incident) for key, incident in keeper.casebook.known.items()}
        items |= {("alert", key): _encode(waiting) for key, waiting in keeper.outgoing.waiting.items()}
        items["meta", "fleet"] = _encode(keeper.fleet)
        items["meta", "fleet_digest"] = fleets.digest(keeper.fleet).encode()
        return items

    def tell_corruptions(self) -> None:
        """A database that was set aside is told once, in the ledger, and stays among the warnings."""
        for found in self.store.set_aside:
            said = HoldfastError(errors.STORE_CORRUPT, reason=found.reason, aside=found.aside)
            self._keeper.recorder.record("store.corrupt", "", said.summary, {"aside": found.aside}, durable=True)
            self.corruptions.append(found)
        self.store.set_aside.clear()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        self.store.close()
