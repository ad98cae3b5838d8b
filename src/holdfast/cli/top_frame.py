"""One frame of `top` as lines of painted pieces. Pure: a view and what was seen in, lines out.

Invariant: never more lines than `height`, never a line wider than `width`, down to MIN_WIDTH x MIN_HEIGHT; everything
an agent said is made printable. Columns give way by priority, so that names, phases and the selected agent's reason
stay readable at 40 columns. Called by top.py; pieces become colours in top_terminal.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.cli.fleet_view import COLOUR_OF_PHASE, health_text, memory_text, phase_text, shed_text, why_next
from holdfast.cli.render import NOTHING, duration, size, wrap
from holdfast.cli.top_memory import memory_line
from holdfast.cli.top_view import View, cpu_of, rows_shown
from holdfast.printable import columns, cut, log_line, one_line, pad

if TYPE_CHECKING:
    from holdfast.node.overview import Overview

MIN_WIDTH, MIN_HEIGHT = 20, 6
BAR_CELLS = 6
MEMORY_WARN, MEMORY_ALARM = 0.70, 0.80
NAME_MIN, NAME_MAX, WHY_MIN = 8, 24, 16
WHY_LINES_MAX = 3  # of the selected agent's sentence, below the table
FLEET_KEYS = "q quit  r restart  l logs  d describe  / filter  s sort"
# Columns between NAME and WHY, the least missed last: a narrow terminal goes without it first.
COLUMNS = ("PHASE", "MEMORY", "UP", "CPU", "SHED", "HEALTH", "RST", "BEAT")

Row = dict[str, Any]
Piece = tuple[str, str]  # text and style: "", or words such as "bold red"
Line = tuple[Piece, ...]


@dataclass(slots=True)
class Seen:
    """What the last look found. `status` None: the keeper is being replaced."""

    status: dict[str, Any] | None = None
    node: Overview | None = None
    own: list[Row] = field(default_factory=list)  # Holdfast's processes: name, pid, restarts, rss_bytes, cpu
    known: Row | None = None  # description of the one agent shown
    events: list[Row] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    clock: str = ""

    @property
    def rows(self) -> list[Row]:
        return list((self.status or {}).get("agents", []))


def frame(view: View, seen: Seen, width: int, height: int) -> list[Line]:
    """All lines, top to bottom."""
    width, height = max(width, MIN_WIDTH), max(height, MIN_HEIGHT)
    head = header(view, seen, width)[: max(1, height - 4)]
    foot = footer(view, seen, width)
    room = max(1, height - len(head) - len(foot))
    body = agent_body(view, seen, width, room) if view.agent else fleet_body(view, seen, width, room)
    lines = [*head, *body[:room]]
    lines.extend([()] * (height - len(lines) - len(foot)))
    return [_fit(line, width) for line in [*lines, *foot][:height]]


def page(view: View, seen: Seen, width: int, height: int) -> int:
    """How many rows or lines of a pane fit on one screen."""
    return max(1, height - len(header(view, seen, width)) - len(footer(view, seen, width)) - 1)


def plain(lines: Sequence[Line]) -> str:
    """The text alone."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


# --- header and footer -------------------------------------------------------------------------------------------
def header(view: View, seen: Seen, width: int) -> list[Line]:
    if seen.status is None:
        words = "the keeper is being replaced; agents are not affected"
        return [((part, "yellow"),) for part in wrap(words, width)]
    rows, version = seen.rows, (seen.status.get("holdfast") or {}).get("version", "")
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row.get("phase"))] = counts.get(str(row.get("phase")), 0) + 1
    first: list[Piece] = [(f"holdfast {version}", "bold"), (f"{len(rows)} agents", "")]
    first += [(f"{count} {phase}", COLOUR_OF_PHASE.get(phase, "")) for phase, count in counts.items()]
    lines = [_joined([*first, (seen.clock, "dim")], width), _joined(_node(seen), width)]
    lines += [_memory(seen.status, width), _joined(_own(seen), width)]
    for warning in seen.status.get("warnings", [])[:1]:
        lines.append(((cut(f"{warning.get('code')}: {one_line(warning.get('message', ''))}", width), "yellow"),))
    return [line for line in lines if line]


