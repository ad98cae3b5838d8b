"""The ladder's phases as a table: which may follow which, why, and whether a person is needed.

Not consulted by the rules: the simulator checks every step against it, and that every step here really happens. The
picture and the tables of docs/concepts/ladder.md are generated from it: `python -m holdfast.healing.table FILE`.
Called by: the simulator, the drift test, whoever edits the docs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from holdfast.healing.model import Phase, Policy, Tier
from holdfast.limits import ACT_PATIENCE_S, PERMIT_SLACK_S, QUEUE_ASK_S

_P = Phase
BEGIN, END = "<!-- generated: do not edit below -->", "<!-- end of generated part -->"

MEANING: dict[Phase, tuple[str, bool]] = {
    _P.QUEUED: ("waits for a start slot", False),
    _P.STARTING: ("a planned start is on its way, or the start gate has not passed yet", False),
    _P.HEALTHY: ("runs well; no incident", False),
    _P.DEGRADED: ("runs, and says itself that it works less well; never acted upon", False),
    _P.UNHEALTHY: ("runs badly; its restart is due, after the delay or the spacing", False),
    _P.RECOVERING: ("a restart or recreation is under way, or the good checks that end the incident", False),
    _P.BACKOFF: ("down; the restart is due, by init's permit or by the keeper", False),
    _P.STOPPING: ("a person's stop or restart is under way, or the stop that sets it aside", False),
    _P.STOPPED: ("down because a person said so", False),
    _P.FINISHED: ("a job with `once: true` ended with 0", False),
    _P.ESCALATED: ("a person was told; quiet tries go on, from 5 to 60 minutes apart, for ever", True),
    _P.SHED: ("set aside: it went for another's memory, and comes back by itself when there is room", False),
    _P.HIBERNATING: ("set aside: it was idle; whatever needs it wakes it", False),
    _P.SPARE: ("set aside: a replica that is not needed now", False),
}

_BOOT = "the machine was rebooted"
_STOP = "a person stops or restarts it, or it is set aside"
_END_WELL = "a job with `once: true` ends with 0"
_LATE = "news of the end was lost; the next instance runs"
_FAILS = "fails again, or its start does"
_ASIDE_STOP = "a person stops it"
_ASIDE_LATE = "a start already on its way comes late: it is stopped again"
_IDLE, _SPARED = "it need not run either way: idle", "it need not run either way: a replica not needed"
_NOT_DRAWN = frozenset({_STOP, _END_WELL, _BOOT, _LATE, _IDLE, _SPARED, _ASIDE_STOP, _ASIDE_LATE})
TRANSITIONS: dict[Phase, dict[Phase, str]] = {
    _P.QUEUED: {
        _P.STARTING: "a start slot is granted",
        _P.RECOVERING: "a recreation cut short by a person's stop comes late; there is no gate",
        _P.FINISHED: "it ended with 0 before the reboot, which only init knew",
        _P.STOPPED: "a person stops it",
        _P.SHED: "there is no room for it",
        _P.HIBERNATING: "nothing needs it",
        _P.SPARE: "this replica is not needed",
    },
    _P.STARTING: {
        _P.HEALTHY: "the gate passes, or there is none",
        _P.DEGRADED: "the gate passes; it said that it works less well",
        _P.RECOVERING: "the gate passes in an open incident; or the start failed and is tried again at once",
        _P.UNHEALTHY: "the start deadline passes; the restart is due later",
        _P.BACKOFF: "it dies, or cannot be spawned",
        _P.ESCALATED: "it fails and no tier is left",
        _P.STOPPING: _STOP,
        _P.FINISHED: _END_WELL,
        _P.QUEUED: _BOOT,
    },
    _P.HEALTHY: {
        _P.DEGRADED: "it says that it works less well",
        _P.UNHEALTHY: "struck out; the restart is due later",
        _P.RECOVERING: "struck out or dead; acted upon at once",
        _P.BACKOFF: "it dies",
        _P.ESCALATED: "it fails and no tier is left in this window",
        _P.STARTING: _LATE,
        _P.STOPPING: _STOP,
        _P.FINISHED: _END_WELL,
        _P.QUEUED: _BOOT,
    },
    _P.DEGRADED: {
        _P.HEALTHY: "it says that it works well again",
        _P.UNHEALTHY: "struck out; the restart is due later",
        _P.RECOVERING: "struck out or dead; acted upon at once",
        _P.BACKOFF: "it dies",
        _P.ESCALATED: "it fails and no tier is left in this window",
        _P.STARTING: _LATE,
        _P.STOPPING: _STOP,
        _P.FINISHED: _END_WELL,
        _P.QUEUED: _BOOT,
    },
    _P.UNHEALTHY: {
        _P.RECOVERING: "the restart is due; or it answers well again before",
        _P.BACKOFF: "it dies before",
        _P.ESCALATED: "it is killed again for the memory it uses, and no tier is left",
        _P.STARTING: _LATE,
        _P.STOPPING: _STOP,
        _P.FINISHED: _END_WELL,
        _P.QUEUED: _BOOT,
    },
    _P.RECOVERING: {
        _P.HEALTHY: "good for 60 s: the incident is closed",
        _P.DEGRADED: "good for 60 s; it says that it works less well",
        _P.STARTING: "the new instance runs and awaits its gate",
        _P.UNHEALTHY: "struck out again; the next act is due later",
        _P.BACKOFF: _FAILS,
        _P.ESCALATED: "it fails and no tier is left",
        _P.STOPPING: _STOP,
        _P.FINISHED: _END_WELL,
        _P.QUEUED: _BOOT,
    },
    _P.BACKOFF: {
        _P.STARTING: "init restarted it by its permit; or a person starts it",
        _P.RECOVERING: "the restart is due, or its state is damaged; or it was restarted and has no gate",
        _P.ESCALATED: "only the end of the next instance is heard of, and no tier is left",
        _P.STOPPING: _STOP,
        _P.FINISHED: "only the good end of the next instance is heard of",
        _P.QUEUED: _BOOT,
    },
    _P.STOPPING: {
        _P.STOPPED: "init says that it is down",
        _P.STARTING: "restarted; or it is down and a person wants it up again",
        _P.HEALTHY: "restarted; there is no gate",
        _P.RECOVERING: "restarted in an open incident, without a gate; or its spawn failed",
        _P.BACKOFF: "its spawn failed; the next is due later",
        _P.ESCALATED: "its spawn failed and no tier is left",
        _P.FINISHED: "it had ended with 0 by itself; or restarted, and only its good end is heard of",
        _P.QUEUED: "set aside, and called back before it was down; or the machine was rebooted",
        _P.SHED: "set aside for another's memory: it is down",
        _P.HIBERNATING: "set aside because it was idle: it is down",
        _P.SPARE: "set aside as a replica not needed: it is down",
    },
    _P.STOPPED: {
        _P.QUEUED: "a person starts it",
        _P.STOPPING: "a start already on its way comes late: it is stopped again",
    },
    _P.FINISHED: {
        _P.QUEUED: "a person starts it once more",
        _P.STOPPED: "a person stops it",
    },
    _P.ESCALATED: {
        _P.HEALTHY: "good for 60 s: the incident is closed",
        _P.DEGRADED: "good for 60 s; it says that it works less well",
        _P.STARTING: "a person starts it",
        _P.RECOVERING: "a person starts it while it runs and passed its gate",
        _P.STOPPING: _STOP,
        _P.FINISHED: _END_WELL,
        _P.QUEUED: _BOOT,
    },
    _P.SHED: {
        _P.QUEUED: "there is room again, a person starts it, or the machine was rebooted",
        _P.HIBERNATING: _IDLE,
        _P.SPARE: _SPARED,
        _P.STOPPED: _ASIDE_STOP,
        _P.STOPPING: _ASIDE_LATE,
    },
    _P.HIBERNATING: {
        _P.QUEUED: "it is woken, or a person starts it",
        _P.SPARE: _SPARED,
        _P.STOPPED: _ASIDE_STOP,
        _P.STOPPING: _ASIDE_LATE,
    },
    _P.SPARE: {
        _P.QUEUED: "it is needed again, or a person starts it",
        _P.HIBERNATING: _IDLE,
        _P.STOPPED: _ASIDE_STOP,
        _P.STOPPING: _ASIDE_LATE,
    },
}


def picture() -> Iterator[str]:
    """The main ways as a diagram; stops, ends and reboots are in the table only."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> queued"
    for old, following in TRANSITIONS.items():
        for new, why in following.items():
            if (
                why in (_STOP, _END_WELL, _BOOT, _LATE, _IDLE, _SPARED, _ASIDE_STOP, _ASIDE_LATE)
                or "heard of" in why
                or "only init" in why
            ):
                continue
            yield f"    {old} --> {new}: {why.split(';')[0].split(':')[0]}"
    yield "```"


