"""Bugs planted into the RAM semaphore on purpose: the campaign must catch each of them, else it proves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from holdfast import limits
from holdfast.density import admission, braking, coming_back, leases, needs, semaphore, shedding
from holdfast.density.model import Action, ComeBack, Kill, Phase, Thaw
from tests.simulation.checker import Violation
from tests.simulation.density_campaign import lived

Patch = tuple[Any, str, Any]
EPISODES = 400  # a bug that survives so many fleets is not caught


def _without(kind: type[Action]) -> list[Patch]:
    real = semaphore.decide

    def decide(*args: Any) -> Any:
        state, actions = real(*args)
        return state, tuple(act for act in actions if not isinstance(act, kind))

    return [(semaphore, "decide", decide)]


def _reversed_victims() -> list[Patch]:
    real = shedding.victims
    return [(shedding, "victims", lambda *args: real(*args)[::-1])]


def _victims_by_size() -> list[Patch]:
    real = shedding.victims
    return [(shedding, "victims", lambda *args: sorted(real(*args), key=lambda one: -one.usage_bytes))]


def _too_much_granted() -> list[Patch]:
    real = leases.grant

    def grant(*args: Any) -> Any:
        found = real(*args)
        more = {name: replace(one, slack_bytes=one.slack_bytes * 2) for name, one in found.leases.items()}
        return found._replace(leases=more)

    return [(leases, "grant", grant)]


def _others_unseen() -> list[Patch]:
    return [(leases, "budget", lambda reading: reading.node_bytes - reading.reserve_bytes)]


def _raised_first() -> list[Patch]:
    real = leases.ceilings

    def ceilings(reading: Any, granted: Any) -> Any:
        there = {seen.name: seen.ceiling_bytes for seen in reading.agents}
        return [act for act in real(reading, granted) if act.bytes is None or act.bytes > (there[act.agent] or 0)]

    return [(leases, "ceilings", ceilings)]


def _queue_by_name() -> list[Patch]:
    real = admission.admit

    def admit(waiting: Any, *args: Any) -> Any:
        line = sorted(waiting, key=lambda one: one.name)
        return real([replace(one, priority=-place) for place, one in enumerate(line)], *args)

    return [(admission, "admit", admit)]


def _room_given_twice() -> list[Patch]:
    real = admission.admit

    def admit(waiting: Any, starting: Any, room: int, *args: Any) -> Any:
        return real(waiting, starting, room * 2, *args)

    return [(admission, "admit", admit)]


def _memory_of_starts_forgotten() -> list[Patch]:
    real = leases.wanted

    def wanted(seen: Any, *args: Any) -> Any:
        return real(replace(seen, phase=Phase.RUNNING) if seen.phase is Phase.STARTING else seen, *args)

    return [(leases, "wanted", wanted)]


def _crash_forgets_frozen() -> list[Patch]:
    return [(semaphore, "_may_be_frozen", lambda seen, held: True)]


BUGS: dict[str, Callable[[], list[Patch]]] = {
    "the_most_important_goes_first": _reversed_victims,
    "the_biggest_goes_first": _victims_by_size,
    "twice_the_slack_is_granted": _too_much_granted,
    "memory_of_others_is_not_seen": _others_unseen,
    "ceilings_are_never_lowered": _raised_first,
    "nobody_is_protected": lambda: [(leases, "protected", lambda reading: frozenset())],
    "nobody_is_ever_shed": lambda: [(shedding, "choose", lambda *args: None)],
    "nobody_is_ever_thawed": lambda: _without(Thaw),
    "a_lost_kill_is_not_repeated": lambda: [(shedding, "KILL_AGAIN_S", 1e9)],
    "nobody_is_ever_killed": lambda: _without(Kill),
    "no_memory_is_on_its_way": lambda: [(shedding, "coming", lambda *args: 0)],
    "the_dying_are_waited_for_without_end": lambda: [
        (limits, "DYING_STALL_S", 1e9),
        (limits, "STARVED_LAST_S", 1e9),
    ],
    "shed_at_the_first_hiccup": lambda: [(limits, "STARVED_S", 0.0), (needs, "starved", _hasty(needs.starved))],
    "nobody_comes_back": lambda: _without(ComeBack),
    "back_at_once_each_time": lambda: [(coming_back, "wait_s", lambda sheds, now: 0.0)],
    "back_only_after_an_hour": lambda: [(coming_back, "wait_s", lambda sheds, now: 3600.0)],
    "the_queue_goes_by_name": _queue_by_name,
    "the_room_is_given_twice": _room_given_twice,
    "starts_keep_no_memory_for_themselves": _memory_of_starts_forgotten,
    "who_was_frozen_before_a_crash_stays_so": _crash_forgets_frozen,
    "a_brake_has_no_end": lambda: [(braking, "_over", lambda held, now: False)],
    "equals_never_give_way": lambda: [(limits, "STARVED_MAX_S", 1e9)],
}


def _hasty(real: Any) -> Any:
    def starved(seen: Any, held: Any, lease: Any, bounds: Any, now: float) -> Any:
        found = real(seen, held, lease, bounds, now)
        return found if found.starved_mono is None else replace(found, starved_mono=found.starved_mono - 1.0)

    return starved


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """The rules with one bug in them."""
    patches = BUGS[name]() if name else []
    before = [(place, word, getattr(place, word)) for place, word, _ in patches]
    try:
        for place, word, value in patches:
            setattr(place, word, value)
        yield
    finally:
        for place, word, value in before:
            setattr(place, word, value)


def caught(name: str, seed: str, episodes: int = EPISODES) -> tuple[str, Violation] | None:
    """What catches a bug, in which episode."""
    with planted(name):
        for number in range(episodes):
            _, error = lived(f"{seed}:{number}")
            if error is not None:
                return f"{seed}:{number}", error
    return None
