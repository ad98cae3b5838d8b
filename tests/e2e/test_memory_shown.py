"""Memory as a person sees it with a real keeper: leases that sum up, the node's room, how many more fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.cli_home import CliHome, home, wait_until

__all__ = ["home"]

FLEET = """
version: 1
node: {memory: 400M, reserve: 100M}
agents:
  main: {command: [sleep, "1000"], priority: 100, memory: {start: 20M}}
  side: {command: [sleep, "1000"], priority: 10, memory: {start: 20M}}
"""
GIANT = """  giant: {command: [sleep, "1000"], memory: {start: 350M}}
"""
MB = 1024 * 1024


def status(home: CliHome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(home.run("ps", "--json").stdout)
    found["by_name"] = {row["name"]: row for row in found["agents"]}
    return found


def test_leases_order_and_room_are_shown_and_capacity_answers(home: CliHome) -> None:
    home.write(FLEET)
    assert home.run("up", "-d").returncode == 0
    wait_until(lambda: status(home)["by_name"]["side"]["lease_bytes"], "both agents have a lease")
    home.write(FLEET + GIANT)
    assert home.run("up", "-d").returncode == 0
    wait_until(lambda: status(home)["by_name"]["giant"]["queued"], "the large one stands in the queue")

    def settled() -> dict[str, Any] | None:
        now = status(home)
        rows = now["by_name"]
        is_told = rows["main"]["protected"] and rows["side"]["shed_order"] == 1 and "node has" in rows["giant"]["why"]
        return now if is_told else None

    seen = wait_until(settled, "who is protected and who would go first")
    node, rows = seen["node"], seen["by_name"]
    assert (node["memory_bytes"], node["reserve_bytes"]) == (400_000_000, 100_000_000)
    leased = sum(rows[name]["lease_bytes"] for name in ("main", "side"))
    assert leased == pytest.approx(node["leased_bytes"], abs=32 * MB)  # rows and node may be of two readings
    assert rows["main"]["protected"]
    assert rows["side"]["shed_order"] == 1
    assert "the whole node has" in rows["giant"]["why"]
    assert rows["giant"]["next"].startswith("is held back until the node has more memory")
    out = home.run("ps").stdout
    assert "side goes first if more is needed" in out
    found = json.loads(home.run("capacity", "--json", "--for", "side").stdout)
    assert [kind["name"] for kind in found["kinds"]] == ["side"]
    assert found["kinds"][0]["more"] > 0
    assert found["budget_bytes"] == found["counted_bytes"] + found["free_bytes"]
    assert [one["name"] for one in found["agents"]] == ["main", "side"]
    assert home.run("capacity", "--for", "nosuch").returncode == 4
    assert "memory" in home.run("describe", "side").stdout
    top = home.run("top", "--once").stdout
    assert "agents" in top
    assert "queued 1" in top
