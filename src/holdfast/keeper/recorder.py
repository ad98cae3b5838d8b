"""What the keeper writes into the ledger, and who follows it.

Invariants: a record is in the ledger before anything it announces is done; followers read by number, so a slow one
misses nothing. A body holds what replay needs: `ladder` after the change, `init_seq`, `case`, `death`, `waiting`.
Called by every part of the keeper that decides something.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.keeper.telling.views import Event
from holdfast.ledger.chain import Ledger
from holdfast.ledger.record import Record

ACTOR = "keeper"


class Recorder:
    """`on_record` hears every record: the timeline of an open incident grows by it."""

    def __init__(self, ledger: Ledger, on_record: Callable[[str, float, str], None]) -> None:
        self.ledger = ledger
        self._on_record = on_record
        self._followers: set[asyncio.Future[None]] = set()
        self.all_stored = True  # since the last `take_stored`

    def record(
        self, kind: str, agent: str, text: str, body: dict[str, Any] | None = None, *, durable: bool = False
    ) -> Record:
        """Append one record; `text` is one sentence for people. Never raises for the disk."""
        written = self.ledger.append(kind, agent, {"text": text, **(body or {})}, actor=ACTOR, durable=durable)
        self.all_stored &= written.stored
        self._on_record(agent, written.at, text)
        if self._followers:
            for follower in self._followers:
                if not follower.done():
                    follower.set_result(None)
            self._followers.clear()
        return written

    def take_stored(self) -> bool:
        """Whether every record since the last call is in the ledger's file."""
        stored, self.all_stored = self.all_stored, True
        return stored

    def events(self, after: int) -> Iterator[Event]:
        """Records behind `after`, as shown. A file that cannot be read ends the list."""
        with contextlib.suppress(OSError, HoldfastError):
            for record in self.ledger.records(after):
                yield shown(record)

    async def wait_after(self, seq: int, timeout_s: float) -> bool:
        """True as soon as there is a record behind `seq`, False when there was none in time."""
        if self.ledger.head.seq > seq:
            return True
        follower: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._followers.add(follower)
        try:
            async with asyncio.timeout(timeout_s):
                await follower
        except TimeoutError:
            return False
        finally:
            self._followers.discard(follower)
        return True


def shown(record: Record) -> Event:
    """A ledger record for people: `text` comes out of the body; bulky state stays in the ledger."""
    body = {key: value for key, value in record.body.items() if key not in ("text", "ladder", "case", "waiting")}
    return Event(
        seq=record.seq,
        at=record.at,
        kind=record.kind,
        agent=record.agent,
        text=str(record.body.get("text", "")),
        body=body,
    )
