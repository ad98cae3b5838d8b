"""The ladder as tables: sequences of observations, and what they lead to."""

from __future__ import annotations

import pytest

from holdfast.healing import actions
from holdfast.healing import model as m
from holdfast.healing.model import Phase, Policy, Tier
from holdfast.healing.triage import decide, permit
from holdfast.health.model import Verdict
from holdfast.limits import ACT_PATIENCE_S, PERMIT_SLACK_S

PLAIN = Policy(jitter=0.0)
GATED = Policy(jitter=0.0, has_gate=True)


class Run:
    """One agent: feeds observations at a clock that only goes forward, keeps the acts."""

    def __init__(self, policy: Policy = PLAIN, state: m.Ladder | None = None) -> None:
        self.policy = policy
        self.state = state or m.Ladder()
        self.now = 1000.0
        self.acts: list[actions.Action] = []

    def see(self, observation: m.Observation, after_s: float = 0.0) -> list[actions.Action]:
        self.now += after_s
        self.state, acts = decide(self.state, observation, self.policy, self.now, 0.0)
        told = [a for a in acts if not isinstance(a, actions.Remember | actions.Arm)]
        self.acts += told
        return told

    def due(self) -> list[actions.Action]:
        """Jump to the due time and fire the timer."""
        assert self.state.due_mono is not None
        self.now = max(self.now, self.state.due_mono)
        return self.see(m.Timer())

    def up(self) -> Run:
        """Started as planned and healthy."""
        self.see(m.SlotGranted())
        self.see(m.Spawned(instance=self.state.instance + 1), 0.1)
        if self.policy.has_gate:
            self.see(m.GatePassed(instance=self.state.instance), 1.0)
        return self

    def die(self, code: int = 1, after_s: float = 1.0) -> list[actions.Action]:
        return self.see(m.Exited(instance=self.state.instance, code=code), after_s)

    def respawn(self, after_s: float = 0.01, cause: str = "permit") -> list[actions.Action]:
        return self.see(m.Spawned(instance=self.state.instance + 1, cause=cause), after_s)  # type: ignore[arg-type]

    def check(self, verdict: Verdict, after_s: float = 2.0) -> list[actions.Action]:
        return self.see(m.Checked(instance=self.state.instance, verdict=verdict), after_s)

    def kinds(self) -> list[str]:
        return [type(a).__name__ for a in self.acts]


def terms(run: Run) -> m.PermitTerms:
    permitted = permit(run.state, run.policy, run.now, 0.0)
    assert permitted is not None
    return permitted


def delays(run: Run) -> tuple[float, ...]:
    return terms(run).delays_s


def escalated(policy: Policy = PLAIN) -> Run:
    run = Run(policy).up()
    for _ in range(3):
        run.die()
        run.respawn()
    run.die()
    run.respawn(cause="start")
    run.die()
    assert run.state.phase is Phase.ESCALATED
    return run


def test_a_slot_starts_a_queued_agent_and_without_a_gate_it_is_healthy_at_once() -> None:
    run = Run()
    assert run.see(m.SlotGranted()) == [actions.Start(instance=0, tier=Tier.NONE)]
    assert run.state.phase is Phase.STARTING
    run.see(m.Spawned(instance=1))
    assert (run.state.phase, run.state.incident) == (Phase.HEALTHY, 0)


def test_a_crash_is_left_to_init_and_is_an_incident_that_closes_after_the_confirmation() -> None:
    run = Run(GATED).up()
    assert delays(run) == (0.0, 10.0, 60.0)
    assert run.die() == [actions.OpenIncident(incident=1, cause="exited with 1")]
    assert run.state.phase is Phase.BACKOFF
    assert run.state.due_mono == run.now + PERMIT_SLACK_S
    run.respawn()
    assert (run.state.phase, run.state.restarts_total, run.state.tier) == (Phase.STARTING, 1, Tier.RESTART)
    assert delays(run) == (10.0, 60.0)
    run.see(m.GatePassed(instance=2), 1.0)
    assert run.state.phase is Phase.RECOVERING
    assert run.due() == [actions.CloseIncident(incident=1, outcome="recovered")]
    assert (run.state.phase, run.state.tier, run.state.incident) == (Phase.HEALTHY, Tier.NONE, 0)


