"""What people read: `why` an agent is as it is, and what happens `next`. Pure; one sentence each, tested by tables.

Invariant: never empty for a phase in which something is wrong or under way, and nothing is claimed that the ladder
does not hold. Called by status.py for every row and by the healer for the ledger's texts.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast import limits
from holdfast.healing import restart, restore, setting_aside
from holdfast.healing.model import Ladder, Observation, Phase, Policy, Tier

_TAKEN = "its port is taken by another process"  # as healing/validate.py and triage.py say it

_ASIDE = {
    Phase.SHED: "made room for a more important agent",
    Phase.HIBERNATING: "sleeps: it had nothing to do",
    Phase.SPARE: "is a replica that is not needed now",
}
_ASIDE_NEXT = {
    Phase.SHED: "comes back by itself when there is room",
    Phase.HIBERNATING: "is woken by what needs it",
    Phase.SPARE: "starts when more replicas are needed",
}


class Scene(Struct, frozen=True, kw_only=True):
    """All that the sentences are made from. `exit`: the last death in words; `detail`: the last probe's answer."""

    name: str
    ladder: Ladder
    policy: Policy
    now: float
    exit: str = ""
    detail: str = ""
    asked: bool = False  # whether its endpoint is asked
    doubtful: bool = False  # the last check was not good
    leaving: bool = False
    waits_for: str = ""  # whom its start waits for, one clause
    taken: str = ""  # who was found to hold its port, one clause
    unsure: str = ""  # why its behaviour is unknown, one clause that names the source
    heard: bool = True  # an alert has somewhere to go


def why(scene: Scene) -> str:
    """One sentence on the present state."""
    ladder, phase = scene.ladder, scene.ladder.phase
    match phase:
        case Phase.QUEUED:
            return scene.waits_for or "waits for a start slot"
        case Phase.STARTING:
            return _starting(scene)
        case Phase.HEALTHY:
            word = "healthy" if scene.asked else "running"
            since = ladder.good_since_mono if scene.asked else ladder.started_mono
            doubt = f"; last check: {scene.detail}" if scene.doubtful and scene.detail else ""
            unsure = f"; {scene.unsure}" if scene.unsure else ""
            return f"{word} for {span(scene.now - (since or scene.now))}{doubt}{unsure}"
        case Phase.DEGRADED:
            return f"works less well ({ladder.degraded})"
        case Phase.STOPPING:
            return "is taken out of the fleet" if scene.leaving else _stopping(ladder)
        case Phase.STOPPED:
            return "was stopped on request"
        case Phase.FINISHED:
            return "did its job and ended with 0"
        case Phase.SHED | Phase.HIBERNATING | Phase.SPARE:
            return ladder.aside_text or _ASIDE[phase]
        case Phase.RECOVERING if ladder.pending is Tier.NONE:
            return _validating(scene)
        case Phase.ESCALATED:
            return f"could not be healed: {_trouble(scene)}"
    return _trouble(scene)


def next_step(scene: Scene) -> str:
    """What happens when."""
    ladder, phase = scene.ladder, scene.ladder.phase
    wait = None if ladder.due_mono is None else max(0.0, ladder.due_mono - scene.now)
    match phase:
        case Phase.QUEUED:
            return "starts as soon as that is so" if scene.waits_for else "starts as soon as a slot is free"
        case Phase.STARTING:
            if not ladder.running or ladder.deadline_mono is None:
                return "its start gate is awaited" if ladder.running else "its process is awaited"
            left = span(max(0.0, ladder.deadline_mono - scene.now))
            return f"must be ready in {left}, else {_after_failure(scene)}"
        case Phase.HEALTHY | Phase.DEGRADED:
            return f"if it fails: {_after_failure(scene)}"
        case Phase.UNHEALTHY | Phase.BACKOFF:
            return _due_act(scene, wait)
        case Phase.RECOVERING if ladder.pending is Tier.NONE:
            if wait is None:
                return f"another bad check: {_after_failure(scene)}"
            return f"counts as recovered in {span(wait)}"
        case Phase.RECOVERING:
            return f"{_act_words(ladder.pending)} is under way (tier {int(ladder.pending)})"
        case Phase.STOPPING:
            if ladder.aside:
                return _ASIDE_NEXT[Phase(ladder.aside)]
            return "starts again when it is down" if ladder.wanted else "is killed if it outlives its grace"
        case Phase.SHED | Phase.HIBERNATING | Phase.SPARE:
            return _ASIDE_NEXT[phase]
        case Phase.STOPPED | Phase.FINISHED:
            return f"stays down until `holdfast start {scene.name}`"
    return _next_try(scene, wait)


def _starting(scene: Scene) -> str:
    ladder = scene.ladder
    if not ladder.running:
        return "is being started"
    since = span(scene.now - (ladder.started_mono or scene.now))
    return f"starting for {since}" + (f": {scene.detail}" if scene.detail else "")


