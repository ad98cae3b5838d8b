"""Who waits for whom is settled before anything starts."""

# ruff: noqa: E501
from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.spec.depends import circle
from holdfast.spec.model import AgentSpec


def _load(tmp_path: Path, text: str) -> dict[str, AgentSpec]:
    file = tmp_path / "holdfast.yaml"
    file.write_text(text)
    return {one.name: one for one in recipes.load(file).agents}


def _waits(spec: AgentSpec) -> list[tuple[str, str]]:
    return [(need.agent, need.condition) for need in spec.depends_on]


def test_both_forms_and_both_spellings_are_read_and_replicas_expand(tmp_path: Path) -> None:
    agents = _load(
        tmp_path,
        """
templates: {t: {command: [x], depends_on: [db]}}
agents:
  db: {command: [x]}
  once: {command: [x], once: true}
  crew: {template: t, replicas: 2}
  a: {command: [x], depends_on: [crew, db]}
  b:
    command: [x]
    depends_on: {crew-2: healthy, db: {condition: service_healthy}, once: service_completed_successfully, a: service_started}
""",
    )
    assert _waits(agents["crew-1"]) == [("db", "started")]
    assert _waits(agents["a"]) == [("crew-1", "started"), ("crew-2", "started"), ("db", "started")]
    assert _waits(agents["b"]) == [("crew-2", "healthy"), ("db", "healthy"), ("once", "finished"), ("a", "started")]


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ("a: {command: [x], depends_on: [databse]}\n  database: {command: [x]}", 'found the agent "databse", expected an agent of this fleet, did you mean database'),
        ("a: {command: [x], depends_on: [a]}", 'found the agent "a", which is itself, expected another agent'),
        ("a: {command: [x], replicas: 2, depends_on: [a-1]}", 'found the agent "a-1", which is itself'),
        ("a: {command: [x], depends_on: [b]}\n  b: {command: [x], depends_on: [c]}\n  c: {command: [x], depends_on: [b]}", "3: agents.b.depends_on: found a circle: b -> c -> b, expected agents that do not wait for each other"),
        ("a: {command: [x], depends_on: {b: finished}}\n  b: {command: [x]}", "found b: finished, expected once: true in agent b, which else never finishes"),
        ("a: {command: [x], depends_on: {b: wel}}\n  b: {command: [x]}", 'agents.a.depends_on.b: found "wel", expected one of started, healthy, finished'),
        ("a: {command: [x], depends_on: b}\n  b: {command: [x]}", 'found "b", expected a list of agents, or a mapping such as {database: healthy}'),
        ("a: {command: [x], depends_on: {b: {}}}\n  b: {command: [x]}", "agents.a.depends_on.b: found a mapping without condition, expected the key condition"),
    ],
)  # fmt: skip
def test_a_wrong_dependency_is_refused(tmp_path: Path, agents: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        _load(tmp_path, f"agents:\n  {agents}\n")
    assert said in str(caught.value.detail["problems"])


def test_depends_on_has_no_place_in_defaults(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="expected this key in an agent, not here"):
        _load(tmp_path, "defaults: {depends_on: [a]}\nagents: {a: {command: [x]}}\n")


def test_a_long_chain_is_no_circle_and_needs_no_deep_stack() -> None:
    chain = {str(number): [str(number + 1)] for number in range(20_000)}
    assert circle(chain) == []
    assert circle({**chain, "20000": ["0"]})[0] == "0"


@given(st.dictionaries(st.integers(0, 8).map(str), st.lists(st.integers(0, 9).map(str), max_size=3), max_size=9))
def test_a_circle_is_found_exactly_when_there_is_one(needs: dict[str, list[str]]) -> None:
    found = circle(needs)
    left = {name: {one for one in rest if one in needs} for name, rest in needs.items()}
    while free := [name for name, rest in left.items() if not rest]:
        left = {name: rest.difference(free) for name, rest in left.items() if name not in free}
    assert bool(found) == bool(left)
    if found:
        assert found[0] == found[-1]
        assert all(step in needs[name] for name, step in itertools.pairwise(found))


def test_too_many_dependencies_in_all_are_a_mistake_and_not_a_fleet_of_many_megabytes(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError) as caught:
        _load(
            tmp_path,
            """
agents:
  store: {command: [x], replicas: 1000}
  crew: {command: [x], replicas: 1000, depends_on: [store]}
""",
        )
    assert "too many dependencies" in str(caught.value)
    assert "20000 in all agents together" in str(caught.value)
    assert str(caught.value).count("too many") == 1
