"""Keeps the logs of Holdfast's own processes, HOME/log/*.log, small: cut in place, as much again is kept compressed.

Invariant: as for agents' files (cutting.py): killed at any step nothing is lost, and a file that somebody writes
without appending is left alone. Called by archivist.py in each of its passes.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast import limits
from holdfast.logs import capped, cutting, helper, writers


def keep(directory: Path, cap_bytes: int = limits.OWN_LOG_BYTES) -> None:
    """One pass. Never raises for what it meets; what cannot be cut is told in the logger's own log."""
    try:
        found = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in sorted(os.listdir(found)):
            if name.endswith(".log"):
                _keep(found, name, cap_bytes)
    finally:
        os.close(found)


def _keep(directory: int, name: str, cap_bytes: int) -> None:
    try:
        fd = cutting.open_log(directory, name, os.geteuid(), os.O_RDONLY)
        try:
            status = os.fstat(fd)
            if status.st_size <= cap_bytes:
                return
            written, identity = writers.is_written(fd), (status.st_dev, status.st_ino)
        finally:
            os.close(fd)
        openers = writers.find({identity: name}, (os.geteuid(), 0))[identity] if written is not False else []
        why = capped.waits_for(written, openers)
        if why:
            helper.tell("archivist", f"{name} is larger than {cap_bytes} bytes: {why}")
            return
        cutting.cut(directory, name, os.geteuid(), cap_bytes)
    except cutting.Unfit as unfit:
        helper.tell("archivist", f"{name}: {unfit}")
    except OSError as error:
        helper.tell("archivist", f"{name}: {error.strerror}")
