"""User numbers for agents where no system user can be created: one each, never reused, recorded in HOME/users.json.

Called by `users` alone, as root.
"""

from __future__ import annotations

import contextlib
import json
import pwd
from pathlib import Path

from holdfast import limits
from holdfast.files import write_atomic

FILE = "users.json"


def known(home: Path, agent: str) -> bool:
    return agent in _read(home)


def take(home: Path, agent: str) -> int:
    """The agent's number; a new one is recorded before it is used. Raises OSError (disk) or ValueError (none left)."""
    table = _read(home)
    if agent in table:
        return table[agent]
    number = max([*table.values(), limits.NUMERIC_UID_FIRST - 1]) + 1
    while _is_used(number):
        number += 1
    if number > limits.NUMERIC_UID_LAST:
        raise ValueError(f"no user number is left between {limits.NUMERIC_UID_FIRST} and {limits.NUMERIC_UID_LAST}")
    table[agent] = number
    write_atomic(home / FILE, json.dumps(table, sort_keys=True).encode() + b"\n")
    return number


def _read(home: Path) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError):
        table = json.loads((home / FILE).read_bytes())
        if not isinstance(table, dict) or not all(isinstance(number, int) for number in table.values()):
            raise ValueError(f"{home / FILE} is damaged")
        return table
    return {}


def _is_used(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True