def _node(seen: Seen) -> list[Piece]:
    node = seen.node
    if node is None:
        return []
    parts: list[Piece] = []
    if node.memory_total_bytes and node.memory_available_bytes is not None:
        used = node.memory_total_bytes - node.memory_available_bytes
        share = used / node.memory_total_bytes
        parts.append((f"mem {size(used)}/{size(node.memory_total_bytes)}", _alarm(share)))
    if node.load is not None:
        parts.append((f"load {node.load:.1f}/{node.cores}", ""))
    stalls = [f"{name} {share:.0%}" for name, share in node.pressure.items() if share is not None]
    if stalls:
        loud = any(share is not None and share >= 0.2 for share in node.pressure.values())
        parts.append((f"stalled: {', '.join(stalls)}", "yellow" if loud else ""))
    if node.disk_total_bytes and node.disk_free_bytes is not None:
        share = 1 - node.disk_free_bytes / node.disk_total_bytes
        parts.append((f"disk {size(node.disk_free_bytes)} free", "red" if share >= 0.85 else ""))
    if node.swap_used_bytes:
        parts.append((f"swap {size(node.swap_used_bytes)}", ""))
    return parts


def _memory(status: Row, width: int) -> Line:
    """The node's bar and its words."""
    bar, words = memory_line(status, width)
    if not bar:
        return ()
    return (*bar, ("  ", ""), *_joined(words, width - sum(columns(text) for text, _ in bar) - 2))


def _own(seen: Seen) -> list[Piece]:
    parts: list[Piece] = []
    for one in seen.own:
        words = [str(one.get("name"))]
        if not one.get("pid"):
            parts.append((f"{words[0]} away", "red"))
            continue
        if one.get("rss_bytes") is not None:
            words.append(size(one["rss_bytes"]))
        if one.get("cpu") is not None:
            words.append(f"{one['cpu']:.0%}")
        if one.get("restarts"):
            words.append(f"({one['restarts']} restart{'s' if one['restarts'] != 1 else ''})")
        parts.append((" ".join(words), "dim"))
    return parts


def footer(view: View, seen: Seen, width: int) -> list[Line]:
    if view.asking:
        said: Line = ((f"restart {view.asking}? y/n", "bold yellow"),)
    elif view.is_typing:
        said = (("filter: ", "bold"), (view.filter, ""), ("_", "bold"))
    elif view.message:
        said = ((view.message, "bold"),)
    elif view.agent:
        said = ()
    else:
        row = next((row for row in seen.rows if row["name"] == view.selected), None)
        words = wrap(f"{row['name']}: {why_next(row)}", width)[:WHY_LINES_MAX] if row else []
        return [*(((part, ""),) for part in words), ((cut(FLEET_KEYS, width), "dim"),)]
    keys = FLEET_KEYS
    if view.agent:
        keys = f"{'q quit' if view.pinned else 'esc back'}  r restart  e events  l logs  d describe"
    return [_fit(said, width), ((cut(keys, width), "dim"),)]


