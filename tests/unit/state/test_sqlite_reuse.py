"""Which pieces may differ from those of the last capture."""

from __future__ import annotations

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from holdfast.state.databases.sqlite_reuse import Trace, differing, numbers, packed

_BEFORE = Trace(
    device=1,
    inode=2,
    changed=(100, 5, 5),
    fresh=False,
    page_size=4096,
    size=10 * 8192,
    salts=b"abcdefgh",
    frames=4,
    backfilled=1,
    seal=b"sealseal",
    touched=packed([1, 2]),
)
_LATER = replace(_BEFORE, frames=6, touched=packed([1, 2, 7]))


@pytest.mark.parametrize(
    ("changes", "seal_then", "expected"),
    [
        pytest.param({}, b"sealseal", [7], id="the log went on"),
        pytest.param({"changed": (100, 9, 9), "backfilled": 3}, b"sealseal", [7], id="and a checkpoint was made"),
        pytest.param({"changed": (100, 9, 9)}, b"sealseal", None, id="the file was written, but by no checkpoint"),
        pytest.param({}, b"otherend", [1, 2, 7], id="the log lost its end and got another"),
        pytest.param({"changed": (100, 9, 9), "backfilled": 3}, b"otherend", None, id="and the file was written"),
        pytest.param({"salts": b"ijklmnop", "frames": 1, "touched": packed([5])}, b"", [1, 2, 5], id="a new log"),
        pytest.param({"salts": b"", "frames": 0, "touched": b""}, b"", [1, 2], id="no log any more"),
        pytest.param({"inode": 3}, b"sealseal", None, id="another file"),
        pytest.param({"device": 3}, b"sealseal", None, id="another disk"),
        pytest.param({"page_size": 512}, b"sealseal", None, id="other pages"),
        pytest.param({"size": 12 * 8192}, b"sealseal", [7, 10, 11], id="grown"),
        pytest.param({"size": 10 * 8192 + 4096}, b"sealseal", [7, 10], id="grown by half a piece"),
        pytest.param({"size": 7 * 8192}, b"sealseal", [], id="cut below what changed"),
        pytest.param({"size": 9 * 8192 + 4096}, b"sealseal", [7, 9], id="cut in the last piece"),
    ],
)
def test_what_may_differ(changes: dict[str, object], seal_then: bytes, expected: list[int] | None) -> None:
    now = replace(_LATER, **changes)
    assert differing(_BEFORE, now, seal_then, lambda _: [7]) == expected


def test_a_file_that_was_too_fresh_then_proves_nothing_but_its_log_does() -> None:
    before = replace(_BEFORE, fresh=True)
    assert differing(before, _LATER, b"otherend", lambda _: [7]) is None
    assert differing(before, _LATER, b"sealseal", lambda _: [7]) == [7]


def test_without_a_last_capture_all_differ() -> None:
    assert differing(None, _LATER, b"", lambda _: []) is None


def test_a_trace_survives_being_stored() -> None:
    again = msgpack.decode(msgpack.encode(_LATER), type=Trace)
    assert again == _LATER
    assert numbers(again.touched) == [1, 2, 7]