def tables() -> Iterator[str]:
    yield "| phase | meaning | a person needed |"
    yield "|---|---|---|"
    for phase, (meaning, human) in MEANING.items():
        yield f"| `{phase}` | {meaning} | {'yes' if human else 'no'} |"
    yield ""
    yield "| from | to | when |"
    yield "|---|---|---|"
    for old, following in TRANSITIONS.items():
        for new, why in following.items():
            yield f"| `{old}` | `{new}` | {why} |"


def numbers() -> Iterator[str]:
    """The defaults, as the rules use them."""
    policy = Policy()
    delays = ", ".join(f"{delay:g} s" for delay in policy.backoff_s)
    yield "| number | default |"
    yield "|---|---|"
    yield f"| window in which failures count | {policy.window_s:g} s |"
    yield f"| tier {int(Tier.RESTART)} delays (jitter up to {policy.jitter:.0%} longer) | {delays} |"
    yield f"| tier {int(Tier.RECREATE)} | once per window and incident |"
    yield f"| tier {int(Tier.RESTORE)} | once per window and incident; skipped where there is no snapshot |"
    yield f"| tier {int(Tier.ALERT)}: first quiet try, longest pause | {policy.retry_s:g} s, {policy.retry_max_s:g} s |"
    yield f"| good checks that end an incident | {policy.confirm_s:g} s |"
    yield f"| strikes | {policy.strikes} |"
    yield f"| start deadline | {policy.start_deadline_s:g} s |"
    yield f"| grace of a planned stop, of a hung agent | {policy.stop_grace_s:g} s, {policy.hung_grace_s:g} s |"
    yield f"| the keeper steps in when init did not restart by its permit | {PERMIT_SLACK_S:g} s later |"
    yield f"| an act without an echo is sent again | after {ACT_PATIENCE_S:g} s and the grace |"
    yield f"| a queued agent asks again for its slot | every {QUEUE_ASK_S:g} s |"


def generated() -> str:
    """The generated part of docs/concepts/ladder.md, markers included."""
    parts = [
        BEGIN,
        "",
        "### Numbers",
        "",
        *numbers(),
        "",
        "### Picture",
        "",
        *picture(),
        "",
        "### Table",
        "",
        *tables(),
    ]
    return "\n".join([*parts, "", END])


def renewed(text: str) -> str:
    """The document with its generated part replaced. ValueError when it has no markers."""
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError("no generated part")
    return head + generated() + tail


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(renewed(document.read_text()))
