"""What init may do alone, and when it has to be told anew."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.acting import permits
from holdfast.spec.model import AgentSpec

SPEC = AgentSpec(name="one", command=("x",), working_dir="/", ask_codes=(78,))
HEALTHY = Ladder(phase=Phase.HEALTHY, running=True, gate_passed=True, instance=4)


def compute(ladder: Ladder, now_mono: float, spec: AgentSpec = SPEC) -> permits.Permit:
    found = permits.compute(spec, Policy(), ladder, now_mono)
    assert found is not None
    return found


def test_while_init_is_about_to_restart_its_permit_is_left_alone() -> None:
    waiting = replace(HEALTHY, phase=Phase.BACKOFF, running=False, by_init=True)
    assert permits.compute(SPEC, Policy(), waiting, 100.0) is None


def test_a_healthy_agent_may_be_restarted_at_once_and_then_slower() -> None:
    permit = compute(HEALTHY, 100.0)
    assert permit.delays_s[0] == 0.0
    assert 10.0 <= permit.delays_s[1] <= 11.0
    assert permit.ask_codes == (78,)
    assert permits.message(permit)["delays_s"] == list(permit.delays_s)


def test_nothing_may_be_done_alone_for_an_agent_that_is_not_wanted() -> None:
    assert compute(replace(HEALTHY, wanted=False), 100.0).delays_s == ()


def test_an_unchanged_situation_gives_an_unchanged_permit() -> None:
    held = compute(HEALTHY, 100.0)
    assert permits.same(held, compute(HEALTHY, 250.0))
    assert not permits.same(None, held)


def test_a_changed_guarded_file_changes_the_permit(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    spec = replace(SPEC, guarded_files=(str(path),))
    held = compute(HEALTHY, 100.0, spec)
    assert held.guarded == {str(path): None}
    path.write_text("{}")
    assert not permits.same(held, compute(HEALTHY, 100.0, spec))
