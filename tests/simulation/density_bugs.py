"""Bugs planted into the RAM semaphore on purpose: the campaign must catch each of them, else it proves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from holdfast import limits
from holdfast.density import (
    admission,
    braking,
    coming_back,
    easing,
    hibernation,
    leases,
    needs,
    replicas,
    semaphore,
    shedding,
)
from holdfast.density.model import Action, ComeBack, Kill, PageOut, Phase, Protect, Thaw
from tests.simulation.checker import Violation
from tests.simulation.density_campaign import lived
from tests.simulation.density_plan import USUAL, Odds

Patch = tuple[Any, str, Any]
EPISODES = 100  # a bug that survives so many fleets of its ground is not caught


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


def _breath_for_each() -> list[Patch]:
    real = leases.breath

    def breath(missing: Any, *args: Any) -> dict[str, int]:
        return {name: real({name: size}, *args)[name] for name, size in missing.items()}

    return [(leases, "breath", breath)]


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


def _seen_as(where: Any, word: str, **changed: Any) -> list[Patch]:
    """A rule that is not told something of the agent."""
    real = getattr(where, word)
    return [(where, word, lambda seen, *args: real(replace(seen, **changed), *args))]


def _line_without_the_shed() -> list[Patch]:
    real = admission.admit
    return [(admission, "admit", lambda waiting, *args: real([one for one in waiting if not one.returns], *args))]


def _former_instances_count() -> list[Patch]:
    real = semaphore.decide

    def decide(state: Any, reading: Any, now: float) -> Any:
        return real(state, replace(reading, agents=tuple(replace(one, instance=0) for one in reading.agents)), now)

    return [(semaphore, "decide", decide)]


def _node_as_at_first() -> list[Patch]:
    """The keeper never looks at `node:` again."""
    real, first = semaphore.decide, {}

    def decide(state: Any, reading: Any, now: float) -> Any:
        names = tuple(one.name for one in reading.agents)
        if now == 0.0:
            first["size"] = (reading.node_bytes, reading.reserve_bytes)
        node, reserve = first["size"]
        more = max(0, node - reading.node_bytes) if names else 0
        told = replace(reading, node_bytes=node, reserve_bytes=reserve, available_bytes=reading.available_bytes + more)
        return real(state, told, now)

    return [(semaphore, "decide", decide)]


def _patience_of_others_counts() -> list[Patch]:
    def want_mono(state: Any, reading: Any, free: int, now: float) -> Any:
        kept_out = reading.want is not None and reading.want.need_bytes > free
        return (now - 1e3 if state.want_mono is None else state.want_mono) if kept_out else None

    return [(semaphore, "_want_mono", want_mono)]


def _paging_at_work() -> list[Patch]:
    def softest(seen: Any, swap: int, missing: int) -> Any:
        return PageOut(agent=seen.name) if swap >= seen.usage_bytes else None

    return [(easing, "_softest", softest)]


def _swap_without_end() -> list[Patch]:
    real = easing._softest
    return [(easing, "_softest", lambda seen, swap, missing: real(seen, 1 << 60, missing))]


def _more_replicas_than_fit() -> list[Patch]:
    real = replicas.decide
    return [(replicas, "decide", lambda known, bounds, depth, fits, *args: real(known, bounds, depth, 99, *args))]


def _more_replicas_than_allowed() -> list[Patch]:
    def wish(bounds: Any, depth: float) -> int:
        return int(depth)

    return [(replicas, "wish", wish)]


def _any_need_is_its_own() -> list[Patch]:
    real = needs.due

    def due(*args: Any) -> Any:
        return [one._replace(own=True) for one in real(*args)]

    return [(needs, "due", due)]


def _only_who_is_there_counts() -> list[Patch]:
    real = leases.protected

    def protected(reading: Any) -> Any:
        return real(replace(reading, agents=tuple(one for one in reading.agents if one.phase is not Phase.SHED)))

    return [(leases, "protected", protected)]


def _less_important_needs_count() -> list[Patch]:
    return [(needs.Need, "calls_for", lambda need, priority, highest: True)]


def _asleep_means_thawed() -> list[Patch]:
    real = semaphore._may_be_frozen

    def may(seen: Any, held: Any) -> bool:
        return seen.phase is not Phase.HIBERNATING and bool(real(seen, held))

    return [(semaphore, "_may_be_frozen", may)]


def _the_lowest_never_gives_way_to_the_shed() -> list[Patch]:
    real = coming_back.look

    def look(reading: Any, held: Any, room: Any, budget: int, free: int, now: float) -> Any:
        stay = tuple(replace(one, may_shed=False) for one in reading.agents)
        return real(replace(reading, agents=stay), held, room, budget, free, now)

    return [(coming_back, "look", look)]


def _everybody_may_go() -> list[Patch]:
    real = shedding.victims

    def victims(reading: Any, held: Any) -> Any:
        return real(replace(reading, agents=tuple(replace(one, may_shed=True) for one in reading.agents)), held)

    return [(shedding, "victims", victims)]


def _giants_block() -> list[Patch]:
    real = admission.admit

    def admit(waiting: Any, starting: Any, room: int, budget: int, *args: Any) -> Any:
        return real(waiting, starting, room, 1 << 60, *args)

    return [(admission, "admit", admit)]


def _endless_pause() -> list[Patch]:
    """init and we are told another time."""
    return [(limits, "PAUSE_MAX_S", 8.0)]


def _hasty(real: Any) -> Any:
    def starved(seen: Any, held: Any, lease: Any, bounds: Any, now: float) -> Any:
        found = real(seen, held, lease, bounds, now)
        return found if found.starved_mono is None else replace(found, starved_mono=found.starved_mono - 1.0)

    return starved


BUGS: dict[str, Callable[[], list[Patch]]] = {
    "the_most_important_goes_first": _reversed_victims,
    "the_biggest_goes_first": _victims_by_size,
    "twice_the_slack_is_granted": _too_much_granted,
    "memory_of_others_is_not_seen": _others_unseen,
    "ceilings_are_never_lowered": _raised_first,
    "nobody_breathes_when_nothing_is_left": lambda: [(limits, "BREATH_SHARE", 0.0)],
    "breath_takes_all_of_the_reserve": lambda: [(limits, "BREATH_SHARE", 1.0)],
    "each_breathes_as_if_it_were_alone": _breath_for_each,
    "nobody_is_protected": lambda: [(leases, "protected", lambda reading: frozenset())],
    "protection_ends_when_all_others_went": _only_who_is_there_counts,
    "nobody_is_ever_shed": lambda: [(shedding, "choose", lambda *args: None)],
    "nobody_is_ever_thawed": lambda: _without(Thaw),
    "a_lost_kill_is_not_repeated": lambda: [(shedding, "KILL_AGAIN_S", 1e9)],
    "nobody_is_ever_killed": lambda: _without(Kill),
    "no_memory_is_on_its_way": lambda: [(shedding, "coming", lambda *args: 0)],
    "the_dying_are_waited_for_without_end": lambda: [
        (limits, "DYING_STALL_S", 1e9),
        (limits, "STARVED_LAST_S", 1e9),
    ],
    "shed_at_the_first_hiccup": lambda: [(limits, "STARVED_S", 0.0)],
    "a_hiccup_is_said_to_be_old": lambda: [(needs, "starved", _hasty(needs.starved))],
    "nobody_comes_back": lambda: _without(ComeBack),
    "back_at_once_each_time": lambda: [(coming_back, "wait_s", lambda sheds, now: 0.0)],
    "back_only_after_an_hour": lambda: [(coming_back, "wait_s", lambda sheds, now: 3600.0)],
    "the_queue_goes_by_name": _queue_by_name,
    "the_room_is_given_twice": _room_given_twice,
    "starts_keep_no_memory_for_themselves": _memory_of_starts_forgotten,
    "who_was_frozen_before_a_crash_stays_so": _crash_forgets_frozen,
    "a_brake_has_no_end": lambda: [(braking, "_over", lambda held, now: False)],
    "equals_never_give_way": lambda: [(limits, "STARVED_MAX_S", 1e9)],
    # --- equals, floors, and who may never go
    "an_equal_goes_at_once": _any_need_is_its_own,
    "anybody_may_go_for_anybody": _less_important_needs_count,
    "minimums_are_not_kept_free": lambda: _seen_as(leases, "wanted", floor_bytes=0),
    "minimums_do_not_count_among_equals": lambda: _seen_as(shedding, "_outgrown", floor_bytes=0),
    "minimums_are_not_protected": lambda: _seen_as(leases, "protect", floor_bytes=0),
    "nothing_is_protected": lambda: _without(Protect),
    "holdfast_itself_is_shed": _everybody_may_go,
    "what_the_former_instance_had_counts": _former_instances_count,
    # --- the node
    "the_node_stays_as_large_as_at_first": _node_as_at_first,
    "a_pause_is_told_without_end": _endless_pause,
    # --- the queue
    "the_shed_stand_in_no_line": _line_without_the_shed,
    "a_start_inherits_the_patience_of_others": _patience_of_others_counts,
    "whoever_came_in_meanwhile_stays": _the_lowest_never_gives_way_to_the_shed,
    "a_start_larger_than_the_node_is_waited_for": _giants_block,
    # --- soft steps and sleep
    "who_works_is_paged_out": _paging_at_work,
    "more_is_paged_out_than_swap_holds": _swap_without_end,
    "soft_steps_know_no_rest": lambda: [(limits, "SOFT_EVERY_S", 0.0)],
    "who_sleeps_is_thawed": _asleep_means_thawed,
    "nobody_is_ever_woken": lambda: [(hibernation, "wakes", lambda signs, lead_s: "")],
    "who_works_is_put_to_sleep": lambda: [(hibernation, "idle", lambda signs: signs.healthy)],
    "the_woken_sleep_again_at_once": lambda: [(hibernation, "rested", lambda rest, after_s, now: True)],
    # --- replicas
    "more_replicas_than_fit": _more_replicas_than_fit,
    "more_replicas_than_allowed": _more_replicas_than_allowed,
    "replicas_never_go": lambda: [(limits, "REPLICAS_DOWN_S", 1e9)],
    "replicas_go_at_once": lambda: [(limits, "REPLICAS_DOWN_S", 0.0)],
    "replicas_come_without_a_break": lambda: [(limits, "REPLICAS_UP_S", 0.0)],
}


# Where a bug lives that the usual fleets seldom meet: there it is caught within seconds. Without it all of this passes.
GROUND: dict[str, Odds] = {
    "a_lost_kill_is_not_repeated": Odds(calm=0.0, lost=(0.2,), spikes=0.8),
    "who_was_frozen_before_a_crash_stays_so": Odds(calm=0.0, lost=(0.0,), kernels=("none",), deaths=1.0, spikes=1.0),
    "a_brake_has_no_end": Odds(calm=0.0, lost=(0.0,), kernels=("none",), spikes=1.0),
    "the_dying_are_waited_for_without_end": Odds(calm=0.0, spikes=1.0, stalls=(6.0,)),
    "minimums_are_not_kept_free": Odds(calm=0.0, floors=1.0, spikes=1.0),
    "minimums_are_not_protected": Odds(kernels=("v2",), floors=1.0),
    "nothing_is_protected": Odds(kernels=("v2",), floors=1.0),
    "holdfast_itself_is_shed": Odds(calm=0.0, stays=1.0, spikes=1.0),
    "what_the_former_instance_had_counts": Odds(calm=0.0, kernels=("v2",), floors=1.0, crashes=1.0),
    "the_node_stays_as_large_as_at_first": Odds(calm=0.0, sizes=1.0),
    "a_start_larger_than_the_node_is_waited_for": Odds(calm=0.0, giant=1.0),
    "more_is_paged_out_than_swap_holds": Odds(calm=0.0, swap=(0.05,), sleepers=1.0, spikes=1.0),
    "soft_steps_know_no_rest": Odds(calm=0.0, swap=(1.0,), sleepers=1.0, spikes=1.0),
    "whoever_came_in_meanwhile_stays": Odds(
        calm=0.0, shares=((0.7, 1.6),), sizes=1.0, spikes=1.0, sleepers=0.0, crew=0.0, giant=0.0, kernels=("v2",)
    ),
    "replicas_never_go": Odds(crew=1.0),
    "replicas_go_at_once": Odds(crew=1.0),
    "replicas_come_without_a_break": Odds(crew=1.0),
}


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
    """What catches a bug, in which episode. A fleet that fails without the bug, too, proves nothing."""
    odds = GROUND.get(name, USUAL)
    for number in range(episodes):
        fleet = f"{seed}:{number}"
        with planted(name):
            _, error = lived(fleet, odds=odds)
        if error is not None and lived(fleet, odds=odds)[1] is None:
            return fleet, error
    return None
