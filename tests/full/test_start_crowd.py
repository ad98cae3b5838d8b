"""A hundred agents started at once on a small machine: they come in turn, each within its own time, and nobody falls.

Each takes about 40 MB and half a second of CPU before it answers. Once the machine holds all of them, and their starts
follow one another for the CPU; once the node is so small that all of them only fit when they have settled. About a
minute each on two busy cores; HOLDFAST_CROWD sets another number.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.harness.free_memory import available_bytes
from tests.harness.keeper_home import KeeperHome, Row
from tests.harness.ports import free_port

pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]

CROWD = int(os.environ.get("HOLDFAST_CROWD", "100"))
MB = 1_000_000
KEEPS_MB = 40
START_MB = 160  # as declared where memory is small
SETTLED_MB = 62  # that each has in the end: itself, what the kernel has for it, and the least slack of its lease
UP_S = 900.0  # on a machine that does much else
AGENT = """
import socket, sys, time
held = bytearray(b'x') * (int(sys.argv[2]) * 1_000_000)
while time.process_time() < 0.5:
    sum(range(1000))
door = socket.socket()
door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
door.bind(('127.0.0.1', int(sys.argv[1])))
door.listen(16)
while True:
    caller, _ = door.accept()
    caller.settimeout(60)
    try:
        caller.recv(4096)
        caller.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 11\\r\\nConnection: close\\r\\n\\r\\n{"ok":true}')
    except OSError:
        pass
    caller.close()
"""


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = KeeperHome()
    try:
        yield made
    finally:
        made.close()


def member(home: KeeperHome, number: int, **more: Any) -> Row:
    port = free_port()
    probe = {"url": f"http://127.0.0.1:{port}/health", "expect": {"ok": True}}
    health = {"http": probe, "interval_s": 5.0, "timeout_s": 20.0, "start_period_s": 60.0}
    command = (sys.executable, "-I", "-S", "-c", AGENT, str(port), str(KEEPS_MB))
    return home.spec(f"one{number:03d}", *command, health=health, **more)


@pytest.mark.parametrize(
    ("words", "memory", "node_mb"),
    [("a large node", None, None), ("a small node", {"start_bytes": START_MB * MB}, CROWD * SETTLED_MB + 600)],
)
def test_a_crowd_of_starts_comes_up_in_turn_and_nobody_falls(
    home: KeeperHome, say: Callable[[str], None], words: str, memory: Row | None, node_mb: int | None
) -> None:
    if available_bytes() < 1.5 * CROWD * (KEEPS_MB + 10) * MB:
        pytest.skip(f"needs {1.5 * CROWD * (KEEPS_MB + 10):.0f} MB of free memory")
    more = {} if memory is None else {"memory": memory}
    node = {} if node_mb is None else {"node": {"memory_bytes": node_mb * MB}}
    began = time.monotonic()
    home.up(*(member(home, number, **more) for number in range(CROWD)), **node)
    most_bytes = 0
    while True:
        shown = home.status()
        rows = shown["agents"]
        out = sum(row.get("start_lease_bytes") or 0 for row in rows)
        most_bytes = max(most_bytes, out)
        if len(rows) == CROWD and all(row["phase"] == "healthy" for row in rows):
            break
        assert time.monotonic() - began < UP_S, [(row["name"], row["phase"]) for row in rows]
        time.sleep(0.5)
    took_s = time.monotonic() - began
    assert {row["instance"] for row in rows} == {1}, "nobody was started twice"
    events = home.events()
    kinds = {event["kind"] for event in events}
    assert not kinds & {"agent.exited", "density.shed", "incident.opened"}, kinds
    spawned = {event["agent"]: event["at"] for event in events if event["kind"] == "agent.spawned"}
    assert len(spawned) == CROWD
    if node_mb is not None:
        assert most_bytes <= shown["node"]["budget_bytes"], "starts together never had more than there is"
    say(f"{CROWD} starts, {words}: all well after {took_s:.1f} s, start leases {most_bytes // MB} MB at most at once")
