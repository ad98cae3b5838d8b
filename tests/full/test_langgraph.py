"""The LangGraph example, as it is in the tree: killed in the middle of a turn, it goes on with that turn."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.logs import read as logs
from tests.full.install import Installed
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/langgraph"
KILLS = 4


def test_the_example_loses_and_repeats_no_turn(installed: Installed) -> None:
    import msgspec

    home = KeeperHome()
    try:
        place = home.directory / "example"
        shutil.copytree(EXAMPLE, place)
        (place / ".venv").symlink_to(installed.langgraph)
        spec = msgspec.to_builtins(recipes.load(place / "holdfast.yaml").agents[0])
        spec |= {"user": "root" if os.getuid() == 0 else None, "restart": {"backoff_s": [0.0] * 8}}
        spec["env"] |= {"AGENT_PAUSE_S": "0.2"}
        home.up(spec)
        for number in range(1, KILLS + 1):
            wait_until(lambda least=number: len(_turns(home)) > 3 * least, "turns", timeout_s=240)
            os.kill(home.wait_row("thinker", instance=number, pid=lambda pid: pid is not None)["pid"], signal.SIGKILL)
        wait_until(lambda: len(_turns(home)) > 3 * KILLS + 3, "turns after the last death", timeout_s=240)
        turns = _turns(home)
        assert sorted(set(turns)) == list(range(1, max(turns) + 1)), "a turn is missing"
        # A death between the print and the counter shows one turn again, resumed from its last checkpoint.
        assert len(turns) - len(set(turns)) <= KILLS
        # The turn is printed before the beat that follows it, so a new instance's first cycle is waited for.
        home.wait_row("thinker", beat=lambda beat: beat is not None and beat["cycle"] is not None)
        home.wait_row("thinker", health=lambda health: health["behaviour"] == "ok")
    finally:
        home.close()


def _turns(home: KeeperHome) -> list[int]:
    lines = logs.tail(home.home, "thinker", 1000)
    return [int(found[1]) for line in lines if (found := re.match(r"turn (\d+)", line))]
