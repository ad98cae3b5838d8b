"""What the keeper asks of the logger and what the logger tells the keeper: files in HOME/logger.

Invariant: each file is replaced whole; what cannot be read changes nothing. The logger reads `limits` and writes
`facts.json` by hand, because importing json costs it a megabyte; its helper processes read `settings.json` (wanted.py).
Standard library only. Called by logger.py, crew.py and keeper/watching/log_settings.py.
"""

from __future__ import annotations

import os

from holdfast import limits

DIRECTORY = "logger"
LIMITS, FACTS, SETTINGS = "limits", "facts.json", "settings.json"
HEAD = "holdfast-logger 1"
SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.@ABCDEFGHIJKLMNOPQRSTUVWXYZ")

Limit = tuple[int, int, int]  # bytes of one file, files, lines a second (0: no bound)
DEFAULT: Limit = (limits.LOG_FILE_BYTES, limits.LOG_FILES, 0)


def pack(wanted: dict[str, Limit], helpers: tuple[str, ...]) -> bytes:
    """The text of `limits`. `helpers`: names of the long-lived helper processes that have something to do."""
    lines = [HEAD, " ".join(("helpers", *helpers))]
    lines += [f"{agent} {size} {files} {rate}" for agent, (size, files, rate) in wanted.items()]
    return ("\n".join(lines) + "\n").encode()


def unpack(text: str) -> tuple[dict[str, Limit], tuple[str, ...]] | None:
    """Inverse of `pack`; None when it is something else. Lines that cannot be understood are left out."""
    lines = text.split("\n")
    if lines[0] != HEAD:
        return None
    found: dict[str, Limit] = {}
    helpers: tuple[str, ...] = ()
    for line in lines[1:]:
        words = line.split(" ")
        if words[0] == "helpers":
            helpers = tuple(word for word in words[1:] if word)
        elif len(words) == 4 and all(word.isascii() and word.isdigit() for word in words[1:]):
            size, files, rate = (int(word) for word in words[1:])
            found[words[0]] = (max(4096, size), max(1, files), rate)
    return found, helpers


def read(home: str) -> tuple[dict[str, Limit], tuple[str, ...]] | None:
    """What stands in HOME/logger/limits; None when nothing usable does."""
    try:
        with open(os.path.join(home, DIRECTORY, LIMITS), encoding="ascii") as file:
            return unpack(file.read())
    except (OSError, ValueError):
        return None


def write_facts(home: str, throttled: dict[str, tuple[int, float]]) -> None:
    """`throttled`: agent to (its bound in lines a second, seconds it was held back). Best effort: facts come again."""
    told = [
        f'"{agent}":{{"rate_lines_s":{rate},"waited_s":{waited_s:.1f}}}'
        for agent, (rate, waited_s) in sorted(throttled.items())
        if SAFE.issuperset(agent)
    ]
    path = os.path.join(home, DIRECTORY, FACTS)
    partial = path + ".partial"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            data = f'{{"version":1,"throttled":{{{",".join(told)}}}}}\n'.encode()
            whole = os.write(fd, data) == len(data)
        finally:
            os.close(fd)
        if whole:
            os.rename(partial, path)
    except OSError:
        pass


def read_facts(path: str | os.PathLike[str], key: str) -> dict[str, object]:
    """What is told under `key`, by agent; nothing when it cannot be read. For the keeper, not for the logger."""
    import json

    try:
        with open(path, "rb") as file:
            found = json.load(file)[key]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
