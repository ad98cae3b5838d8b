"""The durable intent of an adoption: HOME/adoption/AGENT.json, replaced atomically before and after every step.

Invariant: whatever kills us, the file says which steps were begun, so that the next command finishes or undoes exactly
those. Files here are readable by their owner alone. Called by apply.py, undo.py and `holdfast adopt`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from holdfast import errors
from holdfast.adoption.model import Adoption
from holdfast.errors import HoldfastError
from holdfast.files import sync_directory, write_atomic
from holdfast.home import Home

DIRECTORY = "adoption"


class Journal:
    """One adoption on disk."""

    def __init__(self, home: Home, adoption: Adoption) -> None:
        self.directory = directory(home)
        self.home = home
        self.adoption = adoption

    def save(self) -> None:
        """Raises HOME_UNUSABLE: then nothing was begun."""
        write(self.directory / f"{self.adoption.agent}.json", msgspec.json.format(msgspec.json.encode(self.adoption)))

    def begin(self, step: str) -> None:
        if step not in self.adoption.begun:
            self.adoption.begun.append(step)
        self.save()

    def end(self, step: str) -> None:
        if step not in self.adoption.done:
            self.adoption.done.append(step)
        self.save()

    def turn(self, reason: str) -> None:
        """From here on it is undone, and nothing else."""
        self.adoption.direction = "undo"
        self.adoption.reason = reason
        self.adoption.finished = False
        self.adoption.done = []
        self.save()

    def forget(self) -> None:
        """Undone: all of it goes but the copy of the former holdfast.yaml."""
        for suffix in (".json", ".env", ".former.env"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.directory / f"{self.adoption.agent}{suffix}")
        with contextlib.suppress(OSError):
            sync_directory(self.directory)


def directory(home: Home) -> Path:
    return home.path / DIRECTORY


def write(path: Path, data: bytes) -> None:
    """A file of ours, durable. Raises HOME_UNUSABLE."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=path.parent, reason=error.strerror or error) from error


def load(home: Home) -> list[Adoption]:
    """All adoptions of this home, unfinished ones first. An unreadable one is an error, not an absence."""
    found = []
    for path in sorted(directory(home).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Adoption))
        except (OSError, msgspec.DecodeError) as error:
            raise HoldfastError(errors.HOME_UNUSABLE, home=path, reason=error) from error
    return sorted(found, key=lambda one: one.finished)
