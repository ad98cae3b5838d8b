"""What cannot work on this node is told once and shown as long as it holds; who is shed or waits is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from holdfast.density import node_memory
from holdfast.density.admission import Standing
from holdfast.density.node_memory import Declared
from holdfast.healing.model import Phase
from holdfast.keeper.density.telling import Telling, some, warnings

MB = 1_000_000
NODE = node_memory.which(1024 * MB)


class _Alarms:
    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.said: list[tuple[str, str, str]] = []

    def raise_(self, key: str, agent: str, said: Any) -> None:
        if key not in self.known or not self.known[key].on:
            self.said.append((said.kind.code, agent, said.summary))
        self.known[key] = SimpleNamespace(on=True)

    def clear(self, key: str, agent: str, text: str) -> None:
        self.known[key] = SimpleNamespace(on=False)
        self.said.append(("well", agent, text))


def _agent(name: str, priority: int, phase: Phase, standing: Standing | None = None) -> Any:
    spec = SimpleNamespace(priority=priority)
    return SimpleNamespace(name=name, spec=spec, ladder=SimpleNamespace(phase=phase), standing=standing)


def _keeper(problems: tuple[node_memory.Problem, ...], *agents: Any) -> Any:
    semaphore = SimpleNamespace(problems=problems, node=NODE)
    return SimpleNamespace(semaphore=semaphore, agents={agent.name: agent for agent in agents})


def test_what_cannot_fit_is_an_alarm_until_it_fits() -> None:
    fleet = [
        Declared(name="big", priority=9, need_bytes=2000 * MB),
        Declared(name="a", priority=1, floor_bytes=900 * MB),
    ]
    keeper, alarms = _keeper(node_memory.check(NODE, fleet)), _Alarms()
    telling = Telling(keeper.semaphore, alarms)  # type: ignore[arg-type]
    for _ in range(3):
        telling.look()
    assert [code for code, _, _ in alarms.said] == ["HF4021", "HF4022", "HF4022"]
    assert [one.kind.code for one in warnings(keeper.semaphore, keeper.agents)] == ["HF4021", "HF4022", "HF4022"]
    assert "not kept for a" in alarms.said[0][2]
    keeper.semaphore.problems = node_memory.check(NODE, fleet[1:])
    telling.look()
    assert [code for code, _, _ in alarms.said[3:]] == ["well"]
    assert alarms.known["node-memory:larger:big"].on is False
    assert alarms.known["node-memory:larger:a"].on is True
    waiting = Standing(name="a", position=1, why="needs 900 MB", estimate_s=None)
    keeper.agents["a"] = _agent("a", 1, Phase.QUEUED, waiting)
    assert [one.kind.code for one in warnings(keeper.semaphore, keeper.agents)] == ["HF4021", "HF4022"]


def test_a_node_without_room_says_so() -> None:
    keeper = _keeper(node_memory.check(node_memory.which(1024 * MB, kept=1020 * MB), []))
    assert [one.kind.code for one in warnings(keeper.semaphore, keeper.agents)] == ["HF4020"]


def test_who_is_shed_and_who_waits_for_memory_is_shown_the_most_important_first() -> None:
    held = [Standing(name=f"q{n}", position=n, why=f"needs {n} MB", estimate_s=None) for n in (2, 1)]
    soon = Standing(name="soon", position=3, why="waits for a start slot", estimate_s=4.0)
    keeper = _keeper(
        (),
        *(_agent(f"s{n}", n, Phase.SHED) for n in range(5)),
        *(_agent(one.name, 1, Phase.QUEUED, one) for one in (*held, soon)),
        _agent("up", 1, Phase.HEALTHY, held[0]),
    )
    shed, waits = warnings(keeper.semaphore, keeper.agents)
    assert shed.summary == "5 of the agents went for the memory of more important ones: s4, s3, s2 and 2 more"
    assert waits.summary == "starts held back: 2; first q1: needs 1 MB"
    assert some([]) == "nobody"