def test_three_restarts_then_one_recreation_then_one_alert_then_quiet_tries_for_ever() -> None:
    run = escalated()
    assert run.kinds().count("Recreate") == 1
    assert run.kinds().count("Alert") == 1
    gaps = []
    for _ in range(8):
        before = run.now
        acts = run.due()
        assert acts == [actions.Start(instance=run.state.instance, tier=Tier.ALERT)]
        gaps.append(run.now - before)
        run.respawn(0.0, "start")
        run.die(after_s=0.0)
        assert run.state.phase is Phase.ESCALATED
    assert gaps == pytest.approx([300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0, 3600.0, 3600.0])
    assert run.kinds().count("Alert") == 1


def test_the_first_failure_of_a_recreated_agent_escalates() -> None:
    run = Run().up()
    for _ in range(3):
        run.die()
        run.respawn()
    assert delays(run) == ()
    assert run.die() == [actions.Recreate(instance=4, grace_s=5.0)]
    assert run.see(m.Asked(instance=4)) == []
    run.see(m.Spawned(instance=5, cause="start"))
    assert delays(run) == ()
    assert [type(a) for a in run.die()] == [actions.Alert]


def test_recovery_from_tier_4_closes_the_incident() -> None:
    run = escalated(GATED)
    run.due()
    run.respawn(cause="start")
    assert run.state.phase is Phase.ESCALATED
    run.see(m.GatePassed(instance=run.state.instance), 5.0)
    assert run.due() == [actions.CloseIncident(incident=1, outcome="recovered")]
    assert run.state.phase is Phase.HEALTHY


@pytest.mark.parametrize(
    ("observations", "counted"),
    [
        pytest.param([m.Exited(instance=1, code=1), m.Spawned(instance=2, cause="permit")], 1, id="in order"),
        pytest.param(
            [
                m.Exited(instance=1, code=1),
                m.Spawned(instance=2, cause="permit"),
                m.Exited(instance=1, code=1),
                m.Spawned(instance=2, cause="permit"),
            ],
            1,
            id="twice",
        ),
        pytest.param([m.Spawned(instance=2, cause="permit"), m.Exited(instance=1, code=1)], 1, id="late exit"),
        pytest.param([m.Spawned(instance=2, cause="permit")], 1, id="only the newer instance"),
        pytest.param([m.Spawned(instance=3, cause="permit")], 2, id="a gap of one"),
        pytest.param([m.Adopted(instance=2, running=True)], 1, id="found by adoption"),
        pytest.param([m.Adopted(instance=1, running=True)], 0, id="adopted as it was"),
    ],
)
def test_a_restart_by_permit_is_counted_exactly_once(observations: list[m.Observation], counted: int) -> None:
    run = Run().up()
    for observation in observations:
        run.see(observation, 0.1)
    assert len(run.state.restarts_mono) == counted
    assert run.state.running
    assert (run.state.incident > 0) == (counted > 0)


def test_counts_decay_after_a_healthy_window_and_the_permit_is_whole_again() -> None:
    run = Run().up()
    run.die()
    run.respawn()
    run.due()
    assert run.state.phase is Phase.HEALTHY
    assert delays(run) == (10.0, 60.0)
    run.due()
    assert run.state.restarts_mono == ()
    assert delays(run) == (0.0, 10.0, 60.0)
    assert run.state.due_mono is None


def test_counts_do_not_decay_inside_an_incident_so_that_slow_failures_climb_too() -> None:
    policy = Policy(jitter=0.0, has_gate=True, start_deadline_s=600.0)
    run = Run(policy).up()
    for _ in range(4):
        run.die(after_s=500.0)
        run.respawn(cause="permit" if run.state.tier is Tier.RESTART else "start")
    run.die(after_s=500.0)
    run.due()
    run.respawn(cause="start")
    run.die(after_s=500.0)
    assert run.state.phase is Phase.ESCALATED


def test_while_init_restarts_its_permit_is_left_alone() -> None:
    run = Run().up()
    assert terms(run).while_running
    run.die()
    assert permit(run.state, PLAIN, run.now, 0.0) is None


