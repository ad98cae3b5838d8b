"""How long init may look away from the beats: long where it saves wake-ups, never so long that senders wait."""

from __future__ import annotations

import pytest

from holdfast.init import notify


@pytest.mark.parametrize(
    ("rate", "queue", "doze_s"),
    [
        (0.0, 10, 0.0),
        (5.0, 10, 0.0),  # one now and then is taken at once
        (1000.0, 10, 0.007),
        (10_000.0, 10, 0.0),  # less than epoll can wait for: the socket calls
        (10_000.0, 512, 0.02),
        (100.0, 512, 0.02),
    ],
)
def test_init_looks_away_for_as_long_as_the_queue_holds(rate: float, queue: int, doze_s: float) -> None:
    assert notify.doze_for(rate, queue) == pytest.approx(doze_s)


@pytest.mark.parametrize("rate", [50.0, 333.0, 1000.0, 5000.0, 40_000.0])
@pytest.mark.parametrize("queue", [1, 10, 512])
def test_what_comes_meanwhile_fits_into_the_queue(rate: float, queue: int) -> None:
    assert notify.doze_for(rate, queue) * rate <= queue


def test_the_rate_follows_what_comes() -> None:
    rate = 0.0
    for _ in range(2000):
        rate = notify.rate_of(rate, 1, 0.0001)
    assert rate == pytest.approx(10_000.0, rel=0.05)
    assert notify.rate_of(rate, 1, 10.0) == pytest.approx(0.1)


def test_two_at_the_same_instant_are_no_flood() -> None:
    assert notify.rate_of(0.0, 1, 0.0) <= 20.0 + 1e-9
