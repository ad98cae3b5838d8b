"""An agent's place to run, as it was made: what `describe` and doctor show of it. Data only."""

from __future__ import annotations

from msgspec import Struct


class Limit(Struct, frozen=True, kw_only=True):
    """One declared limit. `by`: what holds it; `why`: one clause when nothing does."""

    name: str  # memory, cpus, pids or nofile
    value: float
    held: bool
    by: str = ""
    why: str = ""


class Pod(Struct, frozen=True, kw_only=True):
    """`number` grows with each recreation. `notes`: things a person should know, as {code, message, next}."""

    agent: str
    number: int
    user: str
    uid: int
    user_why: str
    tmpdir: str
    home_dir: str
    cgroup_v2: str | None
    cgroup_v1: tuple[str, ...]
    limits: tuple[Limit, ...]
    notes: tuple[dict[str, str], ...] = ()