def test_a_restart_sent_by_the_keeper_is_taken_out_of_the_permit() -> None:
    run = Run(GATED).up()
    run.check(Verdict.REFUSED)
    assert (delays(run), terms(run).while_running) == ((10.0, 60.0), False)


def test_spacing_holds_between_restarts_but_not_for_the_first() -> None:
    policy = Policy(jitter=0.0, spacing_s=100.0)
    run = Run(policy).up()
    assert terms(run).not_before_mono == 0.0
    assert delays(run) == (0.0, 100.0, 100.0)
    run.die()
    run.respawn()
    start = run.now
    assert terms(run).not_before_mono == start + 100.0
    run.die()
    assert run.state.due_mono == start + 100.0 + PERMIT_SLACK_S


@pytest.mark.parametrize(
    ("verdicts", "acts"),
    [
        ([Verdict.SLOW, Verdict.SLOW], False),
        ([Verdict.SLOW, Verdict.SLOW, Verdict.SLOW], True),
        ([Verdict.SLOW, Verdict.FAILING, Verdict.SLOW], True),
        ([Verdict.SLOW, Verdict.SLOW, Verdict.OK, Verdict.SLOW, Verdict.SLOW], False),
        ([Verdict.SLOW, Verdict.STARVED, Verdict.SLOW, Verdict.STARVED], False),
        ([Verdict.REFUSED], True),
        ([Verdict.FOREIGN, Verdict.FOREIGN, Verdict.FOREIGN], True),
        ([Verdict.STARVED] * 9, False),
    ],
)
def test_slowness_needs_strikes_and_a_refused_connection_does_not(verdicts: list[Verdict], acts: bool) -> None:
    run = Run(GATED).up()
    for verdict in verdicts:
        run.check(verdict)
    restarts = [a for a in run.acts if isinstance(a, actions.RestartTree)]
    assert bool(restarts) is acts
    if acts:
        assert restarts == [actions.RestartTree(instance=1, tier=Tier.RESTART, hung=True, grace_s=5.0)]
        assert run.state.phase is Phase.RECOVERING


def test_a_hung_agent_counts_as_tier_1_and_its_expected_exit_is_no_second_failure() -> None:
    run = Run(GATED).up()
    for _ in range(3):
        run.check(Verdict.SLOW)
    run.see(m.Exited(instance=1, signal=9, expected=True), 5.0)
    assert (run.state.phase, run.state.running) == (Phase.RECOVERING, False)
    run.respawn(cause="restart")
    assert len(run.state.restarts_mono) == 1
    assert run.state.phase is Phase.STARTING


def test_a_refused_connection_of_a_process_known_to_be_dead_acts_once_only() -> None:
    run = Run(GATED).up()
    run.die()
    assert run.check(Verdict.REFUSED, 0.0) == []
    run.respawn()
    assert run.see(m.Checked(instance=1, verdict=Verdict.REFUSED)) == []
    assert len(run.state.restarts_mono) == 1


def test_the_exit_that_arrives_after_a_refused_connection_is_the_same_failure() -> None:
    run = Run(GATED).up()
    assert [type(a) for a in run.check(Verdict.REFUSED)] == [actions.OpenIncident, actions.RestartTree]
    assert run.die(after_s=0.0) == []
    run.respawn()
    assert (len(run.state.restarts_mono), run.state.tier) == (1, Tier.RESTART)


def test_a_hung_agent_that_answers_again_before_its_delayed_restart_keeps_its_instance() -> None:
    run = Run(GATED).up()
    run.die()
    run.respawn()
    run.see(m.GatePassed(instance=2))
    for _ in range(3):
        run.check(Verdict.SLOW)
    assert run.state.phase is Phase.UNHEALTHY
    run.check(Verdict.OK)
    assert (run.state.phase, run.state.pending) == (Phase.RECOVERING, Tier.NONE)


