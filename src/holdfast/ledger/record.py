"""One ledger record: its fields, its canonical bytes, its hash. Pure; the format is docs/formats/ledger.md.

Invariant: two different records never have the same hashed bytes, because every field carries its length and the
hash of the record before is one of the fields. Called by segment.py (reading) and chain.py (writing).
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from msgspec import Struct

from holdfast import limits

VERSION = 1
RECORD_MAGIC = b"\xffHFR"  # 0xff never occurs in UTF-8, so no text inside a record can look like one
HASH_BYTES = 32
PREFIX_BYTES = 8  # magic and length
RECORD_DOMAIN = b"holdfast ledger record 1"
GENESIS_DOMAIN = b"holdfast ledger genesis 1"
FIELDS = 7

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class BadRecord(Exception):
    """These bytes are not a whole, unchanged record. The text says why, in one clause."""


class Head(Struct, frozen=True):
    """The end of the chain. Kept elsewhere too, it makes a cut tail detectable. `text` and `parse` are inverse."""

    seq: int
    hash: bytes

    @property
    def text(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Raises ValueError when `text` is not SEQ:64-HEX-DIGITS."""
        seq, _, digest = text.partition(":")
        head = cls(int(seq), bytes.fromhex(digest))
        if head.seq < 0 or len(head.hash) != HASH_BYTES:
            raise ValueError("a head is SEQ:64-HEX-DIGITS")
        return head


class Record(Struct, frozen=True, kw_only=True):
    """One decision or outcome.

    `stored` False: the disk was full and the reserve used up; then `seq` is 0 and `lost` says how many records were
    lost so far. `durable` True: it was on stable storage before append returned.
    """

    seq: int
    at_ns: int  # wall clock, ns since the epoch
    kind: str
    agent: str
    actor: str
    body: dict[str, Any]
    previous: bytes
    hash: bytes
    stored: bool = True
    durable: bool = False
    lost: int = 0

    @property
    def at(self) -> float:
        """Wall clock, seconds since the epoch."""
        return self.at_ns / 1e9

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash)


def genesis(home_id: str) -> bytes:
    """What stands as `previous` in record 1: binds the chain to one home."""
    return hashlib.sha256(field(GENESIS_DOMAIN) + field(home_id.encode())).digest()


def field(content: bytes) -> bytes:
    """One length-prefixed field."""
    return _U32.pack(len(content)) + content


def canonical_body(body: dict[str, Any]) -> bytes:
    """Deterministic JSON: keys sorted by code point, no spaces, UTF-8, no NaN.

    Raises TypeError or ValueError for what JSON cannot say. A body beyond the bound is replaced by its size and
    SHA-256, since refusing it would stop healing.
    """
    _refuse_odd_keys(body)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Lone surrogates come from undecodable file names; \udcNN is how JSON writes them.
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= limits.LEDGER_RECORD_MAX_BYTES - 1024:  # room for the other fields
        return encoded
    digest = hashlib.sha256(encoded).hexdigest()
    return b'{"cut":{"bytes":%d,"sha256":"%s"}}' % (len(encoded), digest.encode())


def _refuse_odd_keys(value: object) -> None:
    """JSON would turn 1 and "1" into the same key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys of a ledger body are text, not {type(key).__name__}")
            _refuse_odd_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_odd_keys(inner)


def payload(seq: int, at_ns: int, kind: str, agent: str, actor: str, body: bytes, previous: bytes) -> bytes:
    """The hashed part of a record: seven length-prefixed fields in this order."""
    return b"".join(
        (
            field(_U64.pack(seq)),
            field(_U64.pack(at_ns)),
            field(_text(kind)),
            field(_text(agent)),
            field(_text(actor)),
            field(body),
            field(previous),
        )
    )


def _text(value: str) -> bytes:
    return value.encode("utf-8", "backslashreplace")


def digest(hashed: bytes) -> bytes:
    """The hash of a record with this payload."""
    return hashlib.sha256(field(RECORD_DOMAIN) + hashed).digest()


def frame(hashed: bytes, hash_: bytes) -> bytes:
    """The bytes of a record as they stand in a segment."""
    return RECORD_MAGIC + _U32.pack(len(hashed)) + hashed + hash_


def framed_length(prefix: bytes) -> int:
    """Whole length in bytes of the record that begins with these eight bytes. Raises BadRecord."""
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(RECORD_MAGIC):
        raise BadRecord("no record begins here")
    (length,) = _U32.unpack_from(prefix, 4)
    if length > limits.LEDGER_RECORD_MAX_BYTES:
        raise BadRecord("its length is out of bounds")
    return PREFIX_BYTES + int(length) + HASH_BYTES


def decode(framed: bytes) -> Record:
    """The record in exactly these bytes. Raises BadRecord when it is cut or was changed."""
    if framed_length(framed[:PREFIX_BYTES]) != len(framed):
        raise BadRecord("it is cut")
    hashed, hash_ = framed[PREFIX_BYTES:-HASH_BYTES], framed[-HASH_BYTES:]
    if digest(hashed) != hash_:
        raise BadRecord("its hash does not fit its content")
    seq, at, kind, agent, actor, body, previous = split_fields(hashed, FIELDS)
    try:
        content = json.loads(body)
        return Record(
            seq=_U64.unpack(seq)[0],
            at_ns=_U64.unpack(at)[0],
            kind=kind.decode(),
            agent=agent.decode(),
            actor=actor.decode(),
            body=content,
            previous=previous,
            hash=hash_,
        )
    except (ValueError, struct.error, RecursionError) as error:
        raise BadRecord("its fields are malformed") from error


def split_fields(content: bytes, count: int) -> list[bytes]:
    """Exactly `count` length-prefixed fields and nothing after them. Raises BadRecord."""
    found: list[bytes] = []
    at = 0
    while at < len(content) and len(found) <= count:
        if at + 4 > len(content):
            raise BadRecord("a field is cut")
        (length,) = _U32.unpack_from(content, at)
        at += 4
        if at + length > len(content):
            raise BadRecord("a field is cut")
        found.append(content[at : at + length])
        at += length
    if len(found) != count:
        raise BadRecord(f"it has not {count} fields")
    return found
