"""The node's memory in `top`: a bar of who has how much of it, in words what is left, who goes next, who waits. Pure.

Invariant: the cells of the bar are the node, shared out so that they always sum to its width; without figures from
the keeper there is no line. Called by top_frame.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.cli.fleet_view import next_to_go
from holdfast.cli.render import size
from holdfast.printable import one_line

BAR_SHARE, BAR_CELLS_MIN, BAR_CELLS_MAX = 4, 10, 40  # a quarter of the line
# What the node's bytes are: in use by agents, what these may grow by, others' (software beside us), free, reserve.
MARKS = (("█", "green"), ("▓", "yellow"), ("▒", "dim"), ("░", ""), ("▚", "dim"))

Piece = tuple[str, str]


def memory_line(status: dict[str, Any], width: int) -> tuple[list[Piece], list[Piece]]:
    """The bar, and words in the order of what matters most: a narrow terminal goes without the last."""
    node = status.get("node") or {}
    if not node.get("memory_bytes") or node.get("budget_bytes") is None:
        return [], []
    used, grow, others, free, reserve = shares(node)
    short = (node.get("free_bytes") or 0) < 0
    cells = max(BAR_CELLS_MIN, min(BAR_CELLS_MAX, width // BAR_SHARE))
    words: list[Piece] = [(f"agents {size(used)} of {size(node['memory_bytes'])}", "green")]
    words.append((f"free {size(free)}", "red" if short else ""))
    first = next_to_go(status.get("agents") or [])
    if first:
        words.append((f"first to go {first}", "yellow" if short else ""))
    if node.get("queued"):
        words.append((f"queued {node['queued']}", "cyan"))
    words += [(f"may grow {size(grow)}", "yellow"), (f"reserve {size(reserve)}", "red" if short else "dim")]
    if others:
        words.append((f"others {size(others)}", "dim"))
    words += [(one_line(each), "yellow") for each in (node.get("neighbours") or [])[:1]]
    return bar((used, grow, others, free, reserve), cells), words


def shares(node: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Bytes in use by agents, to grow by, of others, free, in reserve; together the node."""
    whole, reserve, budget = node["memory_bytes"], node.get("reserve_bytes") or 0, max(0, node["budget_bytes"])
    used = min(max(0, node.get("agents_bytes") or 0), budget)
    grow = min(max(0, (node.get("leased_bytes") or 0) - used), budget - used)
    others = max(0, whole - reserve - budget)
    free = max(0, whole - reserve - others - used - grow)
    return used, grow, others, free, reserve


def bar(parts: Sequence[int], cells: int) -> list[Piece]:
    """One piece for each part, `cells` long together; a part that is there has a cell as long as there is room."""
    whole = sum(parts) or 1
    pieces: list[Piece] = []
    done = before = 0
    for part, (mark, style) in zip(parts, MARKS, strict=True):
        before += part
        until = max(done, round(before / whole * cells))
        if part and until == done and done < cells:
            until = done + 1
        pieces.append((mark * (until - done), style))
        done = until
    return [piece for piece in pieces if piece[0]]
