"""The desired fleet: refused whole, compared, merged, masked, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.errors import HoldfastError
from holdfast.keeper import fleet
from holdfast.spec.model import AgentSpec, AlertChannel, FleetSpec, Health, HttpProbe, Limits, Restart


def agent(name: str = "one", **changes: Any) -> AgentSpec:
    return AgentSpec(**{"name": name, "command": ("sleep", "1"), "working_dir": "/", **changes})


def fleet_of(*agents: AgentSpec, **more: Any) -> FleetSpec:
    return FleetSpec(agents=agents, **more)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (agent("../up"), "no name"),
        (agent("a/b"), "no name"),
        (agent(""), "no name"),
        (agent("@keeper"), "no name"),
        (agent("x" * 64), "no name"),
        (agent("-x"), "no name"),
        (agent(command=()), "command is empty"),
        (agent(command=("",)), "command is empty"),
        (agent(working_dir="here"), "not absolute"),
        (agent(command=("a\0b",)), "NUL"),
        (agent(env={"A": "b\0"}), "NUL"),
    ],
)
def test_what_no_file_could_say_is_refused(bad: AgentSpec, words: str) -> None:
    with pytest.raises(HoldfastError, match=words):
        fleet.check(fleet_of(agent("good"), bad))


def test_a_name_may_be_given_once() -> None:
    with pytest.raises(HoldfastError, match="two agents"):
        fleet.check(fleet_of(agent("a"), agent("a")))


def test_a_change_names_what_is_new_other_and_gone() -> None:
    old = fleet_of(agent("a"), agent("b"), agent("c"))
    new = fleet_of(agent("b", priority=9), agent("a"), agent("d"))
    change = fleet.compare(old, new)
    assert (change.added, change.changed, change.removed, change.unchanged) == (["d"], ["b"], ["c"], ["a"])


def test_merging_adds_and_replaces_and_keeps_the_rest() -> None:
    old = fleet_of(agent("a"), agent("b"), alerts=(AlertChannel(command=("x",)),), source="/f.yaml")
    merged = fleet.merge(old, fleet_of(agent("b", priority=9), agent("c")))
    assert [one.name for one in merged.agents] == ["a", "b", "c"]
    assert merged.agents[1].priority == 9
    assert merged.alerts == old.alerts
    assert merged.source == "/f.yaml"


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"priority": 9}, False),
        ({"labels": {"a": "b"}}, False),
        ({"restart": Restart(retry_s=1.0)}, False),
        ({"exit_codes": {"3": "no key"}}, False),
        ({"command": ("sleep", "2")}, True),
        ({"env": {"A": "b"}}, True),
        ({"user": "nobody"}, True),
        ({"working_dir": "/tmp"}, True),
        ({"limits": Limits(memory_bytes=1 << 20)}, True),
    ],
)
def test_only_what_the_process_was_started_with_needs_a_new_one(changes: dict[str, Any], needed: bool) -> None:
    old = agent()
    assert fleet.needs_new_process(old, replace(old, **changes)) is needed


def test_the_policy_has_the_numbers_of_the_spec() -> None:
    probe = HttpProbe(url="http://127.0.0.1:1/")
    policy = fleet.policy_of(agent(once=True, health=Health(http=probe, retries=5, start_period_s=7.0)))
    assert (policy.once, policy.has_gate, policy.strikes, policy.start_deadline_s) == (True, True, 5, 7.0)
    assert not fleet.policy_of(agent()).has_gate


def test_secrets_and_addresses_are_masked() -> None:
    spec = agent(env={"TOKEN": "s3cret", "MODE": "fast"}, secret_env=("TOKEN",))
    shown = fleet.masked(fleet_of(spec, alerts=(AlertChannel(webhook="https://h/token"),)))
    assert shown.agents[0].env == {"TOKEN": "***", "MODE": "fast"}
    assert shown.alerts[0].webhook == "***"
    assert shown.alerts[0].ntfy is None


def test_what_was_saved_is_loaded_and_what_is_damaged_is_not(tmp_path: Path) -> None:
    path = tmp_path / fleet.FILE
    assert fleet.load(path) is None
    fleet.save(path, fleet_of(agent()))
    assert fleet.load(path) == fleet_of(agent())
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("{")
    assert fleet.load(path) is None
