"""The switch from one code to another and back, with every agent left alone.

Invariants: the intent is on disk before anything changes; services.json and `releases/current` change by one rename
each; what does not prove itself is taken back by itself; an interrupted switch is finished or taken back by the next
command, never left in between. Called by `holdfast upgrade`, which lends it the running Holdfast.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.files import sync_directory
from holdfast.node.installation import CURRENT, RELEASES
from holdfast.upgrading import journal
from holdfast.upgrading.journal import Side, Upgrade


class Running(Protocol):
    """The Holdfast of this home."""

    def healthy(self) -> dict[str, int]:
        """Agents that are healthy now, with their pids; {} when nothing runs."""

    def renew(self, services: str) -> None:
        """Have init, keeper and logger run what `services` names. Raises HoldfastError: agents run on either way."""

    def proven(self, services: str, agents: Mapping[str, int]) -> str:
        """Wait until the new keeper answers steadily and these agents are the same; else the reason."""


def switch(home: Path, running: Running, to: Side, former: Side, say: Callable[[str], None]) -> None:
    """Raises UPGRADE_FAILED when `to` did not prove itself and `former` runs again; UPGRADE_STUCK when neither does."""
    begun = Upgrade(step="switching", to=to, former=former, agents=running.healthy(), before=journal.raw(home))
    journal.save(home, begun)
    _forward(home, running, begun, say)


def settle(home: Path, running: Running, say: Callable[[str], None]) -> bool:
    """Finish what an interrupted upgrade left. True when there was one. Raises as `switch`."""
    found = journal.load(home)
    if found is None or found.step == "done":
        return False
    say(f"an upgrade to {found.to.words} was interrupted; finishing it")
    if found.step == "switching":
        _forward(home, running, found, say)
    else:
        _back(home, running, found)
    return True


def _forward(home: Path, running: Running, upgrade: Upgrade, say: Callable[[str], None]) -> None:
    try:
        running.renew(upgrade.to.services)
        reason = running.proven(upgrade.to.services, upgrade.agents)
    except HoldfastError as error:
        reason = error.summary
    if not reason:
        try:
            point(home, upgrade.to.release)
        except OSError as error:
            reason = f"{RELEASES}/{CURRENT} cannot be written: {error.strerror or error}"
    if reason:
        say(f"{reason}; going back to {upgrade.former.words}")
        upgrade = msgspec.structs.replace(upgrade, step="going back", reason=reason)
        journal.save(home, upgrade)
        _back(home, running, upgrade)
        raise HoldfastError(errors.UPGRADE_FAILED, release=upgrade.to.words, reason=reason, former=upgrade.former.words)
    journal.save(home, msgspec.structs.replace(upgrade, step="done", before=None))


def _back(home: Path, running: Running, upgrade: Upgrade) -> None:
    """Idempotent. Raises UPGRADE_STUCK; the journal stays, so that the next command tries again."""
    try:
        point(home, upgrade.former.release)
        running.renew(upgrade.former.services)
        reason = running.proven(upgrade.former.services, {})
    except (HoldfastError, OSError) as error:
        reason = error.summary if isinstance(error, HoldfastError) else str(error)
    if reason:
        raise HoldfastError(
            errors.UPGRADE_STUCK, release=upgrade.to.words, former=upgrade.former.words, reason=reason, home=home
        )
    journal.put_back(home, upgrade.before)


def point(home: Path, release: str) -> None:
    """`releases/current` to this release, by one rename; "" takes the link away."""
    link = home / RELEASES / CURRENT
    if not release:
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
            sync_directory(link.parent)
        return
    made = link.with_name(f".{CURRENT}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        made.unlink()
    made.symlink_to(release)
    os.replace(made, link)
    sync_directory(link.parent)


def judge(before: Mapping[str, int], now: Mapping[str, int | None]) -> str:
    """What happened to agents that were healthy before, in words; "" when all are the same processes. Pure."""
    moved = [name for name, pid in before.items() if name in now and now[name] != pid]
    gone = [name for name in before if name not in now]
    parts = [f"restarted meanwhile: {', '.join(sorted(moved))}"] if moved else []
    parts += [f"no longer known: {', '.join(sorted(gone))}"] if gone else []
    return "; ".join(parts)
