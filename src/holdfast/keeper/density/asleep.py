"""What is kept and shown of an agent that sleeps because it had nothing to do. Data only.

Made by sleeping.py; kept in the agent's durable memory; shown by the views.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

How = Literal["freeze", "stop"]


class Asleep(Struct, frozen=True, kw_only=True):
    """The durable word: this instance was put to sleep, in this way, and on these addresses it is called."""

    how: How
    instance: int
    at: float  # wall clock
    why: str
    before_bytes: int = 0  # what it used then
    by_hand: bool = False  # a person wanted it, whatever it declares
    addresses: tuple[str, ...] = ()  # HOST:PORT on which it listened; kept for the stopped kind alone


class RestView(Struct, kw_only=True):
    """What `ps` and `describe` show. `asleep`: "", "frozen" or "stopped"."""

    asleep: Literal["", "frozen", "stopped"] = ""
    since_at: float | None = None
    why: str = ""  # why it sleeps, or why it woke last
    saved_bytes: int | None = None  # by the present sleep, or the last one
    wake_s: float | None = None  # how long its last wake-up took, from the reason to its answer
    awake: str = ""  # why one that may fall asleep by itself does not, as of the last look; one clause


def shown(known: Asleep, wake_s: float | None = None) -> RestView:
    """As it falls asleep; `wake_s` of its last wake-up."""
    stopped = known.how == "stop"
    return RestView(
        asleep="stopped" if stopped else "frozen",
        since_at=known.at,
        why=known.why,
        saved_bytes=known.before_bytes if stopped else None,
        wake_s=wake_s,
    )
