"""Values of settings as a person would write them, on one line.

Invariant: total, one line of printable text; passwords in URLs, and values of headers, never appear. Values of
environment variables are masked by the caller, who knows which are secret. Pure. Called by `explain.py`, by
`schema.py`, and for the plan of an `up`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from holdfast import limits
from holdfast.spec import times, units
from holdfast.spec.fields import FIELDS
from holdfast.spec.masking import mask_url
from holdfast.spec.model import (
    AskMemory,
    CommandProbe,
    Dependency,
    FileBeat,
    HttpProbe,
    LogPattern,
    LogWatch,
    Maintenance,
    PlannedTime,
    PushBeat,
    Scaling,
    Shipping,
)
from holdfast.spec.problems import one_line
from holdfast.spec.recipe import Path

_UNITS = {path: one.unit for path, one in FIELDS.items()} | {
    ("health", "start_cpu"): "s",
    ("memory", "start_default"): "bytes",
}
# Where None is no missing limit but something switched off.
_OFF = ("health", "restart", "logs", "resources", "maintenance")


def shown(path: Path, value: Any) -> str:
    """`path`: the key, which knows the unit of its numbers."""
    if value is None or value == ():
        return "off" if path[0] in _OFF and path not in (("logs", "files"),) else "none"
    if path == ("command",):
        return one_line(shlex.join(value))
    if isinstance(value, tuple):
        if all(item == limits.SHARE_NEVER for item in value):
            return "off"
        return ", ".join(_one(path, item) for item in value)
    return _one(path, value)


def _one(path: Path, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(_UNITS.get(path, ""), value)
    if isinstance(value, str):
        return one_line(value)
    return one_line(_block(value))


def _number(unit: str, value: float) -> str:
    if value == limits.SHARE_NEVER:
        return "off"
    if unit == "s":
        return units.format_duration(value)
    if unit == "share":
        return units.format_share(value)
    return (
        units.format_size(int(value)) if unit == "bytes" else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _block(value: Any) -> str:
    duration = units.format_duration
    match value:
        case AskMemory(signal=signal, url=url, command=command):
            return signal or (mask_url(url) if url else shlex.join(command))
        case HttpProbe(url=url, expect=expect):
            wanted = ", ".join(f"{name}={one}" for name, one in expect.items())
            return f"{mask_url(url)} ({wanted})" if wanted else mask_url(url)
        case FileBeat(path=path, max_age_s=max_age_s):
            return f"{path}, at most {duration(max_age_s)} old"
        case CommandProbe(command=command, interval_s=interval_s, timeout_s=timeout_s, retries=retries):
            return (
                f"{' '.join(command)}, every {duration(interval_s)}, within {duration(timeout_s)}, {retries} in a row"
            )
        case LogWatch(silence_s=silence_s, patterns=patterns):
            silence = [] if silence_s is None else [f"silent for {duration(silence_s)}: failing"]
            return ", ".join([*silence, *(_pattern(one) for one in patterns)])
        case PushBeat(every_s=every_s, grace_s=grace_s):
            return f"every {duration(every_s)}, {duration(grace_s)} late at most"
        case PlannedTime():
            return times.show(value)
        case Dependency(agent=agent, condition=condition):
            return f"{agent} {condition}"
        case Maintenance(on=on, windows=windows, length_s=length_s):
            opened = _times(windows)
            return "on" if on else f"{opened}, for {duration(length_s)}" if windows else "off"
        case Shipping(kind=kind, url=url, headers=headers):
            named = f" with {', '.join(headers)}" if headers else ""
            return f"{kind} {mask_url(url)}{named}"
        case Scaling(number=number, least=least, most=most, per_queue_depth=depth):
            return f"{least} to {most}, one for each {depth:g} that wait (this is number {number})"
    return str(value)


def _pattern(one: LogPattern) -> str:
    often = f"{one.count} in {units.format_duration(one.within_s)}" if one.count > 1 else "once"
    return f"/{one.pattern}/ {often}: {one.then}"


def _times(found: Sequence[PlannedTime]) -> str:
    return ", ".join(times.show(one) for one in found)
