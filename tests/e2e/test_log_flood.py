"""A flooding agent is held back, visibly; the quiet ones are read promptly and no line is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.harness.keeper_home import KeeperHome
from tests.unit.logs.loggers import make_home, running, say, stored, until

FLOOD = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
first = 0
while not os.path.exists(sys.argv[2]):
    data = b"".join(b"line %d\\n" % number for number in range(first, first + 100))
    while data:
        data = data[os.write(fd, data):]
    first += 100
print(first)
"""


def facts(home: Path) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads((home / "logger" / "facts.json").read_bytes())["throttled"]
    except (OSError, ValueError):
        return {}
    return found


def test_a_flood_is_held_back_and_told_while_quiet_agents_are_read(tmp_path: Path) -> None:
    quiet = [f"quiet{number}" for number in range(5)]
    home = make_home(tmp_path, "flood", *quiet)
    enough = tmp_path / "enough"
    held = os.open(home.agent_fifo("flood"), os.O_RDWR)  # as init holds it: what the writer leaves behind stays
    with running(home, "--rate", "5000"):
        command = [sys.executable, "-c", FLOOD, str(home.agent_fifo("flood")), str(enough)]
        flood = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            until(lambda: "flood" in facts(tmp_path))
            for number in range(5):
                for agent in quiet:
                    say(home, agent, b"%d\n" % number)
            assert flood.poll() is None, "the flood is still under way while the quiet ones are done"
            until(lambda: all(stored(home, agent) == b"0\n1\n2\n3\n4\n" for agent in quiet))
            enough.touch()
            lines = int(flood.communicate()[0])
            until(lambda: b"line %d\n" % (lines - 1) in stored(home, "flood"))
        finally:
            flood.kill()
            flood.wait()
            os.close(held)
    printed = stored(home, "flood").splitlines()
    assert [line for line in printed if not line.startswith(b"holdfast: ")] == [b"line %d" % n for n in range(lines)]
    assert b"holdfast: more than 5000 lines a second: held back, nothing is lost" in printed


def test_the_keeper_shows_who_is_held_back_and_changes_its_limits_live() -> None:
    home = KeeperHome()
    try:
        code = "while True: print('x' * 20)"
        spec = home.spec("loud", sys.executable, "-c", code, logs={"rate_lines_s": 1000, "max_size_bytes": 20_000})
        home.up(spec)
        row = home.wait_row("loud", why=lambda text: "1000 lines a second" in str(text))
        assert row["health"]["behaviour"] == "off", "what it uses is not what it does"
        logs = home.home.agent_logs("loud")
        until(lambda: list(logs.glob("old-*.zst")))

        def within() -> bool:
            try:
                return (logs / "log").stat().st_size <= 20_000
            except FileNotFoundError:  # it is being rotated
                return False

        until(within)
    finally:
        home.close()
