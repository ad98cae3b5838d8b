"""An agent with a cache that is asked for memory by a real keeper: it drops the cache, and nobody has to go."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.e2e.test_shedding import Node
from tests.harness.init_home import wait_until

pytestmark = pytest.mark.timeout(240)

# Holds a cache of so many MB until it is asked for memory; says when it is full, and once it has let go of it.
CACHES = """
import contextlib, os, signal, sys
cache, dropped = [], sys.argv[2]
signal.signal(signal.SIGUSR2, lambda *_: (cache.clear(), open(dropped, "w").close()))
for _ in range(int(sys.argv[1])):
    cache.append(bytearray(os.urandom(4096) * 256))
with contextlib.suppress(FileNotFoundError):
    os.unlink(dropped)  # asked before it was full
open(dropped + ".full", "w").close()
while True:
    signal.pause()
"""


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    try:
        yield made
    finally:
        made.home.close()


def test_a_cache_is_dropped_when_memory_grows_scarce_and_nobody_is_shed(node: Node) -> None:
    home, dropped = node.home, node.home.directory / "dropped"
    memory = {"start_bytes": 30_000_000, "ask": {"signal": "SIGUSR2"}}
    low = home.spec("low", sys.executable, "-S", "-c", CACHES, "90", str(dropped), priority=10, memory=memory)
    home.up(node.agent("high", 100, 20), low, node={"memory_bytes": 256 << 20, "reserve_bytes": 32 << 20})
    node.wait_held("high", 20)
    home.wait_row("low", phase="healthy")
    wait_until(dropped.with_name("dropped.full").exists, "a cache that is full")
    for held_mb in range(30, 100, 5):  # slowly: the soft steps come before anybody has to go
        node.hold("high", held_mb)
        node.wait_held("high", held_mb)
        if dropped.exists():
            break
    wait_until(lambda: any(event["kind"] == "density.asked" for event in home.events(agent="low")), "it is asked")
    wait_until(dropped.exists, "it has dropped its cache")
    node.hold("high", 150)
    node.wait_held("high", 150)
    assert [event["kind"] for event in home.events() if event["kind"] == "density.shed"] == []
    assert {home.row(name)["instance"] for name in ("high", "low")} == {1}
