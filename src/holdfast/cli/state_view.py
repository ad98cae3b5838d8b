"""Versions of state as people read them: the list of snapshots, histories, differences, costs, checks. Pure.

Invariant: names of files come from agents, so each is made fit for a terminal first. Called by snapshots, restore and
the state commands.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from holdfast.cli.render import clock, duration, one_line, paint, size, table
from holdfast.state.model import SHORT_ID_DIGITS

Row = dict[str, Any]
HEADERS = ("SNAPSHOT", "TAKEN", "AGE", "CAUSE", "FILES", "SIZE", "NEW", "NOTES")
# Columns a narrow terminal does without, the least missed first; the id is what the next command needs.
DROPPED_FIRST = ("FILES", "NEW", "SIZE", "CAUSE", "TAKEN")  # never how old it is: that is what people choose by
CAUSES = {
    "stop": "before stop", "update": "before update", "restore": "before restore", "config": "before config",
    "remove": "before removal", "compare": "for a comparison",
}  # fmt: skip
RESTS = {"quiesced": "at rest", "idle": "idle", "busy": "at work"}
MARKS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


def short(snapshot_id: str | None) -> str:
    return str(snapshot_id or "")[:SHORT_ID_DIGITS]


def count(number: int | None, one: str, many: str = "") -> str:
    """`1 file`, `5,246 files`."""
    shown = number or 0
    return f"{shown:,} {one if shown == 1 else many or one + 's'}"


def age(at: float | None, now_at: float) -> str:
    """`12s ago`; a snapshot from the future says so, since the clock was wrong then or is now."""
    if at is None:
        return "-"
    return f"{duration(now_at - at)} ago" if at <= now_at else f"in {duration(at - now_at)}"


# --- snapshots -------------------------------------------------------------------------------------------------------
def snapshot_lines(rows: list[Row], now_at: float, width: int | None) -> list[str]:
    cells = [
        (
            short(row.get("id")),
            clock(row.get("at")),
            age(row.get("at"), now_at).removesuffix(" ago"),
            CAUSES.get(str(row.get("cause")), str(row.get("cause"))),
            f"{row.get('files') or 0:,}",
            size(row.get("bytes")),
            size(row.get("bytes_new")),
            ", ".join(notes(row)),
        )
        for row in rows
    ]
    colours = [_colour(row) for row in rows]
    return table(HEADERS, cells, width=width, colours=colours, drop=DROPPED_FIRST, first_min=SHORT_ID_DIGITS)


def notes(row: Row) -> Iterator[str]:
    """What is special about a snapshot, a few words each."""
    if row.get("deleted_until"):
        yield f"deleted, can be had back until {clock(row['deleted_until'])}"
    if row.get("damaged"):
        yield f"DAMAGED: {one_line(row['damaged'])}"
    if row.get("label"):
        yield one_line(row["label"])
    yield from (one_line(why) for why in row.get("pins") or ())
    if row.get("pinned") and not row.get("pins"):
        yield "pinned"
    if row.get("consistency") == "fuzzy":
        listed = row.get("fuzzy") or ()
        yield f"fuzzy: {count(len(listed), 'file')} changed while read" if listed else "fuzzy"
    if row.get("rest") in RESTS:
        yield RESTS[row["rest"]]
    if row.get("remote") is False:
        yield "not in the second place yet"


def _colour(row: Row) -> str | None:
    if row.get("damaged"):
        return "red"
    if row.get("deleted_until"):
        return "bright_black"
    return "green" if "known-good" in (row.get("pins") or ()) else None


# --- history ---------------------------------------------------------------------------------------------------------
def version_lines(found: Row, now_at: float, width: int | None) -> list[str]:
    rows = [
        (
            short(one.get("snapshot")),
            clock(one.get("at")),
            age(one.get("at"), now_at).removesuffix(" ago"),
            size(one.get("size")),
            str(one.get("change") or ""),
        )
        for one in found.get("versions") or []
    ]
    headers = ("SNAPSHOT", "TAKEN", "AGE", "SIZE", "WHAT HAPPENED TO IT")
    return table(headers, rows, width=width, drop=("AGE", "SIZE"), first_min=SHORT_ID_DIGITS)


def change_lines(found: Row, shown_max: int | None = None, *, text: bool = True, indent: str = "") -> list[str]:
    """One line for each path, and the difference of its text below it. `shown_max`: paths, the rest is counted."""
    changes = found.get("changes") or []
    shown = changes if shown_max is None else changes[:shown_max]
    lines = []
    for change in shown:
        mark, colour = MARKS.get(str(change.get("change")), ("?", None))
        lines.append(indent + paint(f"{mark} {one_line(change.get('path'))}  {_sizes(change)}".rstrip(), colour))
        if text:
            lines += [f"{indent}    {_text_line(line)}" for line in str(change.get("text") or "").splitlines()]
    missing = total_changes(found) - len(shown)
    return [*lines, f"{indent}… and {missing:,} more"] if missing > 0 else lines


def _sizes(change: Row) -> str:
    before, after = change.get("before"), change.get("after")
    if before is None or after is None:
        return size(after if before is None else before) if (before, after) != (None, None) else ""
    if before == after:
        return f"{size(after)}, same size"
    return f"{size(before)} -> {size(after)}"


def _text_line(line: str) -> str:
    from holdfast.printable import log_line

    colour = "green" if line.startswith("+") else "red" if line.startswith("-") else None
    return paint(log_line(line), colour)


def total_changes(found: Row) -> int:
    told = sum(int(found.get(kind) or 0) for kind in ("added", "changed", "removed"))
    return max(told, len(found.get("changes") or []))


def change_counts(found: Row) -> str:
    """`12 changed, 3 new, 1 removed`; `nothing differs`."""
    parts = [("changed", "changed"), ("added", "new"), ("removed", "removed")]
    told = ", ".join(f"{found[key]:,} {word}" for key, word in parts if found.get(key))
    return told or ("nothing differs" if not found.get("changes") else f"{len(found['changes'])} differ")


# --- cost and soundness ----------------------------------------------------------------------------------------------
def usage_lines(agent: str, found: Row, now_at: float) -> list[str]:
    stored, logical = found.get("stored_bytes") or 0, found.get("logical_bytes") or 0
    lines = [f"{agent}: {count(found.get('snapshots'), 'snapshot')} in {size(stored)}"]
    if found.get("oldest_at") is not None:
        lines.append(f"  back to {clock(found['oldest_at'])}, {age(found['oldest_at'], now_at)}")
    if stored and logical > stored:
        lines.append(f"  {size(logical)} as whole copies: {logical / stored:,.0f} times less is stored")
    if found.get("newest_bytes"):
        lines.append(f"  the newest holds {size(found['newest_bytes'])}")
    if found.get("trash_bytes"):
        lines.append(f"  {size(found['trash_bytes'])} of it belong to what was deleted and can be had back")
    if found.get("unused_bytes"):
        lines.append(f"  {size(found['unused_bytes'])} of it are needed by no snapshot and wait to be freed")
    budget = found.get("budget_bytes")
    if budget:
        lines.append(
            f"  budget {size(budget)}, {stored / budget:.0%} used; old snapshots are thinned before it is full"
        )
    if found.get("store"):
        lag = found.get("remote_lag_s")
        behind = f", {duration(lag)} behind" if lag else ""
        lines.append(f"  second place {one_line(found['store'])}: {found.get('remote_snapshots') or 0} there{behind}")
    return lines


def checked_lines(agent: str, found: Row) -> list[str]:
    snapshots, whole = found.get("snapshots") or 0, found.get("restorable") or 0
    read = (
        f"{found.get('blobs') or 0:,} blocks, {size(found.get('bytes') or 0)} read in {duration(found.get('took_s'))}"
    )
    verdict = "all can be restored" if whole == snapshots else paint(f"{snapshots - whole} NOT restorable whole", "red")
    lines = [f"{agent}: {count(snapshots, 'snapshot')} checked, {verdict} ({read})"]
    for fault in found.get("faults") or []:
        place = " ".join(filter(None, (short(fault.get("snapshot")), one_line(fault.get("path") or ""))))
        lines.append(f"  {place or 'repository'}: {one_line(fault.get('reason'))}")
    return lines + [f"  {one_line(text)}" for text in found.get("said") or []]


def collected_lines(agent: str, found: Row) -> list[str]:
    if found.get("refused"):
        return [f"{agent}: nothing was deleted: {one_line(found['refused'])}"]
    would = "would be freed" if found.get("dry_run") else "freed"
    lines = [f"{agent}: {size(found.get('freed_bytes') or 0)} {would}"]
    if found.get("repacked"):
        lines.append(f"  {count(found['repacked'], 'pack')} written anew without what nobody needs")
    if found.get("waiting_bytes"):
        when = f", after {clock(found['next_at'])}" if found.get("next_at") else ""
        lines.append(f"  {size(found['waiting_bytes'])} wait to be freed by a later run{when}")
    return lines + [f"  warning: {one_line(text)}" for text in found.get("trouble") or []]


def now() -> float:
    return time.time()
