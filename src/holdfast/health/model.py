"""Words of health: the values of `ps` and what a probe may answer."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class HealthValue(StrEnum):
    """What `ps` shows for each of the three levels."""

    OK = "ok"
    SLOW = "slow"
    FAILING = "failing"
    UNKNOWN = "unknown"
    OFF = "off"


class Verdict(StrEnum):
    """One probe's answer. SLOW needs strikes, FAILING too, REFUSED acts at once."""

    OK = "ok"
    SLOW = "slow"  # no answer in time, while neither we nor the host were starved
    FAILING = "failing"  # an answer which is not the agent's good one
    REFUSED = "refused"  # nobody listens
    STARVED = "starved"  # no verdict: our own lag or the host's pressure explains the silence
    FOREIGN = "foreign"  # somebody else answers on the agent's port


class ProbeResult(Struct, frozen=True, kw_only=True):
    """Outcome of one probe of one agent."""

    agent: str
    instance: int
    verdict: Verdict
    gate: bool = False  # True: this was the start gate's probe
    latency_s: float = 0.0
    detail: str = ""  # one clause in words: "HTTP 503", "no answer in 0.5 s"


class Judgement(StrEnum):
    """What one source of behaviour or of resources says of an agent now. Only FAILING is ever acted upon."""

    OK = "ok"
    DEGRADED = "degraded"  # works less well: shown, recorded, never a restart
    FAILING = "failing"  # its own deadline or declared rule was missed
    UNKNOWN = "unknown"  # nothing was heard yet, or we were away: no judgement


class Observed(Struct, frozen=True, kw_only=True):
    """One source's standing judgement of one instance; the next one of the same source replaces it.

    `source`: beat file log push command function memory cpu disk network descriptors processes …
    """

    agent: str
    instance: int
    source: str
    judgement: Judgement
    detail: str = ""  # one clause: "no beat for 130 s (due every 60 s)"
