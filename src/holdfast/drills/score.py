"""What a drill found, next to what is promised; and next to the last run. Pure.

The JSON shape of a scorecard is that of `Scorecard`; fields are only ever added. Called by run.py and the command line.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from holdfast.drills.faults import Fault

WORSE_FACTOR = 2.0  # slower than before by this, and by WORSE_S: worth a word; less is noise
WORSE_S = 0.5


class Result(Struct, kw_only=True):
    """One fault. Seconds from the injection; None: it did not come to that within the time waited.

    `verdict` passed, failed, or skipped (why: in `detail`). `incident`: id of what was written down.
    """

    fault: str
    agent: str
    verdict: str
    caught_s: float | None = None
    restored_s: float | None = None
    caught_within_s: float = 0.0
    restored_within_s: float = 0.0
    detail: str = ""
    incident: str = ""


class Scorecard(Struct, kw_only=True):
    """One run of `holdfast drill`. `start_s`: how long a normal start of the agent takes, part of `restored`."""

    version: int = 1
    holdfast: str
    at: float
    agent: str
    throw_away: bool
    start_s: float
    results: list[Result]

    @property
    def passed(self) -> bool:
        return all(result.verdict != "failed" for result in self.results)


def judge(
    fault: Fault,
    agent: str,
    start_s: float,
    caught_s: float | None,
    restored_s: float | None,
    broken: str,
    incident: str,
    *,
    starved: bool = False,
) -> Result:
    """`broken`: what went against the expectation besides the times ("" when nothing did).

    `start_s`: a normal start of the agent, which is part of being restored where it has to start. `starved`: the
    machine was, and silence gave no strikes then, as is promised too: being late is no failure and no proof.
    """
    within_s = fault.restored_s + (start_s if fault.expect in ("healed", "escalated", "kept", "shed") else 0.0)
    faults = [broken] if broken else []
    sure = bool(broken) or caught_s is None or restored_s is None
    if caught_s is None:
        faults.append("not caught")
    elif caught_s > fault.caught_s:
        faults.append(f"caught after {caught_s:.2f} s")
    if restored_s is None:
        faults.append("not restored")
    elif restored_s > within_s:
        faults.append(f"restored after {restored_s:.2f} s")
    if starved and faults and not sure:
        faults.insert(0, "the machine was starved meanwhile, so silence gave no strikes")
    return Result(
        fault=fault.name,
        agent=agent,
        verdict="passed" if not faults else "skipped" if starved and not sure else "failed",
        caught_s=None if caught_s is None else round(caught_s, 3),
        restored_s=None if restored_s is None else round(restored_s, 3),
        caught_within_s=fault.caught_s,
        restored_within_s=round(within_s, 3),
        detail="; ".join(faults) or fault.promise,
        incident=incident,
    )


def skipped(fault: Fault, agent: str, why: str) -> Result:
    return Result(fault=fault.name, agent=agent, verdict="skipped", detail=why)


def compare(new: Scorecard, old: Scorecard | None) -> list[str]:
    """What changed since the last run, a sentence each."""
    if old is None:
        return []
    before = {result.fault: result for result in old.results}
    said: list[str] = []
    for result in new.results:
        former = before.get(result.fault)
        if former is None or "skipped" in (former.verdict, result.verdict):
            continue
        if former.verdict != result.verdict:
            said.append(f"{result.fault}: {former.verdict} before, {result.verdict} now")
        elif _slower(result.restored_s, former.restored_s):
            said.append(f"{result.fault}: restored in {result.restored_s:.1f} s, {former.restored_s:.1f} s before")
    return said


def _slower(new_s: float | None, old_s: float | None) -> bool:
    return new_s is not None and old_s is not None and new_s > old_s * WORSE_FACTOR and new_s - old_s > WORSE_S


def table(card: Scorecard) -> list[tuple[str, ...]]:
    """Rows for people: fault, caught, restored, verdict, detail."""
    return [
        (
            result.fault,
            _figure(result.caught_s, result.caught_within_s, result.verdict),
            _figure(result.restored_s, result.restored_within_s, result.verdict),
            result.verdict,
            result.detail,
        )
        for result in card.results
    ]


def _figure(seen_s: float | None, within_s: float, verdict: str) -> str:
    if verdict == "skipped" and seen_s is None:
        return "-"
    return f"{'never' if seen_s is None else f'{seen_s:.2f}'} / {within_s:g} s"


def tally(results: Iterable[Result]) -> str:
    found = [result.verdict for result in results]
    return ", ".join(f"{found.count(word)} {word}" for word in ("passed", "failed", "skipped") if word in found)


def unproved(results: list[Result]) -> str:
    """One sentence when no promise was put to the test; ""."""
    tried = [result for result in results if result.verdict != "skipped"]
    return "" if tried else "nothing was proved: every fault was skipped, WHY says what was in the way"
