"""Sizes as people read them, in one convention: decimal, as in holdfast.yaml, so that a declared 1400M reads 1.4 GB.

Invariant: three figures at most, never an exponent, never a unit of 1024; what is exact in the file reads as it was
written. Pure. Called by everything that says a size in a sentence (`size`) or in a table (`short`).
"""

from __future__ import annotations

_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K"))
_TURNS = 0.9995  # of the next unit: what rounds up to it is told in it


def counted(number: int, one: str, many: str = "") -> str:
    """For a sentence: "1 agent", "2 agents", "0 entries"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def size(count_bytes: float, figures: int = 3) -> str:
    """For a sentence: "812 B", "4.1 MB", "1.34 GB"."""
    number, unit = _scaled(count_bytes, figures)
    return f"{number} {unit}B"


def short(count_bytes: float) -> str:
    """For a table, as the file writes it, in two figures where they do: "812B", "4.1M", "64M", "512M", "1.3G"."""
    number, unit = _scaled(count_bytes, 2)
    return f"{number}{unit or 'B'}"


def needed_and_left(needed_bytes: float, left_bytes: float) -> tuple[str, str]:
    """Both for one sentence which says that the first is more than the second: they never read the same."""
    needed, left = size(needed_bytes), size(max(0.0, left_bytes))
    figures = 4
    while needed == left and needed_bytes > left_bytes and figures <= 12:
        needed, left = size(needed_bytes, figures), size(max(0.0, left_bytes), figures)
        figures += 1
    return needed, left


def _scaled(count: float, figures: int) -> tuple[str, str]:
    for factor, unit in _UNITS:
        if abs(count) >= factor * (_TURNS if figures <= 3 else 1.0):
            value = count / factor
            whole = len(str(int(abs(value)))) if abs(value) >= 1 else 1
            text = f"{value:.{max(0, figures - whole)}f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text), unit
    return f"{count:.0f}", ""
