"""Whose failure is the node's: tables, and random days whose seed is printed."""

from __future__ import annotations

import random

import pytest

from holdfast import limits
from holdfast.correlation.model import Action, Cause, Close, Hold, Joined, LetGo, Open, Sign, Tell
from holdfast.correlation.rule import SILENT, Correlation

STARVED = Sign(key="starved", cause=Cause.STARVED, why="tasks stall")
AWAY = Sign(key="away", cause=Cause.AWAY, why="the machine slept for 60 s")
STRIKES = 3


def full(*agents: str) -> Sign:
    return Sign(key="disk:/data", cause=Cause.DISK, why="the disk of /data is full", agents=frozenset(agents))


class Node:
    """Feeds the rule as the keeper does, and keeps the books that its promises are checked against."""

    def __init__(self, count: int = 20) -> None:
        self.rule = Correlation()
        self.agents = [f"a{n:03}" for n in range(count)]
        self.now = 1000.0
        self.held: set[str] = set()
        self.open: set[str] = set()
        self.opened: list[str] = []
        self.told: list[str] = []
        self.joined: set[str] = set()
        self.healed: set[str] = set()  # whose own ladder acted

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Hold(agent=agent):
                    self.held.add(agent)
                case LetGo(agent=agent):
                    self.held.discard(agent)
                case Open(key=key):
                    assert key not in self.open
                    self.open.add(key)
                    self.opened.append(key)
                case Joined(agents=agents, key=key):
                    assert key in self.open
                    self.joined |= set(agents)
                case Close(key=key):
                    self.open.remove(key)
                case Tell(key=key):
                    assert key in self.open
                    self.told.append(key)
        assert {agent for agent in self.agents if self.rule.holds(agent)} == self.held

    def bad(self, agent: str, kind: str = "slow", starved: bool = False) -> None:
        self.take(self.rule.bad(agent, kind, STRIKES, self.now, len(self.agents)))
        bad = self.rule.bads[agent]
        if agent not in self.held and bad.ripe and not starved and kind != SILENT:
            self.healed.add(agent)

    def look(self, *signs: Sign) -> None:
        self.take(self.rule.look(signs, self.now))

    def rounds(
        self, count: int, bad: list[str], *signs: Sign, kind: str = "slow", good: list[str] | None = None
    ) -> None:
        """`count` times two seconds, with one probe of each of `bad` and `good`."""
        for _ in range(count):
            self.look(*signs)
            for n, agent in enumerate(bad):
                self.now += 2 / len(bad) if bad else 0
                if n % 10 == 0:
                    self.look(*signs)
                self.bad(agent, kind, starved=any(sign.cause is Cause.STARVED for sign in signs))
            for agent in good or []:
                self.rule.good(agent)
            self.now += 0 if bad else 2
            self.look(*signs)


def test_many_that_fail_alike_within_seconds_are_one_incident_and_nobody_is_restarted() -> None:
    node = Node()
    node.rounds(10, node.agents)
    assert node.opened == ["together:slow"]
    assert node.joined == set(node.agents)
    assert node.healed == set()


def test_a_few_that_fail_are_healed_at_once() -> None:
    node = Node(100)
    node.rounds(3, node.agents[:4])
    assert node.healed == set(node.agents[:4])
    assert node.opened == []


def test_a_few_of_a_large_fleet_are_no_common_cause() -> None:
    node = Node(100)
    node.rounds(3, node.agents[:15])
    assert node.healed == set(node.agents[:15])


def test_failures_of_different_kinds_are_no_common_cause() -> None:
    node = Node(8)
    for _ in range(3):
        node.now += 2
        for n, agent in enumerate(node.agents):
            node.bad(agent, "slow" if n % 2 else "failing")
    assert node.healed == set(node.agents)


@pytest.mark.parametrize("kind", ["refused", "foreign"])
def test_what_heals_at_once_is_never_held_back(kind: str) -> None:
    node = Node()
    node.rounds(4, node.agents, AWAY, full(*node.agents), kind=kind)
    assert node.held == set()
    assert node.healed == set(node.agents)


def test_when_one_restart_helps_the_others_are_healed_as_usual() -> None:
    node = Node(10)
    node.rounds(20, node.agents)
    canary = sorted(set(node.agents) - node.held)
    assert canary == ["a000"]
    assert node.healed <= {"a000"}
    node.take(node.rule.ended("a000"))
    node.now += limits.CANARY_GOOD_S
    node.rounds(4, node.agents[1:], good=["a000"])
    assert node.open == set()
    assert node.healed >= set(node.agents[1:])


def test_when_a_restart_does_not_help_the_others_are_not_restarted_and_a_person_hears_once() -> None:
    node = Node(10)
    node.rounds(65, node.agents)  # 130 s
    assert node.healed == {"a000"}
    assert node.told == ["together:slow"]
    node.rounds(120, node.agents)
    assert node.told == ["together:slow"]
    assert 2 <= len(node.healed) <= 5  # one after another: nobody is held for ever


def test_when_they_recover_the_incident_ends_and_all_are_let_go() -> None:
    node = Node(10)
    node.rounds(8, node.agents)
    node.rounds(7, [], good=node.agents)
    assert node.open == set()
    assert node.held == set()
    assert node.rule.quiet
    assert node.healed == set()


