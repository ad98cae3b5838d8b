"""The durable intent of an upgrade: HOME/upgrade.json, replaced atomically before each step that changes anything.

Invariant: whatever kills us, the file says where to and where from, with all that is needed to finish or to go back; a
finished one stays, since `--rollback` reads it. Called by switching.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.files import sync_directory, write_atomic

FILE = "upgrade.json"


class Side(Struct, frozen=True, kw_only=True):
    """One code that can run: what init reads to start it, and the release it lies in, "" for none of ours."""

    services: str  # the text of services.json
    release: str = ""
    words: str = ""  # for people


class Upgrade(Struct, frozen=True, kw_only=True):
    """`agents`: pids of the healthy ones before. `before`: the journal that this one replaced, put back on failure."""

    version: int = 1
    step: Literal["switching", "going back", "done"]
    to: Side
    former: Side
    agents: dict[str, int] = {}
    reason: str = ""
    before: str | None = None


def load(home: Path) -> Upgrade | None:
    """Raises HOME_UNUSABLE when it cannot be understood: an unreadable intent is not an absent one."""
    try:
        return msgspec.json.decode((home / FILE).read_bytes(), type=Upgrade)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home / FILE, reason=error) from error


def raw(home: Path) -> str | None:
    """The text of a finished journal."""
    found = load(home)
    return msgspec.json.encode(found).decode() if found is not None and found.step == "done" else None


def save(home: Path, upgrade: Upgrade) -> None:
    """Raises HOME_UNUSABLE: then the step must not begin."""
    try:
        write_atomic(home / FILE, msgspec.json.format(msgspec.json.encode(upgrade)) + b"\n")
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home, reason=error.strerror or error) from error


def put_back(home: Path, before: str | None) -> None:
    """As it was before the upgrade that failed."""
    try:
        if before is None:
            (home / FILE).unlink(missing_ok=True)
            sync_directory(home)
        else:
            write_atomic(home / FILE, before.encode())
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home, reason=error.strerror or error) from error
