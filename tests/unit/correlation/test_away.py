"""Sleeping, jumping and being late are told apart; a leap second is nothing."""

import pytest

from holdfast.correlation.away import Clocks, gap

BEFORE = Clocks(1000.0, 5000.0, 1_700_000_000.0)


def after(mono: float, slept: float = 0.0, jumped: float = 0.0) -> Clocks:
    return Clocks(1000.0 + mono, 5000.0 + mono + slept, 1_700_000_000.0 + mono + slept + jumped)


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        (after(5), None),
        (after(6, jumped=1.0), None),
        (after(9, slept=4.0), None),
        (after(5, slept=7300), "slept"),
        (after(5, jumped=86_400), "jumped"),
        (after(5, jumped=-86_400), "jumped"),
        (after(65), "late"),
        (after(5, slept=60, jumped=3600), "jumped"),
    ],
)
def test_a_gap_has_one_name(now: Clocks, kind: str | None) -> None:
    found = gap(BEFORE, now, 5.0)
    assert (found.kind if found else None) == kind


def test_a_gap_is_told_in_words_and_never_negative() -> None:
    found = gap(BEFORE, after(5, jumped=-86_400 * 3), 5.0)
    assert found is not None
    assert found.seconds == pytest.approx(86_400 * 3)
    assert found.why == "the clock was set 3 d back"
