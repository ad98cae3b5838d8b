"""Agents that are set aside, as tables: from where, what it costs, how they come back; and deaths for memory."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace

from holdfast.healing import actions
from holdfast.healing import model as m
from holdfast.healing.depends import met
from holdfast.healing.model import Phase, Policy, Tier
from holdfast.healing.triage import decide, permit
from holdfast.health.model import Verdict
from tests.unit.healing.test_ladder import GATED, PLAIN, Run, delays, escalated, terms

SHED = m.SetAside(why="shed", text="went for big", grace_s=0.5)
Why = Literal["shed", "hibernating", "spare"]


def aside(run: Run, why: Why = "shed") -> Run:
    run.see(m.SetAside(why=why, text="went for big"))
    if run.state.phase is Phase.STOPPING:
        run.see(m.Exited(instance=run.state.instance, signal=15, expected=True), 0.1)
        run.see(m.Down(reason="stopped", instance=run.state.instance))
    assert run.state.phase is Phase(why)
    return run


def killed_for_memory(run: Run, after_s: float = 1.0) -> list[actions.Action]:
    return run.see(m.Exited(instance=run.state.instance, signal=9, memory=True), after_s)


@pytest.mark.parametrize("why", ["shed", "hibernating", "spare"])
def test_whoever_is_set_aside_is_stopped_as_planned_and_stays_down_until_it_is_called_back(why: Why) -> None:
    run = Run(GATED).up()
    assert run.see(m.SetAside(why=why, text="went for big", grace_s=0.5)) == [actions.StopTree(instance=1, grace_s=0.5)]
    assert (run.state.phase, run.state.wanted, run.state.planned_stop) == (Phase.STOPPING, True, True)
    assert delays(run) == ()
    run.see(m.Exited(instance=1, signal=15, expected=True), 0.2)
    assert run.see(m.Down(reason="stopped", instance=1)) == []
    assert (run.state.phase, run.state.due_mono, run.state.incident) == (Phase(why), None, 0)
    assert run.see(m.Timer(), 1e6) == run.see(m.Adopted(instance=1, running=False)) == []
    assert delays(run) == ()
    assert run.see(m.CalledBack(text="room")) == [actions.AskSlot()]
    assert run.see(m.SlotGranted()) == [actions.Start(instance=1, tier=Tier.NONE)]
    run.see(m.Spawned(instance=2))
    assert (run.state.aside, run.state.aside_mono, run.state.restarts_total) == ("", None, 0)


@pytest.mark.parametrize(
    "death",
    [
        m.Exited(instance=1, code=1),
        m.Exited(instance=1, signal=9),
        m.Exited(instance=1, signal=9, memory=True),
        m.Checked(instance=1, verdict=Verdict.REFUSED),
        m.Asked(instance=1),
    ],
)
def test_what_happens_between_the_word_and_its_end_is_no_failure(death: m.Observation) -> None:
    run = Run(GATED).up()
    run.see(SHED)
    assert run.see(death, 0.1) == []
    run.see(m.Down(reason="stopped", instance=1))
    assert (run.state.phase, run.state.incident, run.state.restarts_mono) == (Phase.SHED, 0, ())
    assert run.state.memory_deaths_mono == ()


def test_its_stop_is_said_again_with_its_own_grace_until_it_is_down() -> None:
    run = Run().up()
    run.see(SHED)
    assert run.due() == [actions.StopTree(instance=1, grace_s=0.5)]
    assert run.see(m.Adopted(instance=1, running=True)) == [actions.StopTree(instance=1, grace_s=0.5)]


def test_it_may_be_told_to_go_sooner_but_not_later_and_a_repeated_word_changes_nothing() -> None:
    run = Run().up()
    run.see(SHED)
    assert run.see(SHED) == []
    assert run.see(replace(SHED, grace_s=0.0)) == [actions.StopTree(instance=1, grace_s=0.0)]
    assert run.see(SHED) == []


@pytest.mark.parametrize(
    "news", [m.Adopted(instance=2, running=False), m.Adopted(instance=2, running=True), m.Spawned(instance=2)]
)
def test_a_start_that_its_stop_overtook_is_no_failure_when_it_is_called_back_meanwhile(news: m.Observation) -> None:
    run = aside(Run(GATED).up())
    run.see(m.CalledBack())
    run.see(m.SlotGranted())
    run.see(SHED)  # its birth goes unheard
    run.see(m.CalledBack())
    run.see(news)
    assert (run.state.phase, run.state.instance, run.state.incident) == (Phase.STOPPING, 2, 0)
    run.see(m.Exited(instance=2))
    assert run.see(m.Down(reason="stopped", instance=2)) == [actions.AskSlot()]
    assert (run.state.incident, run.state.restarts_total) == (0, 0)


def test_called_back_while_it_stops_it_waits_for_its_start_once_it_is_down() -> None:
    run = Run().up()
    run.see(SHED)
    assert run.see(m.CalledBack()) == []
    assert run.see(m.Adopted(instance=1, running=True)) == [actions.StopTree(instance=1, grace_s=0.5)]
    assert run.see(m.Down(reason="stopped", instance=1)) == [actions.AskSlot()]
    assert run.state.phase is Phase.QUEUED


def test_a_start_that_comes_late_is_stopped_again() -> None:
    run = aside(Run().up())
    assert run.see(m.Spawned(instance=2)) == [actions.StopTree(instance=2, grace_s=30.0)]
    run.see(m.Down(reason="stopped", instance=2))
    assert (run.state.phase, run.state.incident) == (Phase.SHED, 0)


def test_from_the_queue_it_goes_aside_at_once() -> None:
    run = Run()
    assert run.see(SHED) == []
    assert run.state.phase is Phase.SHED


def test_from_a_back_off_init_is_told_since_it_may_hold_a_permit() -> None:
    run = Run().up()
    run.die()
    assert run.see(SHED) == [actions.StopTree(instance=1, grace_s=0.5)]
    run.see(m.Down(reason="stopped", instance=1))
    assert (run.state.phase, run.state.incident, run.state.restarts_mono) == (Phase.SHED, 1, ())


def test_what_was_escalated_is_escalated_again_when_it_is_back_without_a_second_alert() -> None:
    run = aside(escalated())
    run.see(m.CalledBack())
    run.see(m.SlotGranted())
    run.respawn(cause="start")
    assert (run.state.phase, run.state.tier) == (Phase.ESCALATED, Tier.ALERT)
    run.die()
    assert run.kinds().count("Alert") == 1


def test_stopped_on_request_it_is_no_longer_aside_and_nothing_sets_aside_what_is_stopped() -> None:
    run = aside(Run().up())
    run.see(m.Commanded(what="stop"))
    assert (run.state.phase, run.state.aside, run.state.wanted) == (Phase.STOPPED, "", False)
    assert run.see(SHED) == run.see(m.CalledBack()) == []
    assert run.state.phase is Phase.STOPPED


@pytest.mark.parametrize("what", ["start", "restart"])
def test_a_person_calls_it_back_as_well(what: Literal["start", "restart"]) -> None:
    run = aside(Run().up(), "spare")
    assert run.see(m.Commanded(what=what)) == [actions.AskSlot()]
    assert (run.state.phase, run.state.aside) == (Phase.QUEUED, "")


@pytest.mark.parametrize(
    ("why", "phase"),
    [("shed", Phase.QUEUED), ("hibernating", Phase.HIBERNATING), ("spare", Phase.SPARE)],
)
def test_after_a_reboot_only_the_shed_come_back_by_themselves(why: Why, phase: Phase) -> None:
    run = aside(Run().up(), why)
    run.now = 10.0
    run.see(m.NodeBooted(instance=1))
    assert run.state.phase is phase


def test_a_job_that_ended_well_by_itself_is_finished_not_aside() -> None:
    run = Run(Policy(jitter=0.0, once=True)).up()
    run.see(SHED)
    run.see(m.Exited(instance=1, code=0), 0.1)
    assert (run.state.phase, run.state.aside) == (Phase.FINISHED, "")


def test_to_be_shed_changes_nothing_for_who_is_aside_but_the_others_change_why() -> None:
    run = aside(Run().up(), "hibernating")
    assert run.see(SHED) == []
    assert run.state.phase is Phase.HIBERNATING
    run.see(m.SetAside(why="spare"))
    assert str(run.state.phase) == run.state.aside == "spare"


def test_the_words_are_stored_on_stable_storage_before_the_stop() -> None:
    run = Run().up()
    _, acts = decide(run.state, SHED, PLAIN, run.now, 0.0)
    assert acts[0] == actions.Remember(level="durable")
    _, acts = decide(aside(run).state, m.CalledBack(), PLAIN, run.now, 0.0)
    assert acts[0] == actions.Remember(level="durable")


def test_one_death_for_memory_is_restarted_and_the_second_in_the_window_goes_to_the_next_tier_at_once() -> None:
    run = Run().up()
    assert killed_for_memory(run) == [actions.OpenIncident(incident=1, cause="was killed for memory")]
    assert run.state.phase is Phase.BACKOFF
    run.respawn()
    assert delays(run) == ()
    assert killed_for_memory(run) == [actions.Recreate(instance=2, grace_s=5.0)]
    assert run.state.tier is Tier.RECREATE


def test_another_failure_after_a_death_for_memory_is_restarted_by_the_keeper_after_its_delay() -> None:
    run = Run().up()
    killed_for_memory(run)
    run.respawn()
    run.die()
    assert run.see(m.Asked(instance=2)) == []
    assert run.due() == [actions.Start(instance=2, tier=Tier.RESTART)]


def test_a_death_for_memory_is_forgotten_after_a_healthy_window() -> None:
    run = Run().up()
    killed_for_memory(run)
    run.respawn()
    run.due()
    assert run.state.phase is Phase.HEALTHY
    while run.state.due_mono is not None:
        run.due()
    assert terms(run).delays_s == permit(m.Ladder(), PLAIN, run.now, 0.0).delays_s  # type: ignore[union-attr]
    killed_for_memory(run)
    assert run.state.tier is Tier.RESTART


@pytest.mark.parametrize(("phase", "good"), [(Phase.HIBERNATING, True), (Phase.SPARE, True), (Phase.SHED, False)])
def test_who_sleeps_or_is_not_needed_holds_up_nobody_who_depends_on_it(phase: Phase, good: bool) -> None:
    other = m.Ladder(phase=phase)
    assert met("healthy", other) is good
    assert met("started", other) is good
    assert not met("finished", other)
