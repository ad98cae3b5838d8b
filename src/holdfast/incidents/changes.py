"""What is different now from the last time an instance was proven good. Pure.

Invariant: values of settings are kept as short salted digests only, so that nothing secret can be read from them; a
change is listed with the time somebody made it, or without one, never with a guessed one. Kept in the ledger by the
keeper; listed in the post-mortem.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.incidents.facts import Change
from holdfast.spec.model import AgentSpec

# Settings that reach neither the program nor the judgement about it: no failure comes from them.
_CARE = frozenset(("exit_codes", "labels", "logs", "maintenance", "priority", "resources", "restart", "stop"))


class FileSeen(Struct, frozen=True, kw_only=True):
    """A file as stat told it; `changed_at`: its modification time."""

    changed_at: float
    size_bytes: int
    inode: int


class Proven(Struct, frozen=True, kw_only=True):
    """What an instance ran with that was good for PROVEN_AFTER_S. `seq`: the ledger's head at that time."""

    at: float
    instance: int
    seq: int
    version: str = ""
    boot_id: str = ""
    keys: dict[str, str] = {}  # setting -> digest of its value
    files: dict[str, FileSeen] = {}


class Told(NamedTuple):
    """One ledger record behind the proof: a fleet that was applied, or a keeper that started."""

    at: float
    kind: str
    body: dict[str, Any]


def keys_of(spec: AgentSpec, salt: str) -> dict[str, str]:
    """Every setting of an agent by its dotted name, with a digest of its value."""
    found: dict[str, str] = {}
    for name, value in msgspec.to_builtins(spec).items():
        if isinstance(value, dict):
            for inner, item in value.items():
                found[f"{name}.{inner}"] = _digest(salt, item)
        else:
            found[name] = _digest(salt, value)
    return found


def _digest(salt: str, value: Any) -> str:
    return hashlib.sha256(salt.encode() + msgspec.json.encode(value, order="deterministic")).hexdigest()[:8]


def compare(old: Proven, new: Proven, told: Sequence[Told], agent: str) -> tuple[Change, ...]:
    """Every difference, oldest first, those without a time at the end."""
    found: list[Change] = []
    names = sorted(name for name in {*old.keys, *new.keys} if old.keys.get(name) != new.keys.get(name))
    at = max((one.at for one in told if one.kind == "fleet.applied" and _names(one, agent)), default=0.0)
    for what in ("spec", "watch", "care"):
        some = [name for name in names if _concerns(name) == what]
        if some:
            shown = ", ".join(some[:10]) + (f" and {len(some) - 10} more" if len(some) > 10 else "")
            found.append(Change(at=at, what=what, text=f"holdfast.yaml: {shown} changed"))
    if old.version and old.version != new.version:
        at = next((one.at for one in told if one.body.get("version") == new.version), 0.0)
        found.append(Change(at=at, what="version", text=f"Holdfast went from {old.version} to {new.version}"))
    if old.boot_id and old.boot_id != new.boot_id:
        at = next((one.at for one in told if one.body.get("boot_id") == new.boot_id), 0.0)
        found.append(Change(at=at, what="boot", text="the machine was started anew"))
    for path, seen in sorted(new.files.items()):
        before = old.files.get(path)
        if before is not None and before != seen:
            found.append(Change(at=seen.changed_at, what="file", text=f"{path} changed"))
    found += [
        Change(at=0.0, what="file", text=f"{path} is gone") for path in sorted(old.files) if path not in new.files
    ]
    return tuple(sorted(found, key=lambda one: one.at or float("inf"))[: limits.CHANGES_SHOWN])


def _concerns(name: str) -> str:
    """What a setting reaches: the program (spec), how it is watched (watch), or only our care for it (care)."""
    part = name.partition(".")[0]
    return "watch" if part == "health" else "care" if part in _CARE else "spec"


def _names(told: Told, agent: str) -> bool:
    named = [*told.body.get("changed", []), *told.body.get("added", [])]
    return agent in named or len(named) >= 100  # the record names no more than that
