"""The fleet after a reboot: everything is dead at once, the kernel's boot id is another one.

The machine is not rebooted: all processes are killed, and the next guard lives in a mount namespace where
/proc/sys/kernel/random/boot_id is another file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.init_home import PATIENCE_S, wait_until
from tests.harness.keeper_home import KeeperHome

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from holdfast.init.launch import start_guard; start_guard(sys.argv[1], sys.argv[2])"

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare for a mount namespace"
)


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = KeeperHome()
    try:
        yield made
    finally:
        made.destroy()


def power_cut(home: KeeperHome) -> None:
    """Everything of this home is gone at once, agents included."""

    def all_dead() -> bool:
        mine = home.own_processes() + [pid for pids in home.instances().values() for pid in pids]
        for pid in mine:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not mine

    wait_until(all_dead, "everything is dead")


def start_in_another_boot(home: KeeperHome) -> None:
    boot_id = home.directory / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && exec "$2" -P -c "$3" "$4" "$5"'
    paths = (str(home.home.path), str(home.home.run))
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(boot_id), sys.executable, START, *paths]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if "permission denied" in done.stderr.lower():
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    wait_until(home.client.is_up, "an API that answers")


def test_the_fleet_returns_to_what_was_wanted_without_incidents(home: KeeperHome) -> None:
    important = home.spec("important", "sleep", "1000", priority=100)
    other = home.spec("other", "sleep", "1000", priority=1)
    stopped = home.spec("stopped", "sleep", "1000")
    done = home.spec("done", "true", once=True)
    home.up(important, other, stopped, done)
    first = home.wait_row("important", phase="healthy")
    home.wait_row("other", phase="healthy")
    home.wait_row("done", phase="finished")
    home.client.post("/v1/agents/stopped/stop", {})
    home.wait_row("stopped", phase="stopped")
    os.kill(first["pid"], signal.SIGKILL)
    again = home.wait_row("important", restarts=1, pid=lambda pid: pid not in (None, first["pid"]))
    before = home.client.get("/v1/incidents")["incidents"]

    power_cut(home)
    start_in_another_boot(home)

    def serving(phase: str) -> bool:
        return phase in ("healthy", "recovering")  # the incident of before is validated once more

    after = home.wait_row("important", phase=serving, instance=lambda number: number > again["instance"])
    home.wait_row("other", phase="healthy", instance=2)
    assert after["restarts"] == again["restarts"]
    assert home.row("stopped")["pid"] is None
    assert home.row("stopped")["phase"] == "stopped"
    assert home.row("done")["phase"] == "finished"
    incidents = home.client.get("/v1/incidents")["incidents"]
    assert [found["id"] for found in incidents] == [known["id"] for known in before]
    assert [event["agent"] for event in home.events() if event["kind"] == "agent.spawned"][-2:] == [
        "important",
        "other",
    ]
