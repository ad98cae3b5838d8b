"""Three real OpenClaw gateways and a real Hermes on a small node: they start in turn, and nobody disturbs their work.

The tests of this file share one fleet and run in the order they are written in. It starts on a node of 3 GB, where
three starts of 1.2 GB each do not fit together. A gateway of OpenClaw 2026.9.6 that has worked keeps 1 GB, and one that
is asked turn after turn goes up to 1.3 GB between two collections: from the second test on the node has 5 GB, so that
the three of them fit at their worst, and whoever went for them comes back. Two agents of low priority take memory when
they are told, one in one process and one in many. About 4 minutes on two idle cores.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.full.fake_llm import FakeLlm
from tests.full.fleet import Fleet, Row, gone, serving
from tests.full.install import Installed
from tests.full.memory_pack import CLAWS, FORKY, HERMES, SPIKY, Pack, Turns, until
from tests.full.processes import Process, descendants
from tests.harness.free_memory import available_bytes

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.getuid() != 0, reason="needs memory cgroups of its own: run as root"),
]

START_S = 900.0  # four starts one after another, 8 to 20 CPU seconds each, on a machine busy with other things
SHED_S = 300.0  # the less important has hardly any CPU on a busy machine, and takes its memory slowly
BACK_S = 300.0
ASLEEP_S = 300.0  # it has to be quiet for a while, on a machine that is not
IMPORTANT = (*CLAWS, HERMES)
AT_WORK = "5Gi"  # the node that three gateways at work fit into
NEEDED_BYTES = 7_000_000_000  # that node, and what the test, the model and the machine take beside it
TREE = 5  # processes of the one that forks, at which it counts as under way


@pytest.fixture(scope="module")
def pack(fleet: Fleet, llm: FakeLlm, installed: Installed) -> Pack:
    if available_bytes() < NEEDED_BYTES:
        pytest.skip(f"needs {NEEDED_BYTES / 1e9:.0f} GB of free memory")
    return Pack.create(fleet, llm.base_url, installed)


def look(fleet: Fleet) -> dict[str, Any]:
    """What `ps --json` says; {} when nobody answers in a minute, on a machine that stands still."""
    try:
        answer: dict[str, Any] = json.loads(fleet.command("ps", "--json").stdout or "{}")
    except subprocess.TimeoutExpired:
        return {}
    return answer


def rows(fleet: Fleet) -> dict[str, Row]:
    return {row["name"]: row for row in look(fleet).get("agents", ())}


def seqs(fleet: Fleet, agent: str, kind: str) -> list[int]:
    return [event["seq"] for event in fleet.events(agent) if event["kind"] == kind]


def keeper(fleet: Fleet) -> int:
    processes = json.loads(fleet.must("ps", "--json"))["holdfast"]["processes"]
    return next(int(one["pid"]) for one in processes if one["name"] == "keeper")


def all_serving(fleet: Fleet, timeout_s: float) -> dict[str, Row]:
    for name in (*IMPORTANT, SPIKY, FORKY):
        fleet.wait(name, "serving", serving if name in IMPORTANT else lambda row: row["phase"] == "healthy", timeout_s)
    return rows(fleet)


def gave_up_by_itself(fleet: Fleet, name: str) -> bool:
    """OpenClaw ends its own start when the machine lets one of its threads wait for five seconds."""
    return "state lease heartbeat did not become ready" in fleet.command("logs", "--grep", "state lease", name).stdout


def unharmed(fleet: Fleet, before: dict[str, Row]) -> None:
    """The gateways are the same processes as before, and nobody has an incident."""
    after = rows(fleet)
    for name in CLAWS:
        assert (after[name]["pid"], after[name]["instance"]) == (before[name]["pid"], before[name]["instance"]), name
        assert not seqs(fleet, name, "density.shed")
    assert all(not fleet.incidents(name) for name in after), json.loads(fleet.must("incidents", "--json"))


def shed_and_back(pack: Pack, name: str, before: Row, known: int) -> None:
    """Until the agent went for the memory it took, whole, and is back by itself."""
    fleet = pack.fleet
    until(f"{name} shed", lambda: len(seqs(fleet, name, "density.shed")) > known, SHED_S)
    event = next(event for event in reversed(fleet.events(name)) if event["kind"] == "density.shed")
    fleet.say(f"{name}: {event['text']}")
    again = fleet.wait(
        name, "back", lambda row: row["phase"] == "healthy" and row["instance"] > before["instance"], BACK_S
    )
    assert again["restarts"] == before["restarts"]  # a planned stop: nothing is counted against it


def put_to_sleep(fleet: Fleet, name: str) -> None:
    """By hand. Refused while the machine is short of CPU: asked again then, as a person does."""
    deadline = time.monotonic() + ASLEEP_S
    while (done := fleet.command("sleep", name)).returncode != 0:
        assert time.monotonic() < deadline, f"{name} is not put to sleep: {done.stdout}{done.stderr}"
        time.sleep(0.5)
    assert fleet.row(name)["asleep"] == "frozen"


def was_let_go_on(fleet: Fleet, name: str) -> bool:
    awake = [event for event in fleet.events(name) if event["kind"] == "density.awake"]
    return bool(awake) and "it was let go on" in awake[-1]["text"]


def test_starts_that_do_not_fit_together_follow_one_another_and_nobody_dies(pack: Pack) -> None:
    fleet = pack.fleet
    pack.declare("3Gi")
    fleet.must("up", "-f", str(fleet.file), "-d", timeout_s=120)
    queued: dict[str, set[str]] = {}
    deadline = time.monotonic() + START_S
    while True:
        seen = look(fleet)
        for row in seen.get("agents", ()):
            if row["queued"]:
                assert row["queued"]["position"] >= 1
                assert "in the queue of starts" in row["next"], row["next"]
                queued.setdefault(row["name"], set()).add(re.sub(r"\d+", "#", row["queued"]["why"]))
        node = seen.get("node") or {}
        if node.get("leased_bytes"):
            assert node["leased_bytes"] <= node["memory_bytes"]
        if sum(serving(row) for row in seen.get("agents", ()) if row["name"] in CLAWS) == len(CLAWS):
            break
        assert time.monotonic() < deadline, fleet.evidence(CLAWS[-1])
        time.sleep(1)
    for name, why in sorted(queued.items()):
        fleet.say(f"{name} was queued: {'; '.join(sorted(why))}")
    now = all_serving(fleet, START_S)
    assert len([name for name in CLAWS if name in queued]) >= 1
    spawned = sorted(seqs(fleet, name, "agent.spawned")[0] for name in CLAWS)
    settled = [seq for name in CLAWS for seq in seqs(fleet, name, "density.started")]
    assert min(settled) < spawned[-1]  # the last one waited for a lease to come back
    assert not [name for name in CLAWS if seqs(fleet, name, "density.shed")]
    died = [name for name in now if fleet.incidents(name) and not gave_up_by_itself(fleet, name)]
    assert not died, json.loads(fleet.must("incidents", "--json"))
    told = fleet.must("capacity")
    assert "openclaw (of 3)" in told
    fleet.say("capacity: " + next(line for line in told.splitlines() if line.startswith("openclaw")))


def test_a_spike_of_an_unimportant_agent_takes_no_turn_from_the_others(pack: Pack) -> None:
    fleet = pack.fleet
    pack.declare(AT_WORK)
    before = rows(fleet)
    fleet.must("up", "-f", str(fleet.file), "-d", timeout_s=120)
    assert rows(fleet)[CLAWS[0]]["pid"] == before[CLAWS[0]]["pid"]  # more memory is no reason to restart anybody
    quiet = Turns()
    for _ in range(2):
        pack.one_turn_each(IMPORTANT, quiet)
    fleet.say(f"turns before: {quiet.told()}")
    before = all_serving(fleet, BACK_S)
    known = len(seqs(fleet, SPIKY, "density.shed"))
    with pack.working(IMPORTANT) as turns:
        pack.go(SPIKY)
        shed_and_back(pack, SPIKY, before[SPIKY], known)
    fleet.say(f"turns during the spike: {turns.told()}")
    assert quiet.failed == []
    assert turns.failed == []  # Hermes too, which is held at a ceiling: it takes little
    assert set(turns.took_s) >= set(CLAWS)
    unharmed(fleet, before)


def test_many_small_processes_and_a_killed_keeper_take_no_turn_from_the_others_and_hermes_sleeps_on(
    pack: Pack,
) -> None:
    fleet = pack.fleet
    before = all_serving(fleet, BACK_S)
    put_to_sleep(fleet, HERMES)
    known, first = len(seqs(fleet, FORKY, "density.shed")), keeper(fleet)
    main = Process.of(before[FORKY]["pid"])
    with pack.working(CLAWS) as turns:
        pack.go(FORKY)
        until("forking", lambda: not main.alive or len(descendants(main.pid)) >= TREE, SHED_S)
        tree = [main, *descendants(main.pid)]
        os.kill(first, signal.SIGKILL)
        shed_and_back(pack, FORKY, before[FORKY], known)
        assert not gone(tree, 10)  # whole, never half of it
    fleet.say(f"turns during the forks: {turns.told()}")
    assert turns.failed == []
    assert keeper(fleet) != first
    unharmed(fleet, before)
    # Nothing stays frozen where no keeper comes for seconds: then it was let go on, and the next keeper says so.
    assert fleet.row(HERMES)["asleep"] == "frozen" or was_let_go_on(fleet, HERMES), fleet.evidence(HERMES)
    assert fleet.row(HERMES)["pid"] == before[HERMES]["pid"]


def test_a_real_hermes_wakes_by_hand_and_for_a_request_and_is_no_patient_afterwards(pack: Pack) -> None:
    fleet, before = pack.fleet, rows(pack.fleet)[HERMES]
    put_to_sleep(fleet, HERMES)
    fleet.must("wake", HERMES)
    fleet.say(f"a turn after a wake-up by hand: {pack.turn(HERMES):.1f} s")
    put_to_sleep(fleet, HERMES)
    fleet.say(f"a turn that wakes: {pack.turn(HERMES):.1f} s")
    row = fleet.wait(HERMES, "awake", lambda row: not row["asleep"] and row["wake_s"] is not None, 30)
    fleet.say(f"it was awake after {row['wake_s']} s")
    fleet.wait(HERMES, "well by all signs", lambda row: set(row["health"].values()) == {"ok"}, BACK_S)
    assert fleet.row(HERMES)["pid"] == before["pid"]
    assert not fleet.incidents(HERMES)


def test_a_real_openclaw_with_nothing_to_do_falls_asleep_and_answers_whoever_calls(pack: Pack) -> None:
    fleet, name = pack.fleet, CLAWS[-1]
    before = fleet.row(name)
    pack.declare(AT_WORK, claw_c={"idle": {"after": "10s", "action": "freeze"}})
    fleet.must("up", "-f", str(fleet.file), "-d", timeout_s=120)
    row = fleet.wait(name, "asleep", lambda row: row["asleep"] == "frozen", ASLEEP_S)
    assert row["phase"] == "healthy"
    fleet.say(f"{name}: {row['why']} ▸ {row['next']}")
    fleet.say(f"a turn that wakes: {pack.turn(name):.1f} s")
    assert (fleet.row(name)["pid"], fleet.row(name)["instance"]) == (before["pid"], before["instance"])
    assert seqs(fleet, name, "density.awake")
    assert not fleet.incidents(name)


def test_after_down_nothing_is_left(pack: Pack) -> None:
    fleet = pack.fleet
    tree = [Process.of(row["pid"]) for row in rows(fleet).values() if row["pid"]]
    fleet.down(timeout_s=240)
    assert not gone(tree, 5)
    until("everything gone", lambda: not fleet.left_running(), 10)
    assert fleet.cgroups_left() == []