def _stopping(ladder: Ladder) -> str:
    if ladder.aside:
        return f"is being stopped ({ladder.aside_text or _ASIDE[Phase(ladder.aside)]})"
    if setting_aside.is_called_back(ladder):
        return "was called back while it was being stopped"
    return "is restarted on request" if ladder.wanted else "is being stopped on request"


def _validating(scene: Scene) -> str:
    ladder = scene.ladder
    if ladder.misbehaves:
        return f"back, but its behaviour is bad again ({', '.join(ladder.blamed)})"
    if ladder.good_since_mono is None:
        return f"back after it {_damaged(ladder.cause)}, but: {scene.detail or 'no good check yet'}"
    return f"back and good for {span(scene.now - ladder.good_since_mono)} after it {_past(scene)}"


def _trouble(scene: Scene) -> str:
    """How often it failed and how."""
    ladder = scene.ladder
    times = restart.used(ladder, scene.policy, scene.now) + (ladder.pending is Tier.RESTART)
    if times > 1:
        return f"failed {times} times in a row: {_past(scene)}"
    return _past(scene) or "is not well"


def _past(scene: Scene) -> str:
    """The cause; the exit in words where it says more."""
    cause = scene.ladder.cause
    if scene.exit and cause.startswith(("exited", "was killed", "ended unseen")):
        return f"died ({scene.exit})"
    return _damaged(named(cause, scene.taken))


def _damaged(cause: str) -> str:
    """As what happened to the agent: "its state is damaged: ..." is what the ladder was told."""
    rest = cause.removeprefix("its state is damaged")
    return cause if rest == cause else f"was found with damaged state{rest}"


def named(cause: str, taken: str) -> str:
    """A cause of triage, which knows no names, with the holder of the port where it is known."""
    return cause.replace(_TAKEN, taken) if taken else cause


def _after_failure(scene: Scene) -> str:
    """What the next failure would bring."""
    ladder, policy = scene.ladder, scene.policy
    if policy.hands_off:
        return "nothing, as long as its maintenance lasts"
    if ladder.tier is Tier.ALERT:
        return "the next quiet try follows"
    if restart.available(ladder, policy, scene.now):
        delay_s = policy.backoff_s[restart.used(ladder, policy, scene.now)]
        return "restart at once" if delay_s == 0 else f"restart after {span(delay_s)}"
    if ladder.tier <= Tier.RECREATE and ladder.recreated_mono is None:
        return "a new place and a restart (tier 2)"
    if restore.available(ladder, policy):
        return "its last good state and a restart (tier 3)"
    return "an alert (tier 4)"


def _due_act(scene: Scene, wait: float | None) -> str:
    ladder, policy = scene.ladder, scene.policy
    if policy.hands_off:
        return "is left alone until its maintenance ends"
    words = _act_words(ladder.pending)
    when = "now" if not wait else f"in {span(wait)}"
    if ladder.by_init:  # what is due then is our own restart, for the case that init makes none
        left_s = (wait or 0.0) - limits.PERMIT_SLACK_S
        when = f"in {span(left_s)}, by init" if left_s > 0 else "any moment, by init"
    if ladder.pending is Tier.RESTART:
        attempt = min(restart.used(ladder, policy, scene.now) + 1, len(policy.backoff_s))
        return f"{words} {when} (tier 1, try {attempt} of {len(policy.backoff_s)})"
    return f"{words} {when} (tier {int(ladder.pending)})"


def _next_try(scene: Scene, wait: float | None) -> str:
    ladder = scene.ladder
    if ladder.running and ladder.good_since_mono is not None:
        return f"counts as recovered in {span(wait or 0.0)}"
    if ladder.running and ladder.deadline_mono is not None:
        return f"quiet try {ladder.quiet_tries} is under way"
    at = ladder.next_try_mono if ladder.next_try_mono is not None else ladder.due_mono
    if not ladder.alerted:
        return ""
    told = "a person was told" if scene.heard else "nobody was told: no alert channel"
    return f"quiet try in {span(max(0.0, (at or scene.now) - scene.now))}; {told}"


def _act_words(tier: Tier) -> str:
    return {Tier.RECREATE: "new place and restart", Tier.RESTORE: "restore and restart"}.get(tier, "restart")


def span(seconds: float) -> str:
    """A duration in its two largest units: "3 h 2 min", "42 s", "0.4 s"."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def decision(before: Ladder, after: Ladder, seen: Observation) -> str:
    """The text of a ledger record about a change of the ladder."""
    heard = type(seen).__name__.lower()
    parts = [f"{before.phase.value} -> {after.phase.value}" if before.phase is not after.phase else after.phase.value]
    if after.tier is not before.tier:
        parts.append(f"tier {int(after.tier)}")
    if after.cause and after.incident:
        parts.append(after.cause)
    return f"{heard}: {', '.join(parts)}"
