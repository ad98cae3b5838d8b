"""What can go wrong, drawn from one seed: a policy and a list of timed faults. Any sublist replays on its own."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

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
    ("gap", 3),
    ("noise", 14),
    ("stopped_crash", 6),
    ("quiet", 4),
    ("damaged", 6),
    ("set_aside", 12),
    ("call_back", 4),
    ("memory_death", 6),
)
_NAMES = [name for name, _ in KINDS]
_WEIGHTS = [weight for _, weight in KINDS]
# Episodes have a theme: mostly any one kind, else one of these that bring about what seldom comes by chance.
THEMES: tuple[list[str], ...] = (
    [],
    ["lost_event", "gap", "gap", "crash", "crash_loop", "keeper_kill"],
    ["degraded", "degraded", "gap", "hang", "spawn_fail", "restart", "crash_loop"],
    ["reboot", "exit_zero", "start", "restart", "lag", "hang"],
    ["stop", "exit_zero", "exit_zero", "reboot", "crash_loop", "start"],
    ["set_aside", "set_aside", "call_back", "keeper_kill", "crash_loop", "reboot", "stop"],
    ["set_aside", "set_aside", "restart", "exit_zero", "keeper_kill", "reboot", "init_kill"],
    ["memory_death", "set_aside", "keeper_kill", "crash_loop"],
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
    policy = draw_policy(random)
    if random.random() < 0.1:
        return Plan(*scenes(policy, random), seed)
    theme = random.choices(THEMES, (56, 11, 12, 5, 6, 5, 2, 3))[0] or random.choices(_NAMES, _WEIGHTS)
    if theme in THEMES[3:5] or theme is THEMES[6]:
        policy = replace(policy, once=True)
    return Plan(policy, tuple(some(theme, 0.0, random.randint(8, 48), random)), seed)


def some(theme: list[str], at_s: float, count: int, random: Random) -> list[Fault]:
    """Faults at random, a third of them of the theme."""
    faults = []
    for _ in range(count):
        at_s += gap(random)
        kind = random.choice(theme) if random.random() < 0.35 else random.choices(_NAMES, _WEIGHTS)[0]
        faults.append(Fault(at_s, kind, random.random(), random.random(), random.random()))
    return faults


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


# What chance alone brings about too seldom: (seconds after the one before, from and to; kind; x, y, z or None = any).
Beat = tuple[float, float, str, float | None, float | None, float | None]
SCENES: tuple[tuple[dict[str, Any], tuple[Beat, ...]], ...] = (
    (  # dies unheard while its delayed restart is due, and is back before
        {
            "backoff_s": (0.0, 1.0, 1.0),
            "window_s": 200.0,
            "confirm_s": 9.0,
            "spacing_s": 0.0,
            "has_gate": True,
            "jitter": 1.0,
        },
        ((310, 390, "crash", 0.9, 0.0, 0.5), (4, 5, "refuse", 0.9, None, None), (1.9, 2.0, "gap", 0.9, 0.0, 0.5)),
    ),
    (  # ends well by itself while its delayed restart is due, or the machine does
        {"backoff_s": (0.0, 90.0, 90.0), "window_s": 200.0, "confirm_s": 9.0, "once": True, "has_gate": True},
        (
            (310, 390, "start", None, None, None),
            (30, 35, "crash", 0.9, 0.0, 0.5),
            (5, 6, "refuse", 0.9, None, None),
            (3, 9, "exit_zero", None, None, None),
            (99, 200, "start", None, None, None),
            (30, 40, "crash", 0.9, 0.0, 0.5),
            (5, 6, "refuse", 0.9, None, None),
            (3, 9, "reboot", None, None, None),
        ),
    ),
    (  # degraded, and gone unheard
        {"backoff_s": (0.0, 0.0, 0.0), "window_s": 60.0, "confirm_s": 5.0, "spacing_s": 0.0},
        ((70, 99, "degraded", 0.1, None, None), (1, 9, "gap", 0.9, 0.0, 0.5)),
    ),
    (  # its restart is heard of only by the next exit, when nothing but the alert is left
        {"backoff_s": (5.0,), "window_s": 100.0, "confirm_s": 3.0, "spacing_s": 30.0, "start_deadline_s": 10.0},
        (
            (300, 900, "crash", 0.9, 0.0, 0.5),
            (7, 9, "crash", 0.9, 0.0, 0.5),
            (98, 120, "gap", 0.1, 0.0, 0.9),
            (30, 40, "start", None, None, None),
        ),
    ),
    (  # finished, and a power loss takes the news
        {"once": True, "window_s": 60.0},
        (
            (5, 40, "start", None, None, None),
            (25, 30, "stop", None, 0.1, 0.1),
            (26, 32, "keeper_kill", 0.9, 0.9, 0.9),
            (0.01, 2.0, "exit_zero", None, None, None),
            (0.01, 2.0, "reboot", 0.1, 0.2, None),
        ),
    ),
    (  # a job restarted by a person, whose new instance is heard of only by its end
        {"once": True},
        (
            (1, 9, "start", None, None, None),
            (30, 50, "restart", None, None, None),
            (0.001, 0.04, "gap", 0.1, 0.9, None),
        ),
    ),
    (  # stopped in the middle of a recreation
        {"backoff_s": (), "window_s": 60.0, "confirm_s": 5.0, "spacing_s": 0.0},
        ((70, 99, "crash", 0.9, 0.0, 0.5), (0.01, 1.2, "stop", None, 0.3, 0.1)),
    ),
    (  # the same, and wanted again before that is over
        {"backoff_s": (), "window_s": 60.0, "confirm_s": 5.0, "spacing_s": 0.0, "has_gate": False},
        ((70, 99, "crash", 0.9, 0.0, 0.5), (0.01, 0.3, "stop", None, 0.02, 0.1)),
    ),
    (  # a person's restart finds the command gone, and no budget left
        {"backoff_s": (), "window_s": 300.0, "confirm_s": 3.0, "spacing_s": 0.0},
        (
            (310, 350, "crash", 0.9, 0.0, 0.5),
            (15, 30, "spawn_fail", 0.01, 0.9, None),
            (0.1, 1, "restart", None, None, None),
            (5, 9, "start", None, None, None),
        ),
    ),
    (  # recovers from the last tier, but says that it works less well
        {"backoff_s": (), "window_s": 60.0, "confirm_s": 4.0, "retry_s": 20.0, "spacing_s": 0.0},
        (
            (70, 99, "crash", 0.9, 0.0, 0.5),
            (2, 3, "crash", 0.9, 0.0, 0.5),
            (23.3, 27, "degraded", 0.1, None, None),
        ),
    ),
)


def scenes(policy: Policy, random: Random) -> tuple[Policy, tuple[Fault, ...]]:
    """One scene over and over, then a few faults at random."""
    numbers, beats = random.choice(SCENES)
    policy = replace(policy, **{"once": False, **numbers})
    faults: list[Fault] = []
    at_s = 0.0
    for _ in range(random.randint(3, 8)):
        for low, high, kind, *given in beats:
            at_s += low + (high - low) * random.random()
            x, y, z = (random.random() if number is None else number for number in given)
            faults.append(Fault(at_s, kind, x, y, z))
    return policy, tuple(faults + some(["quiet"], at_s, random.randint(0, 8), random))


def draw_policy(random: Random) -> Policy:
    pick = random.random
    delays = tuple(sorted(pick() * 20 for _ in range(random.randint(0, 5))))
    return Policy(
        backoff_s=delays if pick() < 0.2 else (0.0, 10.0, 60.0),
        window_s=900.0 if pick() < 0.8 else 60.0 + pick() * 2000,
        spacing_s=0.0 if pick() < 0.6 else pick() * 150,
        retry_s=300.0 if pick() < 0.8 else 20.0 + pick() * 600,
        confirm_s=60.0 if pick() < 0.8 else pick() * 100,
        start_deadline_s=30.0 if pick() < 0.6 else 5.0 + pick() * 400,
        stop_grace_s=30.0 if pick() < 0.7 else pick() * 300,
        once=pick() < 0.25,
        has_gate=pick() < 0.75,
        restore_available=pick() < 0.4,
    )


def parameter(low: float, high: float, x: float) -> float:
    """From x in [0, 1) to [low, high), small values likelier."""
    return low + (high - low) * x * x
