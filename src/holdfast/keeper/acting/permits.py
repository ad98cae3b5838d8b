"""What init may restart without asking: triage's terms, and the state of the guarded files they hold for.

Invariant: an unchanged situation gives an unchanged permit, so init is told only when something changed.
Called by hands.py.
"""

from __future__ import annotations

import os
from typing import Any
from zlib import crc32

from msgspec import Struct

from holdfast.healing import triage
from holdfast.healing.model import Ladder, Policy
from holdfast.spec.model import AgentSpec


class Permit(Struct, frozen=True, kw_only=True):
    """As init takes it. `instance` and `while_running` fence it, see healing.model.PermitTerms."""

    delays_s: tuple[float, ...] = ()
    not_before_mono: float = 0.0
    ask_codes: tuple[int, ...] = ()
    guarded: dict[str, list[int] | None] = {}
    instance: int = 0
    while_running: bool = False


def compute(
    spec: AgentSpec, policy: Policy, ladder: Ladder, now_mono: float, *, may_look: bool = True
) -> Permit | None:
    """The permit of an agent now, None: leave init the one it has. Looks at its guarded files.

    Not `may_look`: they may hold up whoever looks, init as well, so init is to ask before each restart.
    """
    terms = triage.permit(ladder, policy, now_mono, jitter_of(spec.name))
    if terms is None:
        return None
    if not may_look:
        return Permit(ask_codes=spec.ask_codes, instance=terms.instance, while_running=terms.while_running)
    return Permit(
        delays_s=tuple(round(delay_s, 3) for delay_s in terms.delays_s),
        not_before_mono=terms.not_before_mono if terms.not_before_mono > now_mono else 0.0,
        ask_codes=spec.ask_codes,
        guarded=stat_files(spec.guarded_files),
        instance=terms.instance,
        while_running=terms.while_running,
    )


def same(held: Permit | None, wanted: Permit) -> bool:
    """Whether init need not be told. The instance only fences the message; who hears of an end forgets `held`."""
    return held is not None and (held.delays_s, held.not_before_mono, held.ask_codes, held.guarded) == (
        wanted.delays_s,
        wanted.not_before_mono,
        wanted.ask_codes,
        wanted.guarded,
    )


def message(permit: Permit) -> dict[str, Any]:
    """The permit in the words of init/protocol.py."""
    return {
        "delays_s": list(permit.delays_s),
        "not_before_mono": permit.not_before_mono,
        "ask_codes": list(permit.ask_codes),
        "guarded": permit.guarded,
    }


def jitter_of(name: str) -> float:
    """In [0, 1): an agent's own, and always the same."""
    return crc32(name.encode()) / 2**32


def stat_files(paths: tuple[str, ...]) -> dict[str, list[int] | None]:
    """Each path's modification time (ns), size and inode; None when it is absent."""
    found: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found[path] = None
        else:
            found[path] = [status.st_mtime_ns, status.st_size, status.st_ino]
    return found
