"""The second place of an agent's snapshots: `state.store` as a Store, a bucket or a directory on another disk.

Invariants: a directory is only used while it is there and, once it was on a disk of its own, only while it is still on
another one (a disk that is not mounted leaves an empty directory behind, which must not be filled); what is read comes
from this machine first. Called by the worker's jobs, by rebuild.py and upload.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.state.second_place.remote_store import RemoteStore
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Store, StoreError

AGENTS = "agents"


def is_bucket(url: str) -> bool:
    return "://" in url


def open_agent(url: str, agent: str) -> Store:
    """The place of `agent` below `url`. Nothing is asked of a bucket yet. Raises StoreError."""
    if is_bucket(url):
        return RemoteStore(f"{url.rstrip('/')}/{AGENTS}/{agent}")
    root = _directory(url)
    place = root / AGENTS / agent
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"{place} cannot be made: {error.strerror}", lasting=True) from error
    return LocalStore(place)


def look_at(url: str, agent: str) -> Store:
    """As `open_agent`, for reading: makes nothing. Raises StoreError."""
    if is_bucket(url):
        return open_agent(url, agent)
    place = _directory(url) / AGENTS / agent
    if not place.is_dir():
        raise StoreError(f"{place} is not there: is its disk mounted?")
    return LocalStore(place)


def agents_there(url: str) -> list[str]:
    """Names of all agents that have snapshots below `url`. Raises StoreError."""
    if is_bucket(url):
        return RemoteStore(url).folders(f"{AGENTS}/")
    root = _directory(url) / AGENTS
    try:
        return sorted(entry.name for entry in os.scandir(root) if (root / entry.name / "config").is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{root} cannot be read: {error.strerror}", lasting=True) from error


def on_other_disk(url: str, home: Path) -> bool:
    """Whether losing the disk of `home` would leave the second place alone. Raises StoreError where it is missing."""
    return is_bucket(url) or _directory(url).stat().st_dev != home.stat().st_dev


def _directory(text: str) -> Path:
    root = Path(text)
    if not root.is_absolute():
        raise StoreError(f"{text} is neither a bucket's URL nor an absolute directory", lasting=True)
    if not root.is_dir():
        raise StoreError(f"{root} is not there: make that directory, or mount its disk", lasting=True)
    return root
