"""Agents that are set aside and called back by a real keeper, which is killed at each step of it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import aside_keeper
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome, Row


class AsideHome(KeeperHome):
    def __init__(self) -> None:
        super().__init__()
        services = json.loads(self.home.services.read_text())
        services["keeper"]["argv"] = [sys.executable, "-P", str(aside_keeper.__file__), "--home", str(self.home.path)]
        self.home.services.write_text(json.dumps(services))

    def order(self, agent: str, word: str) -> None:
        self._write("orders.json", {agent: word})

    def die_at(self, seen: str, moment: str) -> None:
        self._write("die.json", [seen, moment])

    def wait_dead(self) -> None:
        wait_until(lambda: not (self.home.path / "die.json").exists(), "a keeper that was killed in the middle")

    def _write(self, name: str, body: object) -> None:
        trial = self.home.path / f"{name}.new"
        trial.write_text(json.dumps(body))
        trial.rename(self.home.path / name)

    def runs(self) -> int:
        """How often the agent was started, as it wrote down itself."""
        path = Path(self.directory) / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def writer(self) -> Row:
        """Refuses to be two: a lock says so in its starts."""
        body = "flock -n 9 || { echo twice >> starts; exit 3; }; echo once >> starts; exec sleep 1000"
        return self.spec("one", "sh", "-c", f"exec 9> lock; {body}")


@pytest.fixture
def home() -> Iterator[AsideHome]:
    made = AsideHome()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param([("SetAside", "stored"), ("CalledBack", "stored")], id="stored and not acted upon"),
        pytest.param([("Down", "after"), ("SlotGranted", "stored")], id="just down, and just granted its start"),
    ],
)
def test_it_stays_aside_until_it_is_called_back_whenever_the_keeper_is_killed(
    home: AsideHome, deaths: list[tuple[str, str]]
) -> None:
    home.up(home.writer())
    row = home.wait_row("one", phase="healthy")
    home.die_at(*deaths[0])
    home.order("one", "hibernating")
    home.wait_dead()
    aside = home.wait_row("one", phase="hibernating")
    assert (aside["pid"], aside["instance"], aside["why"]) == (None, 1, "went for a test")
    wait_until(lambda: not Path(f"/proc/{row['pid']}").exists(), "its process is gone")
    home.die_at(*deaths[1])
    home.order("one", "back")
    home.wait_dead()
    back = home.wait_row("one", phase="healthy")
    assert (back["instance"], back["restarts"], back["tier"]) == (2, 0, 0)
    wait_until(lambda: home.runs() >= 2, "its second process wrote down its start")
    assert (home.runs(), home.incidents()) == (2, [])


def test_init_killed_while_it_is_set_aside_starts_nothing_and_a_person_may_start_and_stop_it(home: AsideHome) -> None:
    home.up(home.writer())
    home.wait_row("one", phase="healthy")
    home.order("one", "spare")
    home.wait_row("one", phase=lambda phase: phase in ("stopping", "spare"))
    former = home.process("init")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("init", former)
    home.wait_row("one", phase="spare", health=lambda levels: levels and levels["process"] == "off")
    (home.home.path / "orders.json").unlink()
    home.client.post("/v1/agents/one/start", {"wait": True})
    assert home.wait_row("one", phase="healthy")["restarts"] == 0
    home.order("one", "shed")
    home.wait_row("one", phase="shed")
    (home.home.path / "orders.json").unlink()
    home.client.post("/v1/agents/one/stop", {"wait": True})
    home.wait_row("one", phase="stopped")
    wait_until(lambda: home.runs() >= 2, "its second process wrote down its start")
    assert (home.runs(), home.incidents()) == (2, [])
