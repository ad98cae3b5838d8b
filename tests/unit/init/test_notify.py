"""The receiver of beats: who said it, what gathering keeps, and that telling later changes no judgement."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from holdfast.health import beats
from holdfast.health.model import Judgement
from holdfast.init.notify import DOZE_MAX_S, FLUSH_S, HOLD_MAX_S, Receiver

SENDER = (
    "import os, socket, sys\n"
    "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'WATCHDOG=1\\nX_CYCLE=7', sys.argv[1])\n"
    "print('sent', flush=True)\n"
    "sys.stdin.read()\n"
)


class Door:
    """A receiver on a real socket; this test process is the main process of agent `one`."""

    def __init__(self, directory: Path, beat_s: float = 0.0) -> None:
        self.path = str(directory / "notify.sock")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(self.path)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.by_pid = {os.getpid(): "one"}
        self.epochs = {"one": 3, "two": 5, "three": 4}
        self.receiver = Receiver(sock, self.by_pid, lambda name: self.epochs.get(name, 0), "home", lambda name: beat_s)
        self.client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.client.connect(self.path)

    def close(self) -> None:
        self.receiver.sock.close()
        self.client.close()

    def say(self, at: float, *lines: str) -> None:
        self.client.send("\n".join(lines).encode())
        self.receiver.drain(at)

    def told(self, at: float) -> list[dict[str, Any]]:
        return self.receiver.take(at) if self.receiver.flush_due <= at else []

    def from_process(self, env: dict[str, str], own: str = "") -> list[dict[str, Any]]:
        """What is told of a beat that another process sent. `own`: it is the main process of that agent."""
        clean = {key: value for key, value in os.environ.items() if key != "HOLDFAST_INSTANCE"}
        command = [sys.executable, "-S", "-c", SENDER, self.path]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean | env, text=True
        ) as process:
            if own:
                self.by_pid[process.pid] = own
            assert process.stdout is not None
            assert process.stdout.readline() == "sent\n"
            self.receiver.drain(100.0)
            process.communicate()
        return self.told(101.0)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path)
    yield made
    made.close()


def test_a_beat_of_a_child_counts_for_its_agent(door: Door) -> None:
    [told] = door.from_process({})
    assert (told["agent"], told["epoch"], told["fields"]["X_CYCLE"]) == ("one", 3, "7")


def test_a_beat_of_another_agents_process_counts_for_that_one_whatever_it_inherited(door: Door) -> None:
    [told] = door.from_process({"HOLDFAST_INSTANCE": "home:one:3"}, own="two")
    assert (told["agent"], told["epoch"]) == ("two", 5)


def test_a_beat_of_a_stranger_is_dropped(door: Door) -> None:
    door.by_pid.clear()
    assert door.from_process({}) == []


@pytest.mark.parametrize(
    ("instance", "agents"),
    [("home:three:4", ["three"]), ("home:three:3", []), ("elsewhere:three:4", []), ("home:nobody:1", []), (":", [])],
)
def test_who_left_its_agents_tree_is_known_by_the_instance_in_its_environment(
    door: Door, instance: str, agents: list[str]
) -> None:
    door.by_pid.clear()
    assert [told["agent"] for told in door.from_process({"HOLDFAST_INSTANCE": instance})] == agents


# --- gathering -----------------------------------------------------------------------------------------------------
GATHERED = [
    (("WATCHDOG=trigger", "WATCHDOG=1"), {"WATCHDOG": "trigger"}),
    (("STOPPING=1", "STOPPING=0"), {"STOPPING": "1"}),
    (("READY=1", "WATCHDOG=1", "READY=0"), {"READY": "1", "WATCHDOG": "1"}),
    (("STATUS=a", "STATUS=b"), {"STATUS": "b"}),
    (("X_TOKENS=1", "X_TOKENS=5"), {"X_TOKENS": "5"}),
    (("nonsense", "=x", "two words=1", "WATCHDOG=1"), {"WATCHDOG": "1"}),
]


@pytest.mark.parametrize(("said", "fields"), GATHERED)
def test_what_counts_is_not_lost_by_gathering(door: Door, said: tuple[str, ...], fields: dict[str, str]) -> None:
    for number, line in enumerate(said):
        door.say(10.0 + number / 1000, line)
    [told] = door.told(10.5)
    assert told["fields"] == fields


def test_the_order_of_different_cycles_is_kept_and_when_the_last_one_came(door: Door) -> None:
    door.say(10.0, "X_CYCLE=1")
    assert len(door.told(10.5)) == 1
    for at, cycle in ((11.0, 2), (11.1, 1), (11.2, 1)):
        door.say(at, "WATCHDOG=1", f"X_CYCLE={cycle}")
    [told] = door.told(11.5)
    assert (told["cycles"], told["cycle_mono"], told["mono"]) == (["2", "1"], 11.1, 11.2)


def test_what_was_said_is_told_once_more_to_the_next_keeper_but_for_what_was_meant_for_then(door: Door) -> None:
    door.say(10.0, "READY=1", "EXTEND_TIMEOUT_USEC=5000000", "X_CYCLE=4")
    [first] = door.told(10.5)
    assert first["fields"]["EXTEND_TIMEOUT_USEC"] == "5000000"
    door.say(11.0, "X_CYCLE=5")
    [held] = door.receiver.all_held({"one": 3})
    assert held["held"] is True
    assert held["fields"] == {"READY": "1", "X_CYCLE": "5"}
    assert door.receiver.all_held({"one": 4}) == []


def test_a_thousand_beats_at_once_hold_up_no_sender(door: Door) -> None:
    def send() -> None:
        for cycle in range(1000):
            door.client.send(f"WATCHDOG=1\nX_CYCLE={cycle}".encode())

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    deadline = time.monotonic() + 90.0
    while sender.is_alive() and time.monotonic() < deadline:
        now = time.monotonic()
        door.receiver.drain(now)
        doze_s = door.receiver.doze_until - now
        assert doze_s == float("inf") or doze_s <= DOZE_MAX_S + 1e-6
    assert not sender.is_alive()
    door.receiver.drain(time.monotonic())
    [told] = door.told(time.monotonic() + 1.0)
    assert told["fields"]["X_CYCLE"] == "999"


def test_routine_of_a_thousand_agents_is_told_in_few_messages_and_news_at_once(tmp_path: Path) -> None:
    door = Door(tmp_path, beat_s=60.0)
    names = [f"agent-{number}" for number in range(1000)]
    messages = 0
    for second in range(20):
        for name in names:
            door.receiver._take((name, 1), b"WATCHDOG=1\nX_CYCLE=%d" % second, 1000.0 + second)
        messages += sum(len(door.told(1000.0 + second + part / 4)) for part in range(4))
    assert messages <= 20 * 1000 / HOLD_MAX_S + 1000
    door.receiver._take(("agent-1", 1), b"X_DEGRADED=model down", 1020.0)
    assert "agent-1" in [told["agent"] for told in door.told(1020.0 + FLUSH_S)]
    door.close()


# --- telling later changes no judgement --------------------------------------------------------------------------
RULES = beats.Rules(beat_s=60.0, busy_max_s=1800.0, start_period_s=30.0, stop_grace_s=10.0)
SAID = ("WATCHDOG=1", "STATUS=at work", "X_IDLE=1", "X_IDLE=0", "X_BUSY_USEC=90000000", "X_TOKENS=3", "X_DEGRADED=")


def sequence(random: Random) -> list[tuple[float, str]]:
    """What an agent says in some minutes, with pauses just below and above what is allowed."""
    at, cycle, said = 1000.0, 1, []
    for _ in range(60):
        at += random.choice((0.3, 1.0, 3.0, 5.0, 58.0, 110.0, 116.0, 119.9, 126.0))
        text = random.choice((*SAID, "", "", "", ""))
        advances = random.random() < 0.5
        cycle += advances
        said.append((at, "\n".join(filter(None, ("WATCHDOG=1", f"X_CYCLE={cycle}", text)))))
    return said


@pytest.mark.parametrize("seed", range(20))
def test_beats_that_are_told_together_are_judged_as_if_told_at_once(tmp_path: Path, seed: int) -> None:
    door = Door(tmp_path, beat_s=60.0)
    said = sequence(Random(seed))
    straight = gathered = beats.Beats(instance=3, since_mono=1000.0)
    now, heard, differ = 1000.0, 0, 0
    while now < said[-1][0] + 200.0:
        now += FLUSH_S
        while said and heard < len(said) and said[heard][0] <= now:
            at, text = said[heard]
            straight = beats.hear(
                straight, beats.read(dict(line.split("=", 1) for line in text.split("\n")), at), RULES
            )
            door.receiver._take(("one", 3), text.encode(), at)
            heard += 1
        for told in door.told(now):
            more = (told.get("busy_mono", 0.0), told.get("cycles", ()), told.get("cycle_mono", 0.0))
            gathered = beats.hear(gathered, beats.read(told["fields"], told["mono"], *more), RULES)
        one, other = [beats.judge(known, RULES, now, beat_before=False)[0] for known in (straight, gathered)]
        differ = differ + 1 if (one is Judgement.FAILING) != (other is Judgement.FAILING) else 0
        assert differ <= 2, f"{other} instead of {one} at {now}"  # what comes in at the last moment is under way
    door.close()
