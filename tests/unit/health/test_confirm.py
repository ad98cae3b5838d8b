"""How long a healed agent must be good."""

from __future__ import annotations

import pytest

from holdfast.health.confirm import confirm_s
from holdfast.limits import CONFIRM_MAX_S, CONFIRM_S
from holdfast.spec.model import AgentSpec, FileBeat, Health


@pytest.mark.parametrize(
    ("max_age_s", "expected"), [(10.0, CONFIRM_S), (120.0, 125.0), (290.0, 295.0), (900.0, CONFIRM_MAX_S)]
)
def test_it_covers_the_slowest_source_within_bounds(max_age_s: float, expected: float) -> None:
    health = Health(file=FileBeat(path="/beat", max_age_s=max_age_s))
    assert confirm_s(AgentSpec(name="one", command=("x",), working_dir="/", health=health)) == expected
