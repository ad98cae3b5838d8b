"""Looking into hung agents: bounded, once for each instance, and never in the way of the restart."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec
import pytest

from holdfast import limits
from holdfast.evidence.model import Bundle
from holdfast.healing.model import Ladder, Policy
from holdfast.incidents.model import Incident
from holdfast.keeper.agent import Agent, Memory, World
from holdfast.keeper.telling.collecting import NOTHING, TOO_MANY, Collecting, newest
from holdfast.node import processes
from holdfast.spec.model import AgentSpec

Heard = list[tuple[str, Bundle | None, str]]
HANDS_ONE = 'import sys; sys.stdin.read(); print(\'{"agent": "a", "instance": 1, "complete": true}\', flush=True)'
LONG_S = 90.0  # for those that end by themselves
HANDS_ONE_THEN_HANGS = HANDS_ONE + "; import time; time.sleep(600)"


def hung(name: str = "a", instance: int = 1) -> Agent:
    spec = AgentSpec(name=name, command=("x",), working_dir="/", env={"KEY": "verysecret"}, secret_env=("KEY",))
    agent = Agent(spec, Policy(), Memory(ladder=Ladder(instance=instance, running=True)))
    agent.world = World(state="up", epoch=instance, pid=12345, starttime=1)
    agent.incident = Incident(id="i", agent=name, number=1, cause="did not answer", opened_at=1.0)
    return agent


def collecting(heard: Heard, *program: str) -> Collecting:
    return Collecting(
        lambda agent: (),
        lambda agent, bundle, why: heard.append((agent.name, bundle, why)),
        command=(sys.executable, "-I", "-c", *program),
    )


def run(*agents: Agent, program: str, again: int = 1, within_s: float = limits.EVIDENCE_BOUND_S) -> tuple[Heard, float]:
    heard: Heard = []

    async def all_at_once() -> float:
        looking = collecting(heard, program)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(
            *(looking.look(agent, agent.world.epoch, within_s) for agent in agents for _ in range(again))
        )
        took_s = asyncio.get_running_loop().time() - began
        await asyncio.gather(*looking._leaving)
        return took_s

    return heard, asyncio.run(all_at_once())


def test_what_was_seen_is_told() -> None:
    heard, _ = run(hung(), program=HANDS_ONE, within_s=LONG_S)
    assert heard[0][1] is not None
    assert heard[0][1].complete
    assert heard[0][2] == ""


def test_one_instance_is_looked_into_once_however_often_its_act_is_repeated() -> None:
    heard, _ = run(hung(), program=HANDS_ONE, again=5, within_s=LONG_S)
    assert len(heard) == 1


def test_a_collector_that_hangs_is_killed_and_what_it_gave_is_kept() -> None:
    for within_s in (limits.EVIDENCE_BOUND_S, 10.0, LONG_S):  # on a slow machine it has not begun in the first
        heard, _ = run(hung(), program=HANDS_ONE_THEN_HANGS, within_s=within_s)
        if heard[0][1] is not None:
            return
    raise AssertionError("what it gave is lost")


def test_a_collector_that_gives_nothing_says_so() -> None:
    heard, _ = run(hung(), program="import time; time.sleep(600)")
    assert heard == [("a", None, NOTHING)]


def test_a_collector_that_cannot_be_started_holds_nothing_up() -> None:
    heard: Heard = []

    async def look() -> None:
        broken = collecting(heard, "")
        broken._command = ("/nonexistent",)
        await broken.look(hung(), 1)

    asyncio.run(look())
    assert heard == [("a", None, NOTHING)]


def test_a_thousand_hung_agents_are_let_go_together_at_the_bound() -> None:
    agents = [hung(f"a{number}") for number in range(1000)]
    heard, _ = run(*agents, program="import time; time.sleep(600)")
    assert len(heard) == 1000
    # The first few hold their places until the bound, at which the next few may still get them for a moment.
    looked_into = 2 * limits.EVIDENCE_AT_ONCE
    assert sum(why == NOTHING for _, _, why in heard) <= looked_into
    assert sum(why == TOO_MANY for _, _, why in heard) >= 1000 - looked_into


def test_only_a_running_instance_of_an_open_incident_is_looked_into() -> None:
    async def check() -> None:
        looking = collecting([], HANDS_ONE)
        agent = hung()
        assert looking.wanted(agent, 1)
        assert not looking.wanted(agent, 2)
        await looking.look(agent, 1)
        assert not looking.wanted(agent, 1)
        agent.incident = None
        agent.world.epoch = 2
        assert not looking.wanted(agent, 2)

    asyncio.run(check())


def test_secrets_go_by_standard_input_and_never_by_argument() -> None:
    seen = collecting([], "x")._order(hung(), 1.0)
    assert seen.secrets == ("verysecret",)


@pytest.mark.parametrize(
    ("lines", "instance"),
    [([], None), ([b'{"agent": "a", "instance": 3}\n', b'{"agent": "a", "inst'], 3), ([b"\xff\n"], None)],
)
def test_a_half_line_is_passed_over(lines: Sequence[bytes], instance: int | None) -> None:
    found = newest(lines)
    assert (found.instance if found else None) == instance


def test_a_bundle_survives_its_way_through_json() -> None:
    bundle = Bundle(agent="a", instance=1, gaps=("none",))
    assert msgspec.json.decode(msgspec.json.encode(bundle), type=Bundle) == bundle


ATTACHES_AND_HANGS = """
import ctypes, json, sys, time
target = json.load(sys.stdin)["pid"]
assert ctypes.CDLL(None).ptrace(16, target, 0, 0) == 0
print('{"agent": "a", "instance": 1}', flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may attach to any process")
def test_whom_a_tool_had_stopped_when_the_look_was_cut_short_goes_on() -> None:
    target = subprocess.Popen(["sleep", "600"])
    try:
        agent = hung()
        agent.world.pid, agent.world.starttime = target.pid, processes.starttime(target.pid) or 0
        run(agent, program=ATTACHES_AND_HANGS)
        deadline = time.monotonic() + 60
        while processes.stat(target.pid).state in "Tt":  # type: ignore[union-attr]
            assert time.monotonic() < deadline, "it was left stopped"
            time.sleep(0.01)
    finally:
        target.kill()
        target.wait()
