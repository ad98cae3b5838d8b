"""What is said when bytes of a repository are not what was written. Nothing here is ever returned as data.

Raised by everything that reads a repository. `holdfast state verify` turns it into a sentence for people.
"""

from __future__ import annotations

from holdfast.state.store.objects import StoreError


class Damaged(StoreError):
    """An object is there, but its bytes are not those that were written. Reading it again will not help."""

    def __init__(self, object_name: str, reason: str) -> None:
        super().__init__(f"{object_name} is damaged: {reason}", lasting=True)
        self.object_name = object_name
        self.reason = reason


class MissingBlob(StoreError):
    """No pack of the repository holds this blob."""

    def __init__(self, blob: bytes) -> None:
        super().__init__(f"no pack holds blob {blob.hex()}", lasting=True)
        self.blob = blob
