"""Names of content: keyed BLAKE3, cut to 16 bytes. Equal content has an equal id within one repository only.

The key keeps whoever sees a bucket from testing whether an agent holds a known file. Every reader computes the id
again from what it read, so no wrong byte passes. Called by the writer, the readers and the manifests.
"""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from holdfast.state.model import ID_BYTES, BlobId

KEY_BYTES = 32
_ID_CONTEXT = "holdfast 2026-11-21 snapshots: id key"
_SEAL_CONTEXT = "holdfast 2026-11-21 snapshots: seal key"


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Both keys of one repository, derived from the key that its `config` wraps."""

    ids: bytes
    seal: bytes

    @classmethod
    def derive(cls, repository_key: bytes) -> Keys:
        return cls(
            ids=blake3(repository_key, derive_key_context=_ID_CONTEXT).digest(),
            seal=blake3(repository_key, derive_key_context=_SEAL_CONTEXT).digest(),
        )

    def blob_id(self, plain: bytes) -> BlobId:
        return blake3(plain, key=self.ids).digest(ID_BYTES)


def content_name(stored: bytes) -> str:
    """The name of an object that is called after its bytes on disk: hex of 16 bytes."""
    return blake3(stored).hexdigest(ID_BYTES)
