"""Units as people write them: durations, sizes, shares, cores.

Invariant: parsing is exact (decimal arithmetic, no rounding surprises) and total: any text gives a number or a
ValueError whose text is the suggestion, never another exception. Called by the field readers and by `--explain`.
"""

from __future__ import annotations

import re
from decimal import Decimal

# Larger units first; `d` because spans of days are common in schedules.
_SECONDS = {"d": Decimal(86_400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_DURATION = re.compile(
    r"(?:(?P<d>[0-9]{1,9}(?:\.[0-9]{1,9})?)d)?(?:(?P<h>[0-9]{1,9}(?:\.[0-9]{1,9})?)h)?"
    r"(?:(?P<m>[0-9]{1,9}(?:\.[0-9]{1,9})?)m(?!s))?(?:(?P<s>[0-9]{1,9}(?:\.[0-9]{1,9})?)s)?"
    r"(?:(?P<ms>[0-9]{1,9})ms)?"
)
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")

# As in Kubernetes: M is a million, Mi is 2**20.
_BYTES = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})")


def parse_duration(text: str) -> float:
    """Seconds. `250ms`, `10s`, `5m`, `1h30m`, `2d`; a bare number is seconds. ValueError carries a suggestion."""
    if _NUMBER.fullmatch(text):
        return float(Decimal(text))
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(_meant_duration(text))
    return float(
        sum((Decimal(number) * _SECONDS[unit] for unit, number in match.groupdict().items() if number), Decimal(0))
    )


def _meant_duration(text: str) -> str:
    words = {"sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m"}
    words |= {"minutes": "m", "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "day": "d", "days": "d"}
    words |= {"msec": "ms", "msecs": "ms", "millis": "ms", "milliseconds": "ms"}
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) *([A-Za-z]{1,12})", text.strip())
    if match is None:
        return ""
    unit = match[2].lower()
    short = words.get(unit, unit)
    return match[1] + short if short in _SECONDS else ""


def parse_size(text: str) -> int:
    """Bytes. `500M`, `1.5G`, `512Mi`, `500MB`, `512MiB`; a bare number is bytes. ValueError carries a suggestion."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("")
    number, unit = match[1], match[2]
    bare = unit[:-1] if len(unit) > 1 and unit.endswith("B") else "" if unit == "B" else unit
    if bare not in _BYTES:
        raise ValueError(_meant_size(number, unit))
    return int(Decimal(number) * _BYTES[bare])


def _meant_size(number: str, unit: str) -> str:
    lowered = unit.lower().removesuffix("b")
    for known in _BYTES:
        if known and known.lower() == lowered:
            return number + known
    return ""


def parse_cpus(text: str) -> float:
    """Cores: `0.5`, `2`. ValueError carries a suggestion (`500m` means 0.5 elsewhere)."""
    if _NUMBER.fullmatch(text):
        return float(Decimal(text))
    match = re.fullmatch(r"([0-9]{1,9})m", text)
    raise ValueError(f"{Decimal(match[1]) / 1000:f}" if match else "")


def parse_share(text: str) -> float:
    """`80%` and `0.8` are 0.8; above one only with its sign. ValueError carries a suggestion."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(%?)", text)
    if match is None:
        raise ValueError("")
    if not match[2] and Decimal(match[1]) > 1:
        raise ValueError(f"{match[1]}%")
    return float(Decimal(match[1]) / (100 if match[2] else 1))


def format_share(share: float) -> str:
    """As a percentage, which `parse_share` reads back as the same number (to nine digits)."""
    return f"{(Decimal(repr(share)) * 100).normalize():f}%"


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back as the same number."""
    left_ms = round(seconds * 1000)
    if left_ms == 0:
        return "0s"
    parts: list[str] = []
    for unit, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left_ms = divmod(left_ms, size_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_size(size_bytes: int) -> str:
    """The shortest text that `parse_size` reads back as the same number."""
    for unit in ("Ti", "T", "Gi", "G", "Mi", "M", "Ki", "K"):
        if size_bytes >= _BYTES[unit] and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return str(size_bytes)