# --- the fleet ---------------------------------------------------------------------------------------------------
def fleet_body(view: View, seen: Seen, width: int, room: int) -> list[Line]:
    rows = rows_shown(view, seen.rows)
    if not rows:
        words = "no agent fits the filter" if view.filter else "no agents"
        return [((words, "dim"),)] if seen.status is not None else []
    visible = max(1, room - 1)
    at = next((i for i, row in enumerate(rows) if row["name"] == view.selected), 0)
    start = min(max(0, at - visible // 2), max(0, len(rows) - visible))
    part = rows[start : start + visible]
    cells = [_cells(row) for row in part]
    widths = _widths(part, cells, width)
    titles: list[Piece] = [(pad(title, wide), "bold") for title, wide in widths.items()]
    lines = [_spaced(titles)]
    for row, found in zip(part, cells, strict=True):
        chosen = "reverse" if row["name"] == view.selected else ""
        pieces = []
        for title, wide in widths.items():
            text, style = found[title]
            pieces.append((pad(cut(text, wide), wide), f"{chosen} {style}".strip()))
        lines.append(_spaced(pieces, chosen))
    return lines


def _cells(row: Row) -> dict[str, Piece]:
    phase = str(row.get("phase"))
    cpu = cpu_of(row)
    return {
        "NAME": (str(row["name"]), ""),
        "PHASE": (phase_text(row), COLOUR_OF_PHASE.get(phase, "")),
        "HEALTH": (health_text(row), ""),
        "CPU": (NOTHING if cpu is None else f"{cpu:.0%}", "yellow" if cpu is not None and cpu >= 0.9 else ""),
        "MEMORY": memory_cell(row),
        "SHED": (shed_text(row), "yellow" if row.get("shed_order") == 1 else ""),
        "RST": (str(row.get("restarts", 0)), ""),
        "UP": (duration(row.get("uptime_s")), ""),
        "BEAT": (beat_text(row), ""),
        "WHY": (why_next(row), ""),
    }


def _widths(rows: Sequence[Row], cells: Sequence[dict[str, Piece]], width: int) -> dict[str, int]:
    """Width of each column shown, in order. WHY takes what is left; the others go by priority."""
    need = {name: columns(name) for name in COLUMNS}
    for found in cells:
        for name in COLUMNS:
            need[name] = max(need[name], columns(found[name][0]))
    name_width = max(NAME_MIN, min(NAME_MAX, max(columns(row["name"]) for row in rows)))
    if not any(beat_text(row) != NOTHING for row in rows):
        del need["BEAT"]
    if not any(cpu_of(row) is not None for row in rows):
        del need["CPU"]
    if not any(row.get("shed_order") for row in rows):
        del need["SHED"]
    kept: list[str] = []
    left = width - min(name_width, max(NAME_MIN, width // 3)) - 1
    for name in COLUMNS:
        if name in need and left - need[name] - 1 >= (0 if len(kept) < 2 else WHY_MIN + 1):
            kept.append(name)
            left -= need[name] + 1
    if left < WHY_MIN + 1:
        name_width, left = min(name_width, max(NAME_MIN, width // 3) + left), 0
    else:
        left += min(name_width, max(NAME_MIN, width // 3)) - name_width
    order = [name for name in ("PHASE", "HEALTH", "CPU", "MEMORY", "SHED", "RST", "UP", "BEAT") if name in kept]
    widths = {"NAME": name_width}
    for name in order:
        widths[name] = need[name]
    if left > WHY_MIN // 2:
        widths["WHY"] = left - 1
    return widths


def memory_cell(row: Row) -> Piece:
    """`▮▮▯▯▯▯ 412M/1.0G` of its limit; without one what it may use now, or the use alone."""
    used, limit = row.get("rss_bytes"), memory_limit(row)
    if used is None or not limit:
        return memory_text(row), ""
    share = used / limit
    full = min(BAR_CELLS, round(share * BAR_CELLS))
    return f"{'▮' * full}{'▯' * (BAR_CELLS - full)} {size(used)}/{size(limit)}", _alarm(share)


def memory_limit(row: Row) -> int | None:
    """Bytes the agent may use, where a limit is declared."""
    value = (row.get("usage") or {}).get("memory_limit_bytes", row.get("memory_limit_bytes"))
    return int(value) if isinstance(value, int | float) and value > 0 else None


def beat_text(row: Row) -> str:
    """`idle`, `busy 3m05s` (for how long still), or how long ago the last beat was."""
    beat = row.get("beat")
    if not isinstance(beat, dict):
        return NOTHING
    if beat.get("idle"):
        return "idle"
    if beat.get("busy_s"):
        return f"busy {duration(beat['busy_s'])}"
    return duration(beat.get("last_s"))


def _alarm(share: float) -> str:
    return "red" if share >= MEMORY_ALARM else "yellow" if share >= MEMORY_WARN else ""


# --- one agent ---------------------------------------------------------------------------------------------------
def agent_body(view: View, seen: Seen, width: int, room: int) -> list[Line]:
    row = seen.known or next((row for row in seen.rows if row["name"] == view.agent), None)
    if row is None:
        return [((f"{view.agent}: not in the fleet any more", "yellow"),)] if seen.status is not None else []
    phase = str(row.get("phase"))
    cells = _cells(row)
    top: list[Line] = [
        _joined(
            [
                (str(row["name"]), "bold"),
                cells["PHASE"],
                cells["HEALTH"],
                (f"up {cells['UP'][0]}", ""),
                cells["MEMORY"],
                (f"restarts {row.get('restarts', 0)}", ""),
                (f"pid {row.get('pid') or NOTHING}", "dim"),
            ],
            width,
        )
    ]
    top += [((part, COLOUR_OF_PHASE.get(phase, "")),) for part in wrap(why_next(row), width)[:3]]
    left = max(1, room - len(top) - 1)
    return [*top, (("─" * width, "dim"),), *_pane(view, seen, width, left)]


def _pane(view: View, seen: Seen, width: int, room: int) -> list[Line]:
    if view.pane == "describe":
        content = described(seen, width)
        start = min(view.scroll, max(0, len(content) - room))
        return content[start : start + room]
    logs: list[Line] = [((cut(log_line(line).expandtabs(8), width), ""),) for line in seen.logs]
    if view.pane == "logs":
        return _tail(logs, room, view.scroll) or [(("nothing was printed yet", "dim"),)]
    events = [_event(record, width) for record in seen.events]
    below = min(len(logs), room // 3)
    shown = _tail(events, room - below - (1 if below else 0), view.scroll)
    return [*shown, (("last lines:", "bold"),), *_tail(logs, below, 0)] if below else shown


def described(seen: Seen, width: int) -> list[Line]:
    from holdfast.cli.describe import describe_lines

    return [((line, ""),) for line in describe_lines(seen.known, width)] if seen.known else []


def scroll_max(view: View, seen: Seen, width: int, room: int) -> int:
    """How far the pane can be scrolled."""
    if not view.agent:
        return 0
    by_pane: dict[str, Sequence[object]] = {
        "describe": described(seen, width) if view.pane == "describe" else [],
        "logs": seen.logs,
    }
    return max(0, len(by_pane.get(view.pane, seen.events)) - max(1, room // 3))


def _event(record: Row, width: int) -> Line:
    import time

    at = time.strftime("%m-%d %H:%M:%S" if width >= 60 else "%H:%M:%S", time.localtime(record.get("at") or 0))
    kind = one_line(record.get("kind", ""))
    return _fit(
        ((f"{at} ", "dim"), (f"{kind} " if width >= 60 else "", "cyan"), (one_line(record.get("text", "")), "")), width
    )


def _tail(lines: Sequence[Line], room: int, back: int) -> list[Line]:
    """The last `room` lines, or as many `back` from the end."""
    end = max(min(room, len(lines)), len(lines) - back)
    return list(lines[max(0, end - room) : end])


# --- fitting -----------------------------------------------------------------------------------------------------
def _joined(parts: Sequence[Piece], width: int) -> Line:
    """Parts on one line, two spaces between; what does not fit is left out."""
    pieces: list[Piece] = []
    used = 0
    for text, style in parts:
        gap = 2 if pieces else 0
        if not text or used + gap + columns(text) > width:
            if not pieces and text:
                pieces.append((cut(text, width), style))
                used = columns(pieces[0][0])
            continue
        pieces += [(" " * gap, "")] if gap else []
        pieces.append((text, style))
        used += gap + columns(text)
    return tuple(pieces)


def _spaced(pieces: Sequence[Piece], style: str = "") -> Line:
    """Cells with one space between them."""
    spaced: list[Piece] = []
    for piece in pieces:
        spaced += [(" ", style), piece] if spaced else [piece]
    return tuple(spaced)


def _fit(line: Line, width: int) -> Line:
    """The line in at most `width` columns."""
    fitted: list[Piece] = []
    for text, style in line:
        left = width - sum(columns(done) for done, _ in fitted)
        if left <= 0:
            break
        fitted.append((cut(text, left), style))
    return tuple(fitted)
