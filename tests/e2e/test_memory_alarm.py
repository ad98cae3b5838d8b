"""A real agent that fills its memory is degraded and alarmed about, never restarted, and its use is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

EATER = """
import os, sys, time
held = []
while True:
    want = int(open(sys.argv[1]).read() or 0)
    while len(held) < want:
        held.append(bytearray(os.urandom(1 << 20)))
    del held[want:]
    time.sleep(0.1)
"""
LIMIT = 200_000_000


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = KeeperHome()
    try:
        yield made
    finally:
        made.close()


def test_memory_near_the_limit_is_told_once_and_nothing_is_restarted(home: KeeperHome) -> None:
    told, want = home.directory / "told", home.directory / "want"
    want.write_text("10")
    channel = {"command": ["/bin/sh", "-c", f"cat >> {told}; echo >> {told}"]}
    command = (sys.executable, "-S", "-c", EATER, str(want))
    home.up(home.spec("eater", *command, limits={"memory_bytes": LIMIT}), alerts=[channel])
    row = home.wait_row("eater", usage=lambda usage: usage and (usage["memory_share"] or 0) > 0.03)
    assert row["usage"]["memory_limit_bytes"] == LIMIT
    assert row["usage"]["memory_bytes"] == row["rss_bytes"]
    assert row["usage"]["net_rx_bytes_s"] is None
    want.write_text("160")
    row = home.wait_row("eater", phase="degraded")
    assert "of its limit of 200 MB is in use" in row["why"]
    wait_until(lambda: told.exists() and told.read_text().strip(), "the alert")
    want.write_text("10")
    home.wait_row("eater", phase="healthy", instance=1)

    def kinds() -> list[str]:
        return [event["kind"] for event in home.events(agent="eater") if event["kind"].startswith("resource.")]

    wait_until(lambda: "resource.well" in kinds(), "the end of the alarm")
    assert kinds() == ["resource.alarm", "resource.well"]
    assert [json.loads(line)["agent"] for line in told.read_text().splitlines() if line] == ["eater"]
    shown = home.client.get("/v1/agents/eater/usage")
    assert max(used for _, used in shown["curve"]) > 0
    wait_until(lambda: home.client.get("/v1/node")["disks"], "a look at the disks")