def test_starvation_gives_no_strikes_and_freezes_the_start_deadline() -> None:
    run = Run(GATED)
    run.see(m.SlotGranted())
    run.see(m.Spawned(instance=1))
    run.see(m.Starved(on=True), 10.0)
    assert run.state.due_mono is None
    assert run.see(m.Timer(), 1000.0) == []
    run.see(m.Starved(on=False))
    assert run.state.due_mono == run.now + 20.0
    run.see(m.GatePassed(instance=1))
    run.see(m.Starved(on=True))
    for _ in range(9):
        assert run.check(Verdict.SLOW) == []


def recovering_and_starved() -> Run:
    """Back after a death, its gate passed, then the machine is starved."""
    run = Run(GATED).up()
    run.die()
    run.respawn()
    run.see(m.GatePassed(instance=2), 1.0)
    run.see(m.Starved(on=True), 1.0)
    return run


def test_a_good_check_while_starved_confirms_a_run_whose_time_is_up() -> None:
    run = recovering_and_starved()
    assert run.due() == []
    assert (run.state.phase, run.state.due_mono) == (Phase.RECOVERING, None)
    assert run.check(Verdict.OK) == [actions.CloseIncident(incident=1, outcome="recovered")]
    assert run.state.phase is Phase.HEALTHY


def test_spells_of_starvation_do_not_prolong_a_good_run() -> None:
    run = recovering_and_starved()
    due = run.state.due_mono
    run.check(Verdict.OK)
    run.see(m.Starved(on=False), 10.0)
    assert run.state.due_mono == due
    assert run.due() == [actions.CloseIncident(incident=1, outcome="recovered")]


def test_a_run_nobody_saw_for_starvation_begins_anew_and_a_bad_check_ends_it() -> None:
    run = recovering_and_starved()
    run.due()
    run.see(m.Starved(on=False), 600.0)
    assert run.state.due_mono == run.now + GATED.confirm_s
    run.see(m.Starved(on=True))
    assert run.check(Verdict.SLOW) == []
    assert (run.state.strikes, run.state.due_mono) == (0, run.now + GATED.confirm_s)


def test_a_start_that_burns_its_cpu_gets_more_time() -> None:
    run = Run(GATED)
    run.see(m.SlotGranted())
    run.see(m.Spawned(instance=1))
    run.see(m.StartProgressed(instance=1, until_mono=run.now + 90.0))
    assert run.see(m.Timer(), 60.0) == []
    assert [type(a) for a in run.see(m.Timer(), 31.0)] == [actions.OpenIncident, actions.RestartTree]


def test_degraded_is_shown_and_never_acted_upon() -> None:
    run = Run(GATED).up()
    assert run.see(m.Degraded(text="no model")) == []
    assert run.state.phase is Phase.DEGRADED
    run.see(m.Degraded(text=""))
    assert (run.state.phase, run.acts) == (Phase.HEALTHY, [actions.Start(instance=0, tier=Tier.NONE)])


def test_a_port_taken_by_another_process_is_named_as_the_cause() -> None:
    run = Run(GATED)
    run.see(m.SlotGranted())
    run.see(m.Spawned(instance=1))
    run.check(Verdict.FOREIGN)
    run.die()
    assert run.state.cause == "exited with 1 while its port was taken by another process"


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_that_runs_once_finishes_with_0_and_climbs_otherwise(code: int) -> None:
    run = Run(Policy(once=True, jitter=0.0)).up()
    run.die(code)
    assert run.state.phase is (Phase.FINISHED if code == 0 else Phase.BACKOFF)
    left = permit(run.state, run.policy, run.now, 0.0)
    assert left == m.PermitTerms(instance=1) if code == 0 else left is None


def test_exit_0_of_an_agent_that_should_run_is_a_death() -> None:
    run = Run().up()
    assert [type(a) for a in run.die(0)] == [actions.OpenIncident]


def test_a_missing_command_climbs_without_a_single_process() -> None:
    run = Run()
    run.see(m.SlotGranted())
    for instance in range(1, 6):
        run.see(m.SpawnFailed(reason="no such file", instance=instance))
        if run.state.phase is Phase.BACKOFF:
            run.due()
    kinds = run.kinds()
    assert kinds.count("Start") == 4
    assert kinds.count("Recreate") == 1
    assert kinds.count("Alert") == 1


