"""What Holdfast did in one run: whom it shed, in which order, how whole they went, and when they were back. Pure.

From its ledger (whom it chose, when) and from what was seen outside (what became of them). Called by the stage.
"""

from __future__ import annotations

from typing import Any, Protocol

WHOLE_S = 1.0  # from the first process that is gone to the last


class Seen(Protocol):
    """See watching.Watch."""

    def count_at(self, name: str, mono: float) -> int: ...

    def gone(self, name: str, since_mono: float) -> float | None: ...

    def broken(self, name: str, since_mono: float) -> float | None: ...

    def back(self, name: str, since_mono: float) -> float | None: ...


def judge(records: list[dict[str, Any]], watch: Seen, growing: list[str], over_mono: float) -> dict[str, Any]:
    """`growing`: in the order of their priority, the least first. `over_mono`: since when there was room for all."""
    shed = [one for one in records if one["kind"] == "density.shed"]
    ends = [_end(one, watch) for one in shed]
    took = [end - one["mono"] for one, end in zip(shed, ends, strict=True) if end is not None]
    backs = [watch.back(one["agent"], end) for one, end in zip(shed, ends, strict=True) if end is not None]
    all_back = None not in ends and None not in backs
    last_back = max((back for back in backs if back is not None), default=0.0)
    room = [over_mono] if last_back > over_mono else []
    last_gone = max([*room, *(end for end in ends if end is not None)], default=0.0)
    return {
        "victims": [one["agent"] for one in shed],
        "in_order": not any(lower(one, shed, watch, growing) for one in shed),
        "whole": None not in ends and all(_whole(one, watch) for one in shed),
        "spared": sum(one["kind"] == "density.spared" for one in records),
        "gone_s": round(max(took, default=0.0), 3),
        "reasons": sorted({_reason(one) for one in shed}),
        "all_back": all_back,
        "back_s": round(max(0.0, last_back - last_gone), 2) if shed and all_back else None,
    }


def lower(one: dict[str, Any], shed: list[dict[str, Any]], watch: Seen, growing: list[str]) -> list[str]:
    """The less important ones that lived, and were not going, when `one` was chosen."""
    at: float = one["mono"]
    found = []
    for name in growing[: growing.index(one["agent"])] if one["agent"] in growing else growing:
        chosen = [each["mono"] for each in shed if each["agent"] == name and each["seq"] < one["seq"]]
        going = bool(chosen) and ((end := watch.gone(name, chosen[-1])) is None or end >= at)
        if watch.count_at(name, at) and not going:
            found.append(name)
    return found


def _end(one: dict[str, Any], watch: Seen) -> float | None:
    return watch.gone(one["agent"], one["mono"])


def _whole(one: dict[str, Any], watch: Seen) -> bool:
    first, last = watch.broken(one["agent"], one["mono"]), _end(one, watch)
    return first is None or (last is not None and last - first <= WHOLE_S)


def _reason(one: dict[str, Any]) -> str:
    body = one["body"].get("shed", {})
    return str(body.get("reason", one["text"]))
