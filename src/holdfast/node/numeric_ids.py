"""User numbers for agents where no system user can be made: one each, never shared, recorded in HOME/users.

One line an agent, `NUMBER NAME`, only ever appended. A number is looked for from the hash of home and name on, so that
a line lost in a power failure is found again as it was; lines are therefore not synced one by one, which would hold up
the first start of a large fleet. Called by `users` alone, as root.
"""

from __future__ import annotations

import os
import pwd
import zlib
from pathlib import Path

from holdfast import limits

FILE = "users"


def known(home: Path, agent: str) -> bool:
    """Raises ValueError when the record is damaged."""
    return agent in _read(home)


def take(home: Path, agent: str) -> int:
    """The agent's number; a new one is recorded before it is used. Raises OSError; ValueError: damaged or none left."""
    table = _read(home)
    if agent in table:
        return table[agent]
    number = _free(f"{home} {agent}", set(table.values()))
    line = f"{number} {agent}\n".encode()
    fd = os.open(home / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        length = os.fstat(fd).st_size
        try:
            written = os.write(fd, line)
        except OSError:
            written = -1
        if written != len(line):  # no room: nothing half-written stays
            os.ftruncate(fd, length)
            raise OSError(f"there is no room to record its user number in {home / FILE}")
    finally:
        os.close(fd)
    return number


def _free(key: str, taken: set[int]) -> int:
    span = limits.NUMERIC_UID_LAST - limits.NUMERIC_UID_FIRST + 1
    start = zlib.crc32(os.fsencode(key)) % span
    for step in range(span):
        number = limits.NUMERIC_UID_FIRST + (start + step) % span
        if number not in taken and not _is_used(number):
            return number
    raise ValueError(f"no user number is left between {limits.NUMERIC_UID_FIRST} and {limits.NUMERIC_UID_LAST}")


def _read(home: Path) -> dict[str, int]:
    try:
        text = (home / FILE).read_text()
    except FileNotFoundError:
        return {}
    table: dict[str, int] = {}
    for line in text.splitlines():
        number, _, agent = line.partition(" ")
        if not number.isdecimal() or not agent:
            raise ValueError(f"{home / FILE} is damaged: {line!r}")
        table[agent] = int(number)
    return table


def _is_used(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True
