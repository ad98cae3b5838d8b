"""What is felt of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.node import network, senses

TABLE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:  900000     10    0    0    0     0 0 0 900000 10 0 0 0 0 0 0
  eth0:    1000     10    0    0    0     0 0 0 2000 10 0 0 0 0 0 0
  eth1:      24     10    0    0    0     0 0 0 1 10 0 0 0 0 0 0
"""


def test_traffic_is_summed_without_loopback() -> None:
    before = network.parse_traffic(TABLE, 10.0)
    assert (before.received_bytes, before.sent_bytes) == (1024, 2001)
    now = before._replace(mono=20.0, received_bytes=2024, sent_bytes=2001)
    assert network.rates(before, now) == (100.0, 0.0)
    assert network.rates(now, before._replace(mono=30.0)) is None
    assert network.rates(None, now) is None


def test_our_own_network_is_read_and_is_no_network_of_its_own() -> None:
    assert senses.traffic(1.0) is not None
    assert not network.own_namespace(os.getpid())
    assert not network.own_namespace(2**22 + 1)


def test_each_disk_is_seen_once_with_those_who_live_on_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    found = senses.disks({"one": [str(tmp_path)], "two": [str(tmp_path / "a"), str(tmp_path)], "three": ["/no/such"]})
    assert len(found) == 1
    assert found[0].users == ("one", "two")
    assert str(tmp_path).startswith(found[0].path)
    assert 0 <= found[0].share <= 1
    assert senses.disks({"proc": ["/proc"]})[0].path == "/proc"


def test_clocks_go_forward() -> None:
    first, second = senses.clocks(), senses.clocks()
    assert second >= first
