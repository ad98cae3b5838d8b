"""What `describe` says lies ahead is what the ladder would do."""

from __future__ import annotations

import pytest

from holdfast.healing.model import Ladder, Policy, Tier
from holdfast.keeper.telling.outlook import budgets

POLICY = Policy(backoff_s=(0.0, 10.0, 60.0), window_s=900.0)


@pytest.mark.parametrize(
    ("ladder", "restarts", "recreates", "back_in_s"),
    [
        (Ladder(), 3, 1, None),
        (Ladder(restarts_mono=(100.0, 150.0)), 1, 1, 700.0),
        (Ladder(restarts_mono=(100.0,), incident=1, tier=Tier.RESTART), 2, 1, None),
        (Ladder(restarts_mono=(1.0, 2.0, 3.0), incident=1, tier=Tier.RECREATE, recreated_mono=200.0), 0, 0, None),
        (Ladder(restarts_mono=(-900.0,)), 3, 1, None),
        (Ladder(recreated_mono=250.0), 3, 0, None),
    ],
)
def test_budgets_left_and_when_they_come_back(
    ladder: Ladder, restarts: int, recreates: int, back_in_s: float | None
) -> None:
    first, second = budgets(ladder, POLICY, 300.0)
    assert (first.total, first.left, first.back_in_s) == (3, restarts, back_in_s)
    assert (second.total, second.left) == (1, recreates)
    if ladder.incident and restarts < 3:
        assert first.why
    if ladder.recreated_mono == 250.0:
        assert second.back_in_s == 850.0


def test_the_third_tier_is_shown_only_where_something_can_be_restored() -> None:
    assert [one.tier for one in budgets(Ladder(), POLICY, 0.0)] == [1, 2]
    can_restore = Policy(restore_available=True)
    assert [one.tier for one in budgets(Ladder(), can_restore, 0.0)] == [1, 2, 3]
