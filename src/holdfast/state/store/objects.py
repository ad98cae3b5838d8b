"""What a repository asks of the place that keeps its objects. Two places exist: a directory and a bucket.

Invariants every place keeps: an object appears whole or not at all, is never overwritten, and what `put` returned from
survives a power cut. Names are `/`-separated, ASCII. Called by the repository; implemented by local_store.py and
remote_store.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as listed. `changed_at`: by the clock of the place that keeps it, wall clock seconds."""

    name: str
    size: int
    changed_at: float


class StoreError(Exception):
    """The place could not be asked or said no; str() says which object and why, without secrets.

    `lasting`: asking again will not help (credentials, missing bucket, no permission); False: full, slow or cut off.
    """

    def __init__(self, text: str, *, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


class Missing(StoreError):
    """There is no such object."""


class Store(Protocol):
    """All methods raise StoreError."""

    where: str  # for people: a directory or a URL, without credentials

    def put(self, name: str, data: bytes | Iterable[bytes]) -> bool:
        """Create the object; False when it was there already, which is then left as it is."""

    def get(self, name: str) -> bytes:
        """The whole object. Raises Missing."""

    def ranges(self, name: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        """Pieces (offset, length) of an object, each of the length asked for. Raises Missing."""

    def size(self, name: str) -> int:
        """Raises Missing."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Objects whose name begins with `prefix` (which ends with `/`, or is empty), in no order."""

    def delete(self, name: str) -> None:
        """Missing is as good as deleted."""
