"""What can go wrong, drawn from one seed: a policy and a list of timed faults. Any sublist replays on its own."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from holdfast.healing.model import Policy

KINDS: tuple[tuple[str, int], ...] = (
    ("crash", 14),
    ("crash_loop", 14),
    ("exit_zero", 8),
    ("hang", 9),
    ("refuse", 8),
    ("failing", 6),
    ("blip", 7),
    ("foreign", 5),
    ("slow_start", 8),
    ("spawn_fail", 5),
    ("starve", 7),
    ("degraded", 12),
    ("stop", 7),
    ("start", 8),
    ("restart", 7),
    ("keeper_kill", 12),
    ("init_kill", 7),
    ("reboot", 3),
    ("lag", 5),
    ("guard_change", 5),
    ("lost_event", 3),
    ("noise", 14),
    ("stopped_crash", 3),
    ("quiet", 4),
)
_NAMES = [name for name, _ in KINDS]
_WEIGHTS = [weight for _, weight in KINDS]
# Episodes have a theme: mostly any one kind, else one of these that bring about what seldom comes by chance.
THEMES: tuple[list[str], ...] = (
    [],
    ["lost_event", "crash", "crash_loop", "exit_zero", "keeper_kill"],
    ["reboot", "exit_zero", "start", "restart", "lag", "hang"],
    ["degraded", "degraded", "crash", "hang", "refuse", "spawn_fail", "restart"],
)


class Fault(NamedTuple):
    at_s: float
    kind: str
    x: float  # three numbers in [0, 1) from which the fault's parameters follow
    y: float
    z: float


class Plan(NamedTuple):
    policy: Policy
    faults: tuple[Fault, ...]
    seed: str


def draw(seed: str) -> Plan:
    """One episode: a policy and some dozens of faults."""
    random = Random(seed)
    theme = random.choices(THEMES, (70, 10, 10, 10))[0] or random.choices(_NAMES, _WEIGHTS)
    policy = draw_policy(random)
    if theme is THEMES[2]:
        policy = replace(policy, once=True)
    at = 0.0
    faults = []
    for _ in range(random.randint(8, 48)):
        at += gap(random)
        kind = random.choice(theme) if random.random() < 0.3 else random.choices(_NAMES, _WEIGHTS)[0]
        faults.append(Fault(at, kind, random.random(), random.random(), random.random()))
    return Plan(policy, tuple(faults), seed)


def gap(random: Random) -> float:
    """Mostly close together, now and then a healthy window."""
    r = random.random()
    if r < 0.35:
        return random.random() * 1.0
    if r < 0.7:
        return random.random() * 30.0
    if r < 0.95:
        return random.random() * 300.0
    return random.random() * 3000.0


def draw_policy(random: Random) -> Policy:
    pick = random.random
    return Policy(
        backoff_s=(0.0, 10.0, 60.0) if pick() < 0.8 else tuple(sorted(pick() * 20 for _ in range(random.randint(0, 5)))),
        window_s=900.0 if pick() < 0.8 else 60.0 + pick() * 2000,
        spacing_s=0.0 if pick() < 0.6 else pick() * 150,
        retry_s=300.0 if pick() < 0.8 else 20.0 + pick() * 600,
        confirm_s=60.0 if pick() < 0.8 else pick() * 100,
        start_deadline_s=30.0 if pick() < 0.6 else 5.0 + pick() * 400,
        stop_grace_s=30.0 if pick() < 0.7 else pick() * 300,
        once=pick() < 0.25,
        has_gate=pick() < 0.75,
        restore_available=pick() < 0.15,
    )


def parameter(low: float, high: float, x: float) -> float:
    """From x in [0, 1) to [low, high), small values likelier."""
    return low + (high - low) * x * x