def test_a_planned_stop_is_no_incident_and_wins_in_any_phase() -> None:
    for run in (Run(), Run().up(), escalated()):
        incidents = run.state.incidents_seen
        run.see(m.Commanded(what="stop"))
        assert run.state.phase in (Phase.STOPPING, Phase.STOPPED)
        assert delays(run) == ()
        run.see(m.Exited(instance=run.state.instance, code=0, expected=True))
        run.see(m.Down(reason="stopped", instance=run.state.instance))
        assert (run.state.phase, run.state.incidents_seen) == (Phase.STOPPED, incidents)


def test_a_late_instance_of_a_stopped_agent_is_stopped_again() -> None:
    run = Run().up()
    run.see(m.Commanded(what="stop"))
    run.see(m.Down(reason="stopped", instance=1))
    assert run.respawn() == [actions.StopTree(instance=2, grace_s=30.0)]
    assert run.state.phase is Phase.STOPPING


def test_a_planned_restart_spends_no_budget() -> None:
    run = Run().up()
    assert run.see(m.Commanded(what="restart")) == [
        actions.RestartTree(instance=1, tier=Tier.NONE, hung=False, grace_s=30.0)
    ]
    run.see(m.Exited(instance=1, code=0, expected=True))
    run.respawn(cause="restart")
    assert (run.state.phase, run.state.restarts_mono, run.state.incident) == (Phase.HEALTHY, (), 0)


def test_a_person_takes_an_escalated_agent_back_to_the_first_rung_and_validation_closes_its_incident() -> None:
    run = escalated(GATED)
    assert run.see(m.Commanded(what="start")) == [actions.Start(instance=run.state.instance, tier=Tier.NONE)]
    run.respawn(cause="start")
    assert (run.state.tier, run.state.incident, run.state.phase) == (Tier.NONE, 1, Phase.STARTING)
    run.see(m.GatePassed(instance=run.state.instance))
    assert run.due() == [actions.CloseIncident(incident=1, outcome="recovered")]


def test_when_it_fails_again_after_a_person_acted_that_is_a_new_incident_with_an_alert_of_its_own() -> None:
    run = escalated()
    run.see(m.Commanded(what="restart"))
    run.respawn(cause="start")
    assert run.die() == [
        actions.CloseIncident(incident=1, outcome="escalated"),
        actions.OpenIncident(incident=2, cause="exited with 1"),
    ]
    assert not run.state.alerted


def test_init_that_asks_gets_its_start_at_the_time_of_the_delay_without_the_slack() -> None:
    run = Run().up()
    run.die()
    assert run.see(m.Asked(instance=1)) == [actions.Start(instance=1, tier=Tier.RESTART)]
    run.respawn(cause="start")
    run.die()
    assert run.see(m.Asked(instance=2)) == []
    assert run.state.due_mono == run.now + 10.0
    assert run.see(m.Asked(instance=2)) == []
    assert run.due() == [actions.Start(instance=2, tier=Tier.RESTART)]


def test_an_act_without_an_echo_is_sent_again_and_charged_once() -> None:
    run = Run().up()
    run.die()
    run.due()
    assert run.due() == [actions.Start(instance=1, tier=Tier.RESTART)]
    assert run.state.due_mono == run.now + ACT_PATIENCE_S
    run.respawn(cause="start")
    assert len(run.state.restarts_mono) == 1


def test_a_keeper_that_comes_back_sends_the_act_under_way_again() -> None:
    run = Run(GATED).up()
    run.check(Verdict.REFUSED)
    act = run.acts[-1]
    assert run.see(m.Adopted(instance=1, running=True)) == [act]
    run = Run().up()
    run.see(m.Commanded(what="stop"))
    assert run.see(m.Adopted(instance=1, running=True)) == [actions.StopTree(instance=1, grace_s=30.0)]


def test_a_reboot_queues_what_was_wanted_without_an_incident() -> None:
    run = Run().up()
    assert run.see(m.NodeBooted()) == [actions.AskSlot()]
    assert (run.state.phase, run.state.incident, run.state.running) == (Phase.QUEUED, 0, False)
    run = escalated()
    run.see(m.NodeBooted())
    assert (run.state.phase, run.state.tier) == (Phase.QUEUED, Tier.NONE)
    run = Run(Policy(once=True)).up()
    run.die(0)
    run.see(m.NodeBooted())
    assert run.state.phase is Phase.FINISHED


