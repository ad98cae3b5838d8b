"""Real gateways taken over from the units their installers write, or from a shell, and given back.

No two processes ever write one state directory, no turn is lost, and `kill -9` of `holdfast adopt` in any step costs
nothing. About 5 minutes on two idle cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.full.fake_llm import REPLY, FakeLlm
from tests.full.former_ways import Machine, Writers, hermes_unit, openclaw_unit, own, wait_for
from tests.full.hermes_home import HermesHome
from tests.full.install import Installed
from tests.full.openclaw_home import OpenclawHome
from tests.full.processes import Process

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

START_S = 300.0
TURN_S = 120.0
SLOW_TURN_S = 8.0
SECRET = "a secret of the former unit"


@pytest.fixture
def machine(say: Callable[[str], None], installed: Installed) -> Iterator[Machine]:
    made = Machine(say)
    yield made
    made.close()


def hermes_answers(home: HermesHome) -> bool:
    status, body = home.get("/health")
    return status == 200 and body["status"] == "ok"


def openclaw_answers(home: OpenclawHome) -> bool:
    status, body = home.get("/startupz")
    return status == 200 and body["status"] == "started"


def killed_and_back(machine: Machine, name: str, answers: Callable[[], bool]) -> None:
    before = machine.row(name)
    os.kill(before["pid"], signal.SIGKILL)
    wait_for(lambda: machine.row(name).get("pid") not in (None, 0, before["pid"]), "restarted", START_S)
    wait_for(answers, "answering after kill -9", START_S, machine.evidence)


def test_hermes_is_taken_from_its_unit_with_a_turn_under_way_and_given_back(
    machine: Machine, llm: FakeLlm, installed: Installed
) -> None:
    home = HermesHome.create(machine.folder / "one", llm.base_url, installed)
    own(home.folder)
    unit, text = hermes_unit(home)
    machine.unit(unit, text)
    wait_for(lambda: hermes_answers(home), "serving under its unit", START_S, machine.evidence)
    assert home.turn("say hello to the unit", TURN_S).strip() == REPLY
    with Writers(home.home) as writers, ThreadPoolExecutor(1) as pool:
        (former,) = writers.living()
        llm.answer("slow", SLOW_TURN_S)
        seen = len(llm.calls)
        turn = pool.submit(home.turn, "think for a while", TURN_S)
        llm.wait_for_call(seen + 1, TURN_S)
        machine.must("adopt", "hermes", "--yes")
        assert turn.result(timeout=TURN_S).strip() == REPLY
        llm.answer("ok")
        row = machine.row("hermes")
        assert [each.pid for each in writers.living()] == [row["pid"]]
        assert Process.of(row["pid"]).user == os.getuid()
        assert machine.unit_says(unit) == (False, False)
        assert not former.alive
        assert home.turn("say hello to Holdfast", TURN_S).strip() == REPLY
        killed_and_back(machine, "hermes", lambda: hermes_answers(home))
        machine.must("adopt", "undo", "--yes")
        wait_for(lambda: hermes_answers(home), "serving under its unit again", START_S, machine.evidence)
        assert machine.unit_says(unit) == (True, True)
        assert machine.row("hermes") == {}
        assert home.turn("say hello to the unit again", TURN_S).strip() == REPLY
        assert (writers.most, len(writers.seen)) == (1, 4), writers.seen
    machine.say(f"{writers.looks} looks, {len(writers.seen)} gateways one after the other")
    machine.systemctl("stop", unit)


@pytest.mark.parametrize(
    ("step", "way"), [("stop", "--resume"), ("up", "--resume"), ("stop", "--undo"), ("up", "--undo")]
)
def test_hermes_survives_kill_9_of_its_adoption(
    machine: Machine, llm: FakeLlm, installed: Installed, step: str, way: str
) -> None:
    home = HermesHome.create(machine.folder / "one", llm.base_url, installed)
    own(home.folder)
    unit, text = hermes_unit(home)
    machine.unit(unit, text)
    wait_for(lambda: hermes_answers(home), "serving under its unit", START_S, machine.evidence)
    with Writers(home.home) as writers:
        machine.killed_in(step, "adopt", "hermes", "--yes")
        machine.must("adopt", way, "--yes")
        wait_for(lambda: hermes_answers(home), "serving", START_S, machine.evidence)
        assert home.turn("say hello after all that", TURN_S).strip() == REPLY
        assert machine.unit_says(unit) == ((True, True) if way == "--undo" else (False, False))
        assert bool(machine.row("hermes")) == (way == "--resume")
        assert writers.most == 1, writers.seen
    machine.systemctl("stop", unit)


def test_hermes_started_by_hand_by_another_user_goes_on_as_that_user_and_back(
    machine: Machine, llm: FakeLlm, installed: Installed
) -> None:
    home = HermesHome.create(machine.folder / "one", llm.base_url, installed)  # as root: it belongs to nobody
    owner = home.home.stat().st_uid
    command = ["nohup", str(installed.hermes_main), "gateway", "run"]
    rights = {"user": owner, "group": owner, "extra_groups": []} if os.getuid() == 0 else {}
    environment = {**home.environment(), "MY_SECRET": SECRET}
    subprocess.Popen(  # its end is waited for by nobody, as after a logout
        ["setsid", "--fork", *command], env=environment, cwd=home.folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **rights,  # type: ignore[call-overload]
    ).wait()  # fmt: skip
    wait_for(lambda: hermes_answers(home), "serving by hand", START_S)
    with Writers(home.home) as writers:
        machine.must("adopt", "hermes", "--yes", "--state", str(home.home))
        row = machine.row("hermes")
        assert Process.of(row["pid"]).user == owner
        assert f"MY_SECRET={SECRET}".encode() in Path(f"/proc/{row['pid']}/environ").read_bytes()
        assert SECRET not in machine.file.read_text()
        assert home.turn("say hello to Holdfast", TURN_S).strip() == REPLY
        machine.must("adopt", "undo", "--yes")
        wait_for(lambda: hermes_answers(home), "serving by hand again", START_S, machine.evidence)
        (again,) = writers.living()
        assert again.user == owner
        assert f"MY_SECRET={SECRET}".encode() in Path(f"/proc/{again.pid}/environ").read_bytes()
        assert home.turn("say hello by hand again", TURN_S).strip() == REPLY
        assert {path.stat().st_uid for path in home.home.rglob("*")} == {owner}
        assert (writers.most, len(writers.seen)) == (1, 3), writers.seen


def test_openclaw_is_taken_from_its_unit_and_given_back_whatever_is_killed(
    machine: Machine, llm: FakeLlm, installed: Installed
) -> None:
    home = OpenclawHome.create(machine.folder / "two", llm.base_url, installed)
    own(home.folder)
    unit, text = openclaw_unit(home, SECRET)
    machine.unit(unit, text)
    wait_for(lambda: openclaw_answers(home), "serving under its unit", START_S, machine.evidence)
    with Writers(home.state_dir) as writers, ThreadPoolExecutor(1) as pool:
        llm.answer("slow", SLOW_TURN_S)
        seen = len(llm.calls)
        turn = pool.submit(home.turn, "think for a while", TURN_S)
        llm.wait_for_call(seen + 1, TURN_S)
        machine.killed_in("stop", "adopt", "openclaw", "--yes")
        machine.must("adopt", "--resume", "--yes")
        turn.result(timeout=TURN_S)
        llm.answer("ok")
        row = machine.row("openclaw")
        assert [each.pid for each in writers.living()] == [row["pid"]]
        assert machine.unit_says(unit) == (False, False)
        assert f"MY_SECRET={SECRET}".encode() in Path(f"/proc/{row['pid']}/environ").read_bytes()
        assert SECRET not in machine.file.read_text()
        home.turn("say hello to Holdfast", TURN_S)
        killed_and_back(machine, "openclaw", lambda: openclaw_answers(home))
        machine.must("adopt", "undo", "--yes")
        wait_for(lambda: openclaw_answers(home), "serving under its unit again", START_S, machine.evidence)
        assert machine.unit_says(unit) == (True, True)
        assert machine.row("openclaw") == {}
        home.turn("say hello to the unit again", TURN_S)
        machine.killed_in("up", "adopt", "openclaw", "--yes")
        machine.must("adopt", "--undo", "--yes")
        wait_for(lambda: openclaw_answers(home), "serving under its unit for good", START_S, machine.evidence)
        assert machine.unit_says(unit) == (True, True)
        assert writers.most == 1, writers.seen
    machine.say(f"{writers.looks} looks, {len(writers.seen)} gateways one after the other")
    machine.systemctl("stop", unit)
