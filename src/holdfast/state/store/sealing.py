"""The envelope of packs and manifests: a header of 40 bytes, then parts, each encrypted and authenticated by itself.

Header: magic (4), format version (1), flags (1, bit 0: sealed), two zero bytes, salt (32). Sealed: AES-256-GCM; the key
belongs to this one object (keyed BLAKE3 of the header), the nonce is the number of the part and the header is bound to
every part, so a part cannot be moved, swapped or read under another header. Not sealed: the parts are plain; their
readers check ids and sums. No key is ever used for two objects: the salt is random. Called by pack.py and manifests.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blake3 import blake3

from holdfast.state.store.ids import KEY_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
HEADER_BYTES = 40
SALT_BYTES = 32
TAG_BYTES = 16
SEALED = 1
LAST_PART = 0xFFFF_FFFF  # of a footer; frames are counted from 0


class Unsealable(Exception):
    """These bytes were not sealed so; str() says what is wrong with them."""


def cipher(key: bytes) -> AESGCM:
    """Imported here: two megabytes that a keeper, which seals nothing, does without. Who forks calls it before."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


class Envelope:
    """Seals and opens the parts of one object. May be used by several threads at once."""

    __slots__ = ("_cipher", "header")

    def __init__(self, header: bytes, seal_key: bytes) -> None:
        self.header = header
        self._cipher = cipher(blake3(header, key=seal_key).digest(KEY_BYTES)) if header[5] & SEALED else None

    @classmethod
    def fresh(cls, magic: bytes, seal_key: bytes, *, sealed: bool, salt: bytes | None = None) -> Envelope:
        """Of a new object. `salt` is given only where the bytes must be known beforehand."""
        salt = os.urandom(SALT_BYTES) if salt is None else salt
        return cls(magic + bytes((VERSION, SEALED if sealed else 0, 0, 0)) + salt, seal_key)

    @classmethod
    def of(cls, header: bytes, magic: bytes, seal_key: bytes) -> Envelope:
        """Of an object that is read. Raises Unsealable."""
        if len(header) < HEADER_BYTES:
            raise Unsealable("it is too short")
        header = bytes(header[:HEADER_BYTES])
        if header[:4] != magic:
            raise Unsealable("it does not begin as it should")
        if header[4] != VERSION:
            raise Unsealable(f"it has format {header[4]}, this Holdfast reads {VERSION}")
        if header[5] & ~SEALED or header[6:8] != b"\0\0":
            raise Unsealable("its header makes no sense")
        return cls(header, seal_key)

    @property
    def sealed(self) -> bool:
        return self._cipher is not None

    def seal(self, part: int, plain: bytes) -> bytes:
        if self._cipher is None:
            return plain
        return self._cipher.encrypt(part.to_bytes(12, "little"), plain, self.header)

    def open(self, part: int, stored: bytes | memoryview) -> bytes | memoryview:
        """Raises Unsealable."""
        if self._cipher is None:
            return stored
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(part.to_bytes(12, "little"), stored, self.header)
        except InvalidTag:
            raise Unsealable(f"part {part} is not what was sealed") from None
        except ValueError:
            raise Unsealable(f"part {part} is too short") from None
