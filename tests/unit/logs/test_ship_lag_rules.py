"""When a log server is said to be behind, and when that is worth a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import limits
from holdfast.logs import ship_lag
from holdfast.logs.ship_lag import Lag, Lags
from holdfast.spec.model import Shipping

LOKI = Shipping(kind="loki", url="https://name:secret@logs.example:3100/push?key=secret")
NOW = 1_700_000_000.0


def behind(age_s: float) -> Lag | None:
    return ship_lag.lag_of(LOKI, (500, int((NOW - age_s) * 1e9)), "connection refused", NOW)


@pytest.mark.parametrize(
    ("age_s", "late"),
    [(0.0, None), (limits.SHIP_LAG_SHOWN_S - 1, None), (60.0, False), (limits.SHIP_LATE_S, True)],
)
def test_a_server_lags_after_seconds_and_is_late_after_minutes(age_s: float, late: bool | None) -> None:
    lag = behind(age_s)
    assert (lag.late if lag else None) is late


def test_nothing_of_the_address_but_host_and_port_is_told() -> None:
    lag = behind(700.0)
    assert lag is not None
    assert lag.server == "logs.example:3100"
    assert ship_lag.words([lag]) == (
        "loki logs.example:3100 has not taken lines since 2023-11-14 22:01 UTC (connection refused)"
    )


def test_only_what_is_new_is_told_at_once() -> None:
    early, late = behind(60.0), behind(700.0)
    assert early
    assert late
    some, more = Lags(agents={"a": [early]}), Lags(agents={"a": [late]})
    figures = Lags(agents={"a": [behind(61.0) or early]})
    assert ship_lag.is_news(Lags(), some, 0.0)
    assert ship_lag.is_news(some, more, 0.0)
    assert ship_lag.is_news(some, Lags(), 0.0)
    assert not ship_lag.is_news(some, figures, 1.0)
    assert ship_lag.is_news(some, figures, limits.SHIP_LAG_TOLD_EVERY_S)
    assert not ship_lag.is_news(some, some, 1e9)


def test_what_was_written_is_read_and_rubbish_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "logger").mkdir()
    lags = Lags(agents={"a": [lag for lag in [behind(60.0)] if lag]})
    assert ship_lag.read(tmp_path) == Lags()
    assert ship_lag.write(tmp_path, lags)
    assert ship_lag.read(tmp_path) == lags
    (tmp_path / "logger" / ship_lag.FILE).write_text("{")
    assert ship_lag.read(tmp_path) == Lags()
