"""Maintenance: failures are held, nothing is done and nobody told; at its end what was held is healed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast.healing import triage
from holdfast.healing.actions import Arm, OpenIncident, Remember, RestartTree, Start
from holdfast.healing.model import Adopted, Behaved, Checked, Exited, Ladder, Observation, Phase, Policy, Tier, Timer
from holdfast.health.model import Verdict
from holdfast.limits import HANDS_OFF_LOOK_S

ON = Policy(hands_off=True, has_gate=True)
OFF = Policy(has_gate=True)
WELL = Ladder(phase=Phase.HEALTHY, running=True, gate_passed=True, instance=3, good_since_mono=1.0, started_mono=1.0)


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        (Exited(instance=3, code=1), Phase.BACKOFF),
        (Checked(instance=3, verdict=Verdict.REFUSED), Phase.UNHEALTHY),
        (Behaved(instance=3, failing=True, cause="beat: no beat for 130 s"), Phase.UNHEALTHY),
    ],
)
def test_a_failure_is_held_and_healed_when_maintenance_ends(seen: Observation, phase: Phase) -> None:
    held, acts = triage.decide(WELL, seen, ON, 100.0, 0.0)
    assert held.phase is phase
    assert held.incident == 0
    assert held.due_mono == 100.0 + HANDS_OFF_LOOK_S
    assert all(isinstance(act, Remember | Arm) for act in acts)
    again, acts = triage.decide(held, Timer(), ON, held.due_mono, 0.0)
    assert again.phase is phase
    assert again.due_mono == held.due_mono + HANDS_OFF_LOOK_S
    assert again.due_mono is not None
    healed, acts = triage.decide(again, Timer(), OFF, again.due_mono, 0.0)
    kinds = {type(act) for act in acts}
    assert OpenIncident in kinds
    assert kinds & {Start, RestartTree}
    assert healed.incident == 1
    assert healed.cause


def test_init_may_restart_nothing_alone_while_it_lasts() -> None:
    assert triage.permit(WELL, ON, 100.0, 0.0).delays_s == ()  # type: ignore[union-attr]
    assert triage.permit(WELL, OFF, 100.0, 0.0).delays_s  # type: ignore[union-attr]


def test_an_agent_that_gets_well_by_itself_is_well() -> None:
    held, _ = triage.decide(WELL, Checked(instance=3, verdict=Verdict.REFUSED), ON, 100.0, 0.0)
    well, _ = triage.decide(held, Checked(instance=3, verdict=Verdict.OK), ON, 101.0, 0.0)
    assert well.phase is Phase.HEALTHY
    assert well.cause == ""


def test_an_escalated_agent_is_tried_no_more_while_it_lasts() -> None:
    state = replace(WELL, phase=Phase.ESCALATED, running=False, gate_passed=False, due_mono=100.0, incident=1)
    after, acts = triage.decide(state, Timer(), ON, 100.0, 0.0)
    assert not [act for act in acts if not isinstance(act, Remember | Arm)]
    assert after.due_mono == 100.0 + HANDS_OFF_LOOK_S


def test_an_act_under_way_is_not_sent_again_once_it_began() -> None:
    state = replace(WELL, phase=Phase.RECOVERING, pending=Tier.RESTART, tier=Tier.RESTART, incident=1, cause="c")
    due = replace(state, due_mono=100.0)
    for seen in (Timer(), Adopted(instance=3, running=True)):
        after, acts = triage.decide(due, seen, ON, 100.0, 0.0)
        assert not [act for act in acts if not isinstance(act, Remember | Arm)]
        assert after.phase is Phase.UNHEALTHY
        assert after.incident == 1
        healed, acts = triage.decide(after, Timer(), OFF, after.due_mono or 0.0, 0.0)
        assert [act for act in acts if isinstance(act, RestartTree)]
        assert healed.incident == 1


def test_a_new_keeper_tries_no_escalated_agent_once_it_began() -> None:
    state = replace(WELL, phase=Phase.ESCALATED, pending=Tier.ALERT, tier=Tier.ALERT, incident=1, alerted=True)
    after, acts = triage.decide(state, Adopted(instance=3, running=True), ON, 100.0, 0.0)
    assert not [act for act in acts if not isinstance(act, Remember | Arm)]
    assert after.pending is Tier.NONE
