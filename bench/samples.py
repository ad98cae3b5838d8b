"""Figures from raw samples: percentiles by nearest rank, ratios, and how they are printed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile; the largest sample for 100. Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def median(samples: Sequence[float]) -> float:
    """Middle sample, or the mean of the two in the middle."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def ratio(ours: float, best_peer: float) -> str:
    """Ours against the best peer: below 1 means less, which is better in every table here."""
    if best_peer <= 0:
        return "-" if ours > 0 else "1.00"
    return f"{ours / best_peer:.2f}"


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a table: large ones without decimals, none as a dash."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
