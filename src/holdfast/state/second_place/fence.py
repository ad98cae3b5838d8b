"""Who may write to a second place: the Holdfast that brought an agent there, until another one took it over.

`writers/NNNNNN` are created only where there is none, so that each number has one owner; the highest one writes. An old
machine that comes back after its agents were rebuilt elsewhere finds a higher number than its own and stops.
Invariant: nobody takes over but by `take_over`, which a person asked for. Called by upload.py, rebuild.py and the job
that collects a second place.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast import files
from holdfast.state.store.names import WRITERS
from holdfast.state.store.objects import Store, StoreError

FILE = "writer"  # in the agent's state directory: who we are


class Fenced(StoreError):
    """Another Holdfast writes there now."""


class _Own(Struct):
    id: str
    takes_over: bool = False  # and has not been able to say so there yet


class _Writer(Struct):
    id: str
    host: str = ""
    at: float = 0.0


def check(state_dir: Path, there: Store) -> bool:
    """Whether the place is ours by name; False: it is nobody's yet. Raises Fenced, StoreError, OSError."""
    own, number, writer = _own(state_dir), *_newest(there)
    if writer is None:
        return False
    if writer.id == own.id:
        return True
    if own.takes_over and there.put(_name(number + 1), _encoded(own)):
        own.takes_over = False
        _save(state_dir, own)
        return True
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(writer.at))
    raise Fenced(
        f"{there.where} was taken over by another Holdfast on {writer.host or 'another machine'} at {since}; nothing "
        "more is sent there from here. Stop the agent here, or give it another `state.store`; if it is to go on here, "
        "run `holdfast restore --from` on this machine",
        lasting=True,
    )


def claim(state_dir: Path, there: Store) -> None:
    """A place that is nobody's becomes ours. Raises Fenced, StoreError, OSError."""
    if not check(state_dir, there):
        there.put(_name(1), _encoded(_own(state_dir)))
        check(state_dir, there)


def take_over(state_dir: Path, there: Store) -> None:
    """From here on we write there; whoever did stops. Where it cannot be said now, the next `check` does. OSError."""
    _save(state_dir, _Own(id=os.urandom(16).hex(), takes_over=True))
    try:
        if not check(state_dir, there):
            claim(state_dir, there)
    except StoreError:
        return


def _own(state_dir: Path) -> _Own:
    try:
        return msgspec.convert(json.loads((state_dir / FILE).read_bytes()), _Own)
    except (FileNotFoundError, ValueError, msgspec.ValidationError):
        own = _Own(id=os.urandom(16).hex())
        _save(state_dir, own)
        return own


def _save(state_dir: Path, own: _Own) -> None:
    files.write_atomic(state_dir / FILE, json.dumps(msgspec.to_builtins(own)).encode() + b"\n")


def _encoded(own: _Own) -> bytes:
    return json.dumps({"id": own.id, "host": platform.node(), "at": time.time()}).encode()


def _name(number: int) -> str:
    return f"{WRITERS}{number:06d}"


def _newest(there: Store) -> tuple[int, _Writer | None]:
    numbers = [found.name.removeprefix(WRITERS) for found in there.list(WRITERS)]
    highest = max((int(text) for text in numbers if text.isdecimal() and text.isascii()), default=0)
    if not highest:
        return 0, None
    try:
        return highest, msgspec.convert(json.loads(there.get(_name(highest))), _Writer)
    except (ValueError, msgspec.ValidationError):
        return highest, _Writer(id="")
