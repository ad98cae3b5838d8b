"""What init may do alone, and when it has to be told anew."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper import permits
from holdfast.spec.model import AgentSpec

SPEC = AgentSpec(name="one", command=("x",), working_dir="/", ask_codes=(78,))
HEALTHY = Ladder(phase=Phase.HEALTHY, running=True, gate_passed=True, instance=4)


def test_a_healthy_agent_may_be_restarted_at_once_and_then_slower() -> None:
    permit = permits.compute(SPEC, Policy(), HEALTHY, 100.0)
    assert permit.delays_s[0] == 0.0
    assert 10.0 <= permit.delays_s[1] <= 11.0
    assert permit.ask_codes == (78,)
    assert permits.message(permit)["delays_s"] == list(permit.delays_s)


def test_nothing_may_be_done_alone_for_an_agent_that_is_not_wanted() -> None:
    assert permits.compute(SPEC, Policy(), replace(HEALTHY, wanted=False), 100.0).delays_s == ()


def test_an_unchanged_situation_gives_an_unchanged_permit() -> None:
    held = permits.compute(SPEC, Policy(), HEALTHY, 100.0)
    assert permits.same(held, permits.compute(SPEC, Policy(), HEALTHY, 250.0))
    assert not permits.same(None, held)


def test_what_init_consumed_is_what_triage_leaves() -> None:
    """After a restart by permit, both sides agree without a word."""
    held = permits.compute(SPEC, Policy(), HEALTHY, 100.0)
    after = replace(HEALTHY, instance=5, restarts_mono=(100.0,))
    assert permits.same(permits.consumed(held, 5), permits.compute(SPEC, Policy(), after, 101.0))


def test_a_changed_guarded_file_changes_the_permit(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    spec = replace(SPEC, guarded_files=(str(path),))
    held = permits.compute(spec, Policy(), HEALTHY, 100.0)
    assert held.guarded == {str(path): None}
    path.write_text("{}")
    assert not permits.same(held, permits.compute(spec, Policy(), HEALTHY, 100.0))
