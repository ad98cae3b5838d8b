"""Whom `up --wait` waits for."""

from __future__ import annotations

import pytest

from holdfast.cli.fleet_view import awaited, unsettled
from holdfast.limits import CONFIRM_S


@pytest.mark.parametrize(
    ("phase", "good_s", "waited_for"),
    [
        ("healthy", None, False),
        ("stopped", None, False),
        ("degraded", None, True),
        ("recovering", None, True),
        ("recovering", CONFIRM_S - 1, True),
        ("recovering", CONFIRM_S, False),
        ("backoff", CONFIRM_S, True),
    ],
)
def test_an_agent_that_is_good_for_long_enough_is_not_waited_for(
    phase: str, good_s: float | None, waited_for: bool
) -> None:
    status = {"agents": [{"name": "one", "phase": phase, "good_s": good_s}]}
    assert awaited(status) == (["one"] if waited_for else [])
    assert unsettled(status) == ([] if phase in ("healthy", "stopped") else ["one"])
