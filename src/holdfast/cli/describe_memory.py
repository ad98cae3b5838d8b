"""The memory section of `describe`: what an agent holds and may hold, who goes before it, its sleep and its queue.

Pure: the description of one agent in, pairs of words out; what is not known is left out. Called by describe.py.
"""

from __future__ import annotations

from typing import Any

Known = dict[str, Any]
_ACTIONS = {"freeze": "frozen", "stop": "stopped"}


def memory_pairs(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import duration, one_line, size

    declared, memory = known.get("spec") or {}, (known.get("spec") or {}).get("memory") or {}
    usage, lease, start = known.get("usage_bytes"), known.get("lease_bytes"), known.get("start_lease_bytes")
    queued, replica = known.get("queued") or {}, known.get("replica") or {}
    seen, idle = known.get("seen") or {}, declared.get("idle") or {}
    rows = [
        ("in use", f"{size(usage)} that cannot be dropped" if usage is not None else ""),
        ("lease", _lease(known)),
        ("for its start", f"{size(start)} kept until it is ready and no longer grows" if start else ""),
        ("minimum", f"{size(memory['min_bytes'])} are never taken from it" if memory.get("min_bytes") else ""),
        ("was seen", _was_seen(seen)),
        ("its starts", f"took {size(seen['start_peak_bytes'])} at their peak" if seen.get("start_peak_bytes") else ""),
        ("if others need", _order(known) if lease is not None else ""),
        ("in the queue", one_line(_queued(queued)) if queued else ""),
    ]
    if known.get("asleep"):
        saved = f", gave back {size(known['saved_bytes'])}" if known.get("saved_bytes") else ""
        rows.append(("asleep", f"{known['asleep']}{saved}"))
    if idle.get("action", "none") != "none":
        after = duration(idle.get("after_s"))
        rows.append(("when idle", f"{_ACTIONS.get(idle['action'], idle['action'])} after {after}"))
        rows.append(("awake because", one_line(known.get("awake") or "")))
    if known.get("wake_s") is not None:
        rows.append(("last wake-up", f"took {duration(known['wake_s'])}"))
    if replica:
        rows.append(("replica", f"{replica.get('number')} of {replica.get('group')}, {replica.get('wanted')} run now"))
    return rows


def _lease(known: Known) -> str:
    from holdfast.cli.render import size

    lease, ceiling = known.get("lease_bytes"), known.get("ceiling_bytes")
    if lease is None:
        return ""
    if known.get("unheld"):
        return f"{size(lease)} are kept for it; the kernel does not hold it there: {known['unheld']}"
    if known.get("protected"):
        return f"{size(lease)} are kept for it; nothing but its own limit holds it there"
    return f"{size(lease)} are kept for it" + (
        f"; the kernel holds it at {size(ceiling)}" if ceiling is not None else ""
    )


def _was_seen(seen: Known) -> str:
    from holdfast.cli.render import size

    if not seen.get("readings"):
        return "not for long enough yet"
    doing = "at work" if seen.get("worked") else "waiting, at work it was not seen yet"
    cpu = f", {seen['cpu']:.2f} cores on average" if seen["cpu"] >= 0.005 else ""
    return f"{size(seen['work_bytes'])} or less in 95 of 100 readings ({doing}){cpu}"


def _order(known: Known) -> str:
    if known.get("protected"):
        return "it stays: less important agents go first"
    order = known.get("shed_order")
    return "" if order is None else "it goes first" if order == 1 else f"{order - 1} go before it"


def _queued(queued: Known) -> str:
    from holdfast.cli.render import duration

    known = queued.get("estimate_s")
    when = f", starts in about {duration(known)}" if known is not None else ""
    return f"number {queued.get('position')}{when}: {queued.get('why', '')}"
