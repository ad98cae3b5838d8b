"""What must hold of agents that are set aside, and of deaths for memory. Called by checker.py with each decision.

aside          who is aside is wanted, stops or is down, and nothing of it is started, healed or told
aside_free     being set aside, coming back and dying meanwhile touch no budget, no incident and no tier
called_back    who was called back is no longer aside, nor is the shed after a reboot
memory_again   a second death for memory in the window is never answered by a restart alone
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.healing import actions, restart
from holdfast.healing import model as m
from holdfast.healing.model import ASIDE_PHASES, Ladder, Phase, Policy, Tier

Fail = Callable[[str, str], None]
WORDS = (m.SetAside, m.CalledBack, m.Commanded)  # looked at even if they changed nothing
_NEVER = (actions.Start, actions.RestartTree, actions.Recreate, actions.Restore, actions.OpenIncident, actions.Alert)


def decided(old: Ladder, seen: Any, new: Ladder, acts: tuple[Any, ...], policy: Policy, now: float, fail: Fail) -> None:
    kind = type(seen)
    if new.aside:
        _aside(new, seen, acts, fail)
    elif new.phase in ASIDE_PHASES:
        fail("aside", f"{new.phase}, but not aside, after {seen!r}")
    if kind is m.SetAside:
        if old.wanted and not new.aside:
            fail("aside", f"{seen!r} is not heeded in {old.phase}")
    elif old.aside and kind in (m.CalledBack, m.Commanded) and new.aside:
        fail("called_back", f"still aside after {seen!r} in {old.phase}")
    elif new.aside and not old.aside:
        fail("aside", f"set aside by {seen!r}")
    elif old.aside and not new.aside and not _may_end(kind, old, new):
        fail("aside", f"no longer aside after {seen!r}")
    if kind is m.NodeBooted and new.aside == "shed":
        fail("called_back", "still shed after a reboot")
    if kind in (m.SetAside, m.CalledBack) or (kind is m.Exited and old.aside and seen.instance == old.instance):
        _free(old, seen, new, fail)
    if kind is m.Exited and seen.memory:
        _again(old, seen, new, policy, now, fail)


def _may_end(kind: type, old: Ladder, new: Ladder) -> bool:
    rebooted = kind is m.NodeBooted and old.aside == "shed"
    return kind in (m.CalledBack, m.Commanded) or new.phase is Phase.FINISHED or rebooted


def _aside(new: Ladder, seen: Any, acts: tuple[Any, ...], fail: Fail) -> None:
    if not new.wanted or new.phase not in (Phase.STOPPING, Phase(new.aside)):
        fail("aside", f"{new.phase}, wanted={new.wanted}, aside={new.aside} after {seen!r}")
    if new.phase is not Phase.STOPPING and (new.running or new.due_mono is not None):
        fail("aside", f"running={new.running} due={new.due_mono} in {new.phase} after {seen!r}")
    for act in acts:
        if type(act) in _NEVER:
            fail("aside", f"{act!r} of one that is aside, on {seen!r}")


def _free(old: Ladder, seen: Any, new: Ladder, fail: Fail) -> None:
    """A restart that was under way when it was set aside may come to pass still: it is counted by then."""
    taken = old.phase is Phase.RECOVERING and old.pending is Tier.RESTART
    charged = len(new.restarts_mono) - len(old.restarts_mono)
    if new.phase is Phase.FINISHED:
        return
    if charged not in (0, int(taken)):
        fail("aside_free", f"{charged} restarts were charged by {seen!r} in {old.phase}")
    before = (old.recreated_mono, old.restored_mono, old.quiet_tries, old.incident, old.tier, old.alerted)
    if (new.recreated_mono, new.restored_mono, new.quiet_tries, new.incident, new.tier, new.alerted) != before:
        fail("aside_free", f"{seen!r} in {old.phase} changed what counts: {old!r} -> {new!r}")


def _again(old: Ladder, seen: m.Exited, new: Ladder, policy: Policy, now: float, fail: Fail) -> None:
    """One whose restart is on its way already is not looked at: that goes on."""
    fell = old.running and old.instance == seen.instance and not seen.expected
    known = fell and old.pending is not Tier.RESTART and restart.memory_deaths(old, policy, now)
    if known and new.pending is Tier.RESTART:
        fail("memory_again", f"a restart follows {seen!r} in {old.phase}")


def by_permit(phase: Phase, fail: Fail) -> None:
    """init restarted it without asking."""
    if phase in ASIDE_PHASES:
        fail("aside", f"init restarted it by its permit while {phase}")


def permitted(state: Ladder, policy: Policy, now: float, fail: Fail) -> None:
    """Restarts were permitted."""
    if state.aside or state.phase in ASIDE_PHASES:
        fail("permit", f"restarts permitted of one that is aside ({state.phase})")
    if restart.memory_deaths(state, policy, now):
        fail("permit", "restarts permitted after a death for memory")


def at_rest(ladder: Ladder, alive: bool, init_state: str, fail: Fail) -> bool:
    """True when it is aside, and as it should be."""
    if not ladder.aside:
        return False
    if ladder.phase is not Phase(ladder.aside) or alive:
        fail("at_rest", f"aside, but {ladder.phase}, alive={alive}, init {init_state}")
    return True
