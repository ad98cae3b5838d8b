"""The object `config`: whose repository this is, its format, and its key, wrapped by the recovery key. Written once.

JSON with a sum over all of it, so that a changed byte is told from a wrong recovery key and from a newer format. It
is computed alike in every format. Called when a repository is made or opened.
"""

from __future__ import annotations

import json
import os
from typing import Any

from blake3 import blake3
from msgspec import Struct

from holdfast.errors import RECOVERY_KEY_WRONG, STATE_FORMAT_NEWER, HoldfastError
from holdfast.state.store import keys
from holdfast.state.store.damage import Damaged
from holdfast.state.store.ids import KEY_BYTES
from holdfast.state.store.names import CONFIG

FORMAT = 1


class RepositoryConfig(Struct, frozen=True, kw_only=True):
    """What `config` says, without the key."""

    format: int
    id: str  # 32 hex digits, random
    agent: str
    encrypted: bool
    made_at: float


def encode(config: RepositoryConfig, repository_key: bytes, recovery: bytes, nonce: bytes | None = None) -> bytes:
    fields: dict[str, Any] = {
        "format": config.format,
        "id": config.id,
        "agent": config.agent,
        "encrypted": config.encrypted,
        "made_at": config.made_at,
        "recovery": keys.mark(recovery),
    }
    fields["key"] = keys.wrap(recovery, repository_key, _canonical(fields), nonce).hex()
    fields["sum"] = _sum(fields)
    return json.dumps(fields, indent=1).encode() + b"\n"


def fresh(agent: str, made_at: float, *, encrypt: bool) -> tuple[RepositoryConfig, bytes]:
    """A new repository's config and key."""
    config = RepositoryConfig(
        format=FORMAT, id=os.urandom(16).hex(), agent=agent, encrypted=encrypt, made_at=round(made_at, 3)
    )
    return config, os.urandom(KEY_BYTES)


def decode(data: bytes, recovery: bytes, where: str) -> tuple[RepositoryConfig, bytes]:
    """With the repository's key. Raises Damaged, or HoldfastError: newer format, wrong recovery key."""
    fields = _fields(data)
    if fields["format"] > FORMAT:
        raise HoldfastError(STATE_FORMAT_NEWER, where=where, format=fields["format"], known=FORMAT)
    if fields["recovery"] != keys.mark(recovery):
        raise HoldfastError(RECOVERY_KEY_WRONG, where=where, agent=fields["agent"])
    wrapped = bytes.fromhex(fields["key"])
    bound = _canonical({name: value for name, value in fields.items() if name not in ("key", "sum")})
    key = keys.unwrap(recovery, wrapped, bound)
    if key is None:
        raise Damaged(CONFIG, "its key does not unwrap")
    config = RepositoryConfig(
        format=fields["format"],
        id=fields["id"],
        agent=fields["agent"],
        encrypted=fields["encrypted"],
        made_at=fields["made_at"],
    )
    return config, key


def peek(data: bytes) -> RepositoryConfig:
    """Whose repository this is, without any key. Raises Damaged."""
    fields = _fields(data)
    return RepositoryConfig(**{name: fields[name] for name in RepositoryConfig.__struct_fields__})


def _fields(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError:
        raise Damaged(CONFIG, "it is no JSON") from None
    types = {"format": int, "id": str, "agent": str, "encrypted": bool, "made_at": float, "recovery": str, "key": str}
    if not isinstance(fields, dict) or fields.get("sum") != _sum(fields):
        raise Damaged(CONFIG, "it does not match its sum")
    if any(not isinstance(fields.get(name), kind) for name, kind in types.items()):
        raise Damaged(CONFIG, "it lacks what every config has")
    return fields


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _sum(fields: dict[str, Any]) -> str:
    return blake3(_canonical({name: value for name, value in fields.items() if name != "sum"})).hexdigest(16)
