"""The object that is a snapshot: a manifest as JSON, compressed, in the same envelope as packs. Pure.

Its id is computed over the JSON and stands in the object's name, so a manifest that was changed, cut or put under
another's name is never taken for one. Called by the repository and the writer.
"""

from __future__ import annotations

import json

import msgspec
import zstandard

from holdfast.errors import STATE_FORMAT_NEWER, HoldfastError
from holdfast.state.model import Manifest
from holdfast.state.store import frames
from holdfast.state.store.damage import Damaged
from holdfast.state.store.ids import Keys
from holdfast.state.store.sealing import HEADER_BYTES, Envelope, Unsealable

MAGIC = b"HFSN"
FORMAT = 1
_PLAIN_MAX_BYTES = 64 * 1024 * 1024


def encode(manifest: Manifest) -> bytes:
    """The plain bytes. Paths that are no UTF-8 are kept: JSON's own escapes carry lone surrogates."""
    return json.dumps(msgspec.to_builtins(manifest), separators=(",", ":"), ensure_ascii=True).encode()


def seal(plain: bytes, keys: Keys, *, sealed: bool, salt: bytes | None = None) -> bytes:
    envelope = Envelope.fresh(MAGIC, keys.seal, sealed=sealed, salt=salt)
    packed = zstandard.ZstdCompressor(level=frames.LEVEL).compress(plain)
    return envelope.header + envelope.seal(0, packed)


def open_sealed(stored: bytes, keys: Keys, expected_id: str, object_name: str) -> bytes:
    """The plain bytes. Raises Damaged."""
    try:
        envelope = Envelope.of(stored, MAGIC, keys.seal)
        packed = envelope.open(0, stored[HEADER_BYTES:])
        length = zstandard.get_frame_parameters(packed).content_size
        if length > _PLAIN_MAX_BYTES:
            raise Unsealable("it claims to be too large")
        plain = frames.decompress(packed, length)
    except (Unsealable, frames.Undecodable, zstandard.ZstdError) as error:
        raise Damaged(object_name, str(error)) from None
    if keys.blob_id(plain).hex() != expected_id:
        raise Damaged(object_name, "its content is not what its id says")
    return plain


def decode(plain: bytes, object_name: str) -> Manifest:
    """Raises Damaged, HoldfastError for a newer format."""
    try:
        fields = json.loads(plain)
        if isinstance(fields, dict) and isinstance(fields.get("format"), int) and fields["format"] > FORMAT:
            raise HoldfastError(STATE_FORMAT_NEWER, where=object_name, format=fields["format"], known=FORMAT)
        return msgspec.convert(fields, Manifest)
    except (ValueError, msgspec.ValidationError) as error:
        raise Damaged(object_name, f"its content cannot be read ({error})") from None
