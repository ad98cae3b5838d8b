"""Readers of numbers, with their units and bounds: durations, sizes, shares, counts.

Invariant: as in `readers.py`: a value within its bounds, None for `none` or `off` where that is allowed, or REFUSED
with the problem noted. Called by `fields.py`, `blocks.py`, `watching.py`, `layers.py` and `load.py`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from holdfast import limits
from holdfast.spec import units
from holdfast.spec.document import Scalar, Sequence
from holdfast.spec.readers import OFF, REFUSED, Cursor, Shape, Shaped, either, is_off, list_of, scalar

DURATION: Final[Shape] = {"type": ["string", "number"], "pattern": r"^[0-9.]+(ms|[dhms])?([0-9.]+(ms|[hms]))*$"}
SIZE: Final[Shape] = {"type": ["string", "number"], "pattern": r"^[0-9.]+ ?([kKMGT]i?)?B?$"}
SHARE: Final[Shape] = {"type": ["string", "number"], "pattern": r"^[0-9.]+ ?%?$"}
NONE: Final[Shape] = {"const": "none"}


def whole(low: int, high: int, *, off: str = "") -> Shaped:
    """A whole number in [low, high]. `off`: the word that stands for None, where there is one."""
    expected = f"a whole number from {low} to {high}" if low < high else str(low)
    expected += f", or {off}" if off else ""

    def read(at: Cursor) -> Any:
        if off and is_off(at.node):
            return None
        value = scalar(at, expected, ("int",))
        if value is None:
            return REFUSED
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not low <= int(value) <= high:
            return at.refuse(expected)
        return int(value)

    shape: Shape = {"type": "integer", "minimum": low, "maximum": high}
    return Shaped(read, either(shape, OFF) if off else shape)


def count(low: int, high: int) -> Shaped:
    """A whole number in [low, high], or None for `none`."""
    number = whole(low, high)

    def read(at: Cursor) -> Any:
        return None if isinstance(at.node, Scalar) and at.node.text == "none" else number(at)

    return Shaped(read, either(number.shape, NONE))


def duration(low_s: float, high_s: float = limits.DURATION_MAX_S, *, off: bool = False) -> Shaped:
    """Seconds in [low_s, high_s]; with `off` also None."""
    example = "10s" if low_s <= 10 <= high_s else units.format_duration(low_s)
    expected = f"a duration from {units.format_duration(low_s)} to {units.format_duration(high_s)}, "
    expected += f"such as {example} or 1h30m" + (", or off" if off else "")

    def read(at: Cursor) -> Any:
        if off and is_off(at.node):
            return None
        value = scalar(at, expected, ("str", "int", "float"))
        if value is None:
            return REFUSED
        try:
            seconds = units.parse_duration(value)
        except ValueError as error:
            return at.refuse(expected, meant=str(error))
        return seconds if low_s <= seconds <= high_s else at.refuse(expected)

    return Shaped(read, either(DURATION, OFF) if off else DURATION)


def durations(low: int, high: int) -> Shaped:
    """A list of `low` to `high` durations."""
    one = duration(0)

    def read(at: Cursor) -> Any:
        if not isinstance(at.node, Sequence) or not low <= len(at.node.items) <= high:
            return at.refuse(f"a list of {low} to {high} durations, such as [0s, 10s, 60s]")
        values = [one(at.child(str(index), item)) for index, item in enumerate(at.node.items)]
        return REFUSED if REFUSED in values else tuple(values)

    return Shaped(read, list_of(DURATION, high) | {"minItems": low})


def size(low_bytes: int, *, none: str = "") -> Shaped:
    """Bytes, at least `low_bytes`; with `none` ("none" or "off") also None for that word."""
    expected = f"a size such as 500M or 1.5G, at least {units.format_size(low_bytes)}" + (
        f", or {none}" if none else ""
    )

    def read(at: Cursor) -> Any:
        if none and (is_off(at.node) if none == "off" else isinstance(at.node, Scalar) and at.node.text == none):
            return None
        value = scalar(at, expected, ("str", "int", "float"))
        if value is None:
            return REFUSED
        try:
            found = units.parse_size(value)
        except ValueError as error:
            return at.refuse(expected, meant=str(error))
        if low_bytes <= found < 2**62:
            return found
        return at.refuse(expected, meant=f"{value}M" if value.isdigit() and found < 100_000 else "")

    return Shaped(read, SIZE if not none else either(SIZE, OFF if none == "off" else NONE))


def _cpus(at: Cursor) -> Any:
    expected = "a number of cores such as 0.5, from 0.01 to 4096, or none"
    value = scalar(at, expected, ("str", "int", "float"))
    if value is None:
        return REFUSED
    if value == "none":
        return None
    try:
        cores = units.parse_cpus(value)
    except ValueError as error:
        return at.refuse(expected, meant=str(error))
    return cores if 0.01 <= cores <= 4096 else at.refuse(expected)


# Cores, or None for `none`.
cpus = Shaped(_cpus, either({"type": "number", "minimum": 0.01, "maximum": 4096}, {"type": "string"}))


def share(most: float = 1.0, *, off: bool = True) -> Shaped:
    """`80%` or `0.8` as 0.8, from 1 % to `most`; with `off` also SHARE_NEVER."""
    expected = f"a share from 1% to {units.format_share(most)}, such as 80%" + (", or off" if off else "")

    def read(at: Cursor) -> Any:
        if off and is_off(at.node):
            return limits.SHARE_NEVER
        value = scalar(at, expected, ("str", "int", "float"))
        if value is None:
            return REFUSED
        try:
            found = units.parse_share(value)
        except ValueError as error:
            return at.refuse(expected, meant=str(error))
        return found if 0.01 <= found <= most else at.refuse(expected)

    return Shaped(read, either(SHARE, OFF) if off else SHARE)