def test_on_a_starved_machine_those_whose_patience_is_over_join_one_incident() -> None:
    node = Node(30)
    node.rounds(5, node.agents[:3], STARVED, kind=SILENT)
    assert node.opened == ["starved"]
    assert node.joined == set(node.agents[:3])
    assert node.healed == set()


def test_a_starved_moment_in_which_nobody_suffers_is_no_incident() -> None:
    node = Node()
    node.rounds(2, node.agents, STARVED, kind=SILENT)
    node.rounds(30, [], good=node.agents)
    assert node.opened == []
    assert node.rule.quiet


def test_an_incident_of_the_node_does_not_flap() -> None:
    node = Node()
    node.rounds(4, node.agents[:2], STARVED, kind=SILENT)
    for _ in range(20):
        node.rounds(5, [], good=node.agents)
        node.rounds(4, node.agents[:2], STARVED, kind=SILENT)
    assert node.opened == ["starved"]
    node.rounds(32, [], good=node.agents)
    assert node.open == set()


def test_a_full_disk_is_an_incident_by_itself_and_holds_only_those_who_live_on_it() -> None:
    node = Node(8)
    on_it, others = node.agents[:4], node.agents[4:]
    node.rounds(6, [*on_it, others[0]], full(*on_it), kind="failing")
    assert node.opened == ["disk:/data"]
    assert node.joined == set(on_it)
    assert node.healed == {others[0]}
    node.take(node.rule.failed(on_it[0], node.now))
    assert node.rule.covers(on_it[0]) is not None
    assert node.rule.covers(others[0]) is None
    node.look()
    assert node.held == set()
    node.rounds(32, [], good=node.agents)
    assert node.open == set()


def test_agents_that_die_on_a_full_disk_are_named_by_its_incident() -> None:
    node = Node(8)
    for _ in range(12):
        node.look(full(*node.agents))
        node.now += 1
    node.take(node.rule.failed("a003", node.now))
    assert node.joined == {"a003"}
    assert node.held == set()


def test_after_a_gap_everybody_is_left_alone_for_a_moment() -> None:
    node = Node(3)
    node.rounds(2, node.agents, AWAY, kind="behaviour:file")
    assert node.held == set(node.agents)
    node.rounds(4, node.agents, kind="behaviour:file")
    assert node.healed == set(node.agents)


def test_a_sign_that_shows_after_its_effect_takes_in_who_is_already_failing() -> None:
    node = Node(4)
    node.rounds(2, node.agents, kind="failing")
    node.look(full(*node.agents))
    assert node.held == set(node.agents)


def test_an_instance_that_ends_is_not_held_any_more() -> None:
    node = Node(3)
    node.rounds(1, node.agents, AWAY)
    node.take(node.rule.ended("a001"))
    assert node.held == {"a000", "a002"}


@pytest.mark.parametrize("seed", range(40))
def test_random_days(seed: int) -> None:
    """Whatever happens: no hold outlives its cause, one alert a case, single failures are healed."""
    print(f"seed {seed}")
    roll = random.Random(seed)
    node = Node(roll.choice([3, 12, 60]))
    down: dict[str, float] = {}
    signs: dict[str, tuple[Sign, float]] = {}
    possible = [STARVED, AWAY, full(*node.agents[::2])]
    for _ in range(900):
        node.now += 1
        if roll.random() < 0.01:
            sign = roll.choice(possible)
            signs[sign.key] = (sign, node.now + roll.uniform(1, 200))
        signs = {key: pair for key, pair in signs.items() if pair[1] > node.now}
        if roll.random() < 0.03:
            for agent in roll.sample(node.agents, roll.choice([1, 1, 2, len(node.agents)])):
                down[agent] = node.now + roll.uniform(5, 120)
        down = {agent: until for agent, until in down.items() if until > node.now}
        for agent in node.agents:
            if roll.random() < 0.5:
                if agent in down:
                    node.bad(agent, roll.choice(["slow", "slow", "failing"]), starved="starved" in signs)
                else:
                    node.rule.good(agent)
        if roll.random() < 0.02:
            node.take(node.rule.ended(roll.choice(node.agents)))
        node.look(*[pair[0] for pair in signs.values()])
        assert len(node.told) <= len(node.opened)
        if not signs and not node.rule.cases:
            assert node.held == set()
    for _ in range(200):
        node.now += 1
        for agent in node.agents:
            node.rule.good(agent)
        node.look()
    assert node.open == set()
    assert node.held == set()
    assert node.rule.quiet
    node.rounds(3, node.agents[:1])
    assert node.agents[0] in node.healed


def test_a_thousand_agents_cost_little_and_are_one_incident() -> None:
    node = Node(1000)
    for _ in range(4):
        node.now += 2
        for agent in node.agents:
            node.rule.bad(agent, "slow", STRIKES, node.now, 1000)
        node.rule.look((), node.now)
    assert list(node.rule.cases) == ["together:slow"]
    assert len(node.rule.cases["together:slow"].held) == 1000
