"""Waiting for a moment without work, against the files with which Hermes tells and is told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.adoption import quiet
from holdfast.adoption.model import Adoption, Former


class Hermes:
    """Its side of the files: it looks for the request and tells how much work is left."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.at_work = 0
        self.obeys = True
        self.request = home / quiet.DRAIN
        self.ended = threading.Event()
        self.tell("running")
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def tell(self, state: str) -> None:
        text = json.dumps({"pid": os.getpid(), "gateway_state": state, "active_agents": self.at_work})
        (self.home / "state.tmp").write_text(text)
        os.replace(self.home / "state.tmp", self.home / "gateway_state.json")

    def run(self) -> None:
        while not self.ended.wait(0.01):
            self.tell("draining" if self.obeys and self.request.exists() else "running")


@pytest.fixture
def hermes(tmp_path: Path) -> Iterator[Hermes]:
    made = Hermes(tmp_path)
    yield made
    made.ended.set()
    made.thread.join()


def adoption(home: Path) -> Adoption:
    return Adoption(
        agent="hermes", kind="hermes", file="/x", file_existed=False, block="", former=Former(kind="none"),
        uid=os.geteuid(), state_dir=str(home), port=1,
    )  # fmt: skip


def test_an_idle_gateway_takes_no_new_turns_until_it_is_over(hermes: Hermes) -> None:
    assert quiet.wait(adoption(hermes.home), print, 60)
    assert hermes.request.exists()
    assert json.loads((hermes.home / "gateway_state.json").read_text())["gateway_state"] == "draining"
    quiet.over(adoption(hermes.home))
    assert not hermes.request.exists()
    assert json.loads((hermes.home / "gateway_state.json").read_text())["gateway_state"] == "running"


def test_a_turn_under_way_is_waited_for(hermes: Hermes) -> None:
    hermes.at_work = 1
    threading.Timer(0.5, lambda: setattr(hermes, "at_work", 0)).start()
    assert quiet.wait(adoption(hermes.home), print, 60)
    assert hermes.at_work == 0


def test_a_turn_that_takes_too_long_is_told(hermes: Hermes) -> None:
    hermes.at_work = 1
    assert not quiet.wait(adoption(hermes.home), print, 0.3)
    assert quiet.wait(adoption(hermes.home), print, 0)


def test_one_that_cannot_tell_is_said_so(hermes: Hermes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADOPT_DRAIN_SEEN_S", 0.2)
    hermes.obeys = False
    said: list[str] = []
    assert quiet.wait(adoption(hermes.home), said.append, 60)
    assert "may be cut off" in said[0]


def test_a_request_of_somebody_else_is_left_alone(hermes: Hermes) -> None:
    hermes.request.write_text('{"principal": "dashboard"}')
    assert quiet.wait(adoption(hermes.home), print, 60)
    quiet.over(adoption(hermes.home))
    assert hermes.request.read_text() == '{"principal": "dashboard"}'


def test_without_a_gateway_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    assert quiet.wait(adoption(tmp_path), print, 60)
    assert not (tmp_path / quiet.DRAIN).exists()
    quiet.over(adoption(tmp_path))
