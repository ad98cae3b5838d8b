"""The second place as a spare: what is damaged or missing here is read there, and put right here.

Invariants: nothing is asked of the second place before something is wrong here; only bytes that match their name, from
a place that holds this very repository, come home; a damaged object is kept under `damaged/` before the good one takes
its name, in one step, so that a kill leaves one of both. What is live is decided here alone. Called by the repository;
made by the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from holdfast.state.store.ids import content_name
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import CONFIG, DAMAGED, PACKS, read_pack
from holdfast.state.store.objects import Missing, Store, Stored, StoreError


class Spare:
    """`told` gets a sentence for each object that was put right. `why`: what the second place did not answer, if so."""

    def __init__(self, here: LocalStore, open_there: Callable[[], Store], told: Callable[[str], None]) -> None:
        self._here = here
        self._open_there = open_there
        self._told = told
        self._there: Store | None = None
        self.why = ""

    def there(self) -> Store | None:
        """The second place; None when it cannot be used. Asked once."""
        if self._there is None and not self.why:
            try:
                found = self._open_there()
                if found.get(CONFIG) == self._here.get(CONFIG):
                    self._there = found
                else:
                    self.why = f"{found.where} holds another repository"
            except StoreError as error:
                self.why = str(error)
        return self._there

    def whole(self, name: str) -> bytes | None:
        """The object there; of a pack only if its bytes match its name."""
        there = self.there()
        try:
            data = there.get(name) if there is not None else None
        except Missing:
            return None
        except StoreError as error:
            self.why = str(error)
            return None
        pack = read_pack(name)
        return None if data is None or (pack is not None and content_name(data) != pack) else data

    def mend(self, name: str, data: bytes | None = None) -> bool:
        """The object that is damaged or missing here is there again. `data`: `whole`, checked by the caller."""
        good = data if data is not None else self.whole(name)
        if good is None:
            return False
        try:
            self._here.put_right(name, good)
        except StoreError as error:
            self.why = str(error)  # this disk is full, or cannot be written
            return False
        self._told(f"{name} was damaged or missing here and was fetched again from the second place")
        return True

    def others(self) -> Store | None:
        """The second place, as if it had no packs but those that are missing here. Raises StoreError."""
        there = self.there()
        if there is None:
            return None
        have = {found.name for found in self._here.list(PACKS)}
        return _Others(there, have)


class _Others:
    """See objects.Store; for reading."""

    def __init__(self, there: Store, without: set[str]) -> None:
        self._there, self._without = there, without
        self.where = there.where

    def get(self, name: str) -> bytes:
        return self._there.get(name)

    def ranges(self, name: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        return self._there.ranges(name, wanted)

    def size(self, name: str) -> int:
        return self._there.size(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        return (found for found in self._there.list(prefix) if found.name not in self._without)

    def put(self, name: str, data: bytes | Iterable[bytes]) -> bool:
        raise StoreError(f"{self.where} is only read here", lasting=True)

    def delete(self, name: str) -> None:
        raise StoreError(f"{self.where} is only read here", lasting=True)


def forget_damaged(here: LocalStore, older_than_s: float) -> int:
    """Delete what was set aside so long ago. How many. Raises StoreError."""
    now, gone = time.time(), 0
    for found in list(here.list(DAMAGED)):
        if not 0 <= now - found.changed_at < older_than_s:
            here.delete(found.name)
            gone += 1
    return gone
