"""How old a snapshot is at least, whatever the clocks said: the time that surely passed since we first saw it.

The wall clock may jump by years in either direction, and a store's clock is mostly the same wall clock. So age is
counted in time that was seen to pass: CLOCK_BOOTTIME within one boot, and over a reboot the wall clock only where
the kernel called it synchronised before and after. Invariant: an age is never more than the true one. What is
doubtful (a lost record, a reboot with a clock that nothing keeps right) makes snapshots look younger, and younger
means kept. Called by the thinning of snapshots, by the trash and by gc; the arithmetic is pure.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast import files
from holdfast.limits import AGE_REBOOT_MAX_S

FORMAT = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC: the kernel's clock is not kept right, or somebody has just set it
_TIMEX_BYTES = 512  # more than struct timex has on any machine
_TIMEX_STATUS_OFFSET = 40  # of `status` where a long has 8 bytes: after modes, offset, freq, maxerror and esterror


class Reading(Struct, frozen=True, kw_only=True):
    """The clocks at one moment."""

    boot: str  # id of this boot of the machine
    up_s: float  # CLOCK_BOOTTIME: runs on while the machine sleeps, and nobody can set it
    at: float  # wall clock
    trusted: bool  # the kernel says that the wall clock is kept right by a time server


class Times(Struct, frozen=True, kw_only=True):
    """What is remembered. All `*_s` count from the day when the record was begun."""

    format: int = FORMAT
    elapsed_s: float = 0.0
    last: Reading
    seen: dict[str, float] = {}  # name of a snapshot's object -> elapsed_s when it was first seen
    due: dict[str, float] = {}  # name of an object in trash -> elapsed_s from which it may go


def advance(times: Times | None, now: Reading) -> Times:
    """The record as of `now`. None: there is none yet, or it was lost; then everything is new."""
    if times is None:
        return Times(last=now)
    last = times.last
    if last.boot == now.boot:
        passed = now.up_s - last.up_s
    elif last.trusted and now.trusted:
        passed = min(now.at - last.at, AGE_REBOOT_MAX_S)
    else:
        passed = 0.0
    return msgspec.structs.replace(times, elapsed_s=times.elapsed_s + max(0.0, passed), last=now)


def observe(times: Times, names: Iterable[str]) -> Times:
    """The record with these snapshots: new ones are seen now, those that are gone are forgotten."""
    seen = {name: min(times.seen.get(name, times.elapsed_s), times.elapsed_s) for name in names}
    return msgspec.structs.replace(times, seen=seen)


def observe_trash(times: Times, wanted: Mapping[str, float]) -> Times:
    """The record with these objects in trash: name -> seconds that an unknown one is to stay from now on."""
    due = {name: times.due.get(name, times.elapsed_s + stay_s) for name, stay_s in wanted.items()}
    return msgspec.structs.replace(times, due=due)


def age_s(times: Times, name: str) -> float:
    """How long ago the snapshot was made, at least. Unknown ones have no age."""
    return max(0.0, times.elapsed_s - times.seen.get(name, times.elapsed_s))


def read_clocks(at: float | None = None) -> Reading:
    """The machine's clocks now. `at`: the wall clock where the caller has one of its own."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return Reading(
        boot=boot,
        up_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        at=time.time() if at is None else at,
        trusted=_synchronised(),
    )


def load(path: Path) -> Times | None:
    """None where there is no record or it cannot be read: it only makes snapshots look younger."""
    try:
        times = msgspec.json.decode(path.read_bytes(), type=Times)
    except (OSError, msgspec.MsgspecError):
        return None
    return times if times.format == FORMAT else None


def save(path: Path, times: Times) -> None:
    """Raises OSError."""
    files.write_atomic(path, msgspec.json.encode(times))


def _synchronised() -> bool:
    """Asks the kernel (adjtimex with nothing to set). Anything unexpected: no."""
    if ctypes.sizeof(ctypes.c_long) != 8:
        return False
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        if libc.adjtimex(buffer) < 0:
            return False
        status = ctypes.c_int.from_buffer(buffer, _TIMEX_STATUS_OFFSET).value
    except (OSError, AttributeError, ValueError):
        return False
    return not status & _UNSYNCHRONISED