def test_the_present_good_state_costs_nothing() -> None:
    run = Run(GATED).up()
    before = run.state
    run.check(Verdict.OK)
    assert run.state is before
    run.see(m.Swept(instance=1))
    assert run.state is before


def test_what_must_survive_the_machine_is_remembered_durably() -> None:
    def level(run: Run, observation: m.Observation) -> str:
        run.state, acts = decide(run.state, observation, run.policy, run.now, 0.0)
        return next((a.level for a in acts if isinstance(a, actions.Remember)), "")

    assert level(Run().up(), m.Commanded(what="stop")) == "durable"
    assert level(Run().up(), m.Exited(instance=1, code=1)) == "plain"
    assert level(Run(GATED).up(), m.Checked(instance=1, verdict=Verdict.SLOW)) == ""
    run = escalated()
    run.now += 400
    assert level(run, m.Timer()) == "durable"


def test_tier_3_is_used_only_where_a_version_can_be_restored() -> None:
    run = Run(Policy(jitter=0.0, restore_available=True)).up()
    for _ in range(3):
        run.die()
        run.respawn()
    for kind in (actions.Recreate, actions.Restore):
        run.die()
        run.due()
        assert isinstance(run.acts[-1], kind)
        run.respawn(cause="start")
    assert isinstance(run.die()[-1], actions.Alert)


def test_damaged_state_is_restored_at_once_without_waiting_for_the_lower_tiers() -> None:
    run = Run(Policy(jitter=0.0, restore_available=True)).up()
    run.die()
    assert run.see(m.StateDamaged(instance=1, cause="state.db is malformed")) == []  # init may be restarting it now
    run.respawn()
    assert terms(run).delays_s == ()
    run.die()
    acts = run.see(m.Asked(instance=2))
    assert isinstance(acts[-1], actions.Restore)
    assert (run.state.tier, run.state.pending, run.state.cause) == (Tier.RESTORE, Tier.RESTORE, "state.db is malformed")
    run.respawn(cause="restart")
    assert run.state.phase is Phase.RECOVERING
    # It was the last rung: what fails after a restore is a person's.
    assert isinstance(run.die()[-1], actions.Alert)


@pytest.mark.parametrize(
    ("policy", "instance"),
    [
        (Policy(jitter=0.0), 1),
        (Policy(jitter=0.0, restore_available=True), 7),
        (Policy(jitter=0.0, restore_available=True, hands_off=True), 1),
    ],
    ids=["no snapshot", "another instance", "maintenance"],
)
def test_damaged_state_changes_nothing_without_a_snapshot_for_another_instance_or_in_maintenance(
    policy: Policy, instance: int
) -> None:
    run = Run(policy).up()
    run.die()
    run.see(m.Asked(instance=1))
    before = run.state
    assert run.see(m.StateDamaged(instance=instance, cause="x")) == []
    assert run.state is before


def test_what_runs_well_is_never_restored_for_what_its_files_look_like() -> None:
    run = Run(Policy(jitter=0.0, restore_available=True)).up()
    assert run.see(m.StateDamaged(instance=1, cause="x")) == []


def test_a_restart_of_a_job_that_was_done_before_it_came_is_a_start() -> None:
    run = Run(Policy(jitter=0.0, once=True)).up()
    assert isinstance(run.see(m.Commanded(what="restart"))[-1], actions.RestartTree)
    assert isinstance(run.due()[-1], actions.RestartTree)
    assert isinstance(run.see(m.Down(reason="finished", instance=1))[-1], actions.Start)
    assert run.see(m.Down(reason="finished", instance=1)) == []


def test_an_agent_that_a_former_order_stopped_is_started_again_without_an_incident() -> None:
    run = Run().up()
    assert isinstance(run.see(m.Down(reason="stopped", instance=1))[-1], actions.Start)
    assert run.state.incident == 0
    assert run.see(m.Down(reason="stopped", instance=1)) == []
