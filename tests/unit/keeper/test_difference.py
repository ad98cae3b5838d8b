"""The plan of an `up`: which keys change from what to what, who restarts for it, and no secret in it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.errors import HoldfastError
from holdfast.keeper import fleet
from holdfast.keeper.telling import difference
from holdfast.spec.model import (
    AgentSpec,
    AlertChannel,
    Dependency,
    FleetSpec,
    Health,
    Limits,
    Logs,
    Maintenance,
    PlannedTime,
    Resources,
    Restart,
    Shipping,
    Stop,
)

ONE = AgentSpec(name="one", command=("sleep", "1"), working_dir="/")


@pytest.mark.parametrize(
    ("changes", "key", "before", "after", "restarts"),
    [
        ({"command": ("sleep", "2")}, "command", "sleep 1", "sleep 2", True),
        ({"limits": Limits(memory_bytes=600_000_000)}, "limits.memory", "none", "600M", True),
        ({"env": {"A": "b"}}, "env.A", "", "b", True),
        ({"notify": False}, "notify", "true", "false", True),
        ({"health": Health(beat_s=60.0)}, "health.beat", "off", "1m", True),
        ({"health": Health(retries=5)}, "health.retries", "3", "5", False),
        ({"health": Health(function=False)}, "health.function", "1m", "off", False),
        ({"labels": {"team": "x"}}, "labels.team", "", "x", False),
        ({"priority": 80}, "priority", "50", "80", False),
        ({"stop": Stop(grace_s=90.0)}, "stop.grace", "30s", "1m30s", False),
        (
            {"restart": Restart(at=(PlannedTime(hour=4, minute=0, days=(6,)),))},
            "restart.at",
            "off",
            "Sun 04:00 UTC",
            False,
        ),
        ({"depends_on": (Dependency(agent="b"),)}, "depends_on", "none", "b started", False),
        ({"maintenance": Maintenance(on=True)}, "maintenance", "off", "on", False),
        ({"logs": Logs(rate_lines_s=None)}, "logs.rate", "20000", "off", False),
        ({"resources": Resources(disk_bytes=20_000_000_000)}, "resources.disk_bytes", "off", "20G", False),
    ],
)
def test_a_change_is_told_in_the_words_of_the_file(
    changes: dict[str, Any], key: str, before: str, after: str, restarts: bool
) -> None:
    plan = difference.plan(FleetSpec(agents=(ONE,)), FleetSpec(agents=(replace(ONE, **changes),)))
    (one,) = plan.details
    (told,) = one.keys
    assert (told.key, told.before, told.after) == (key, before, after)
    assert one.restarts is restarts
    assert (plan.changed, plan.dry_run) == (["one"], True)


def test_secrets_are_told_as_changed_and_never_shown() -> None:
    def spec(secret: str) -> AgentSpec:
        ship = (Shipping(kind="loki", url=f"http://u:{secret}@h/", headers={"Authorization": secret}),)
        return replace(ONE, env={"API_KEY": secret}, secret_env=("API_KEY",), logs=Logs(ship=ship))

    old = FleetSpec(agents=(spec("geheim-1"),), alerts=(AlertChannel(webhook="http://geheim-1/"),))
    new = FleetSpec(agents=(spec("geheim-2"),), alerts=(AlertChannel(webhook="http://geheim-2/"),))
    plan = difference.plan(old, new)
    assert "geheim" not in repr(plan)
    assert [one.key for one in plan.details[0].keys] == ["env.API_KEY", "logs.ship"]
    assert all(one.after.endswith("(another value)") for one in plan.details[0].keys)
    assert [one.key for one in plan.fleet] == ["alerts"]
    assert "geheim" not in repr(fleet.masked(new))


def test_added_removed_and_unchanged_agents_are_told() -> None:
    two, three = replace(ONE, name="two"), replace(ONE, name="three")
    plan = difference.plan(FleetSpec(agents=(ONE, two)), FleetSpec(agents=(ONE, three)))
    assert [(one.agent, one.change) for one in plan.details] == [("three", "added"), ("two", "removed")]
    assert plan.unchanged == ["one"]


def test_an_agent_that_is_stopped_does_not_restart_for_a_change() -> None:
    new = FleetSpec(agents=(replace(ONE, command=("x",)),))
    assert not difference.plan(FleetSpec(agents=(ONE,)), new, lambda name: False).details[0].restarts


def test_a_circle_of_dependencies_is_refused_over_the_api_too() -> None:
    one = replace(ONE, depends_on=(Dependency(agent="two"),))
    two = replace(ONE, name="two", depends_on=(Dependency(agent="one"),))
    with pytest.raises(HoldfastError, match="one -> two -> one"):
        fleet.check(FleetSpec(agents=(one, two)))
