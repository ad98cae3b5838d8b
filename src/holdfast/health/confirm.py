"""How long a healed agent must be good before that counts as recovery. Pure; called when the ladder's numbers are made.

Invariant: long enough that every source which is asked of the agent would have spoken by then, as far as CONFIRM_MAX_S
and the window in which failures count allow.
"""

from __future__ import annotations

from holdfast.limits import BEAT_GATHERED_S, BEATS_MISSED, CONFIRM_MAX_S, CONFIRM_S, CONFIRM_SLACK_S
from holdfast.spec.model import AgentSpec


def confirm_s(spec: AgentSpec) -> float:
    """Seconds of good behaviour after the gate."""
    health = spec.health
    silences = [0.0]
    if health.beat_s is not None and spec.notify:
        silences.append(BEATS_MISSED * health.beat_s + BEAT_GATHERED_S)
    if health.file is not None:
        silences.append(health.file.max_age_s)
    if health.log is not None and health.log.silence_s is not None:
        silences.append(health.log.silence_s)
    if health.push is not None:
        silences.append(health.push.every_s + health.push.grace_s)
    if health.command is not None:
        command = health.command
        silences.append(command.retries * (command.interval_s + command.timeout_s))
    longest = max(silences)
    wanted = longest + CONFIRM_SLACK_S if longest > 0 else 0.0
    return max(CONFIRM_S, min(wanted, spec.restart.window_s, CONFIRM_MAX_S))
