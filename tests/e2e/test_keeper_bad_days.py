"""Full disks, lost homes, stopped processes: healing goes on, and what happened is said."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from tests.harness.init_home import wait_until, wipe
from tests.harness.keeper_home import KeeperHome


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of its own, small enough to be filled."""
    where = Path(tempfile.mkdtemp(prefix="hf-"))
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", where], check=False).returncode
    ):
        where.rmdir()
        pytest.skip("mounting a small disk needs root")
    where.chmod(0o755)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=False)
        where.rmdir()


@contextlib.contextmanager
def running(below: Path | None = None) -> Iterator[KeeperHome]:
    made = KeeperHome(below=None if below is None else str(below))
    try:
        yield made
    finally:
        made.close()


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 65536):
            pass
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(b"x"):
            pass
    return filler


def codes(home: KeeperHome) -> set[str]:
    return {warning["code"] for warning in home.status()["warnings"]}


def test_a_full_disk_stops_no_healing_and_is_said(small_disk: Path) -> None:
    with running(small_disk) as home:
        restart = {"backoff_s": [0.0, 0.1, 0.1], "retry_s": 0.5}
        home.up(home.spec("one", "sleep", "1000", restart=restart), home.spec("two", "sleep", "1000"))
        row = home.wait_row("one", phase="healthy")
        two = home.wait_row("two", phase="healthy")
        wait_until(home.home.database.exists, "a database")
        filler = fill(small_disk)
        for instance in (2, 3, 4, 5):
            os.kill(row["pid"], signal.SIGKILL)
            row = home.wait_row("one", instance=instance, pid=lambda pid: pid)
        wait_until(lambda: "HF4001" in codes(home), "the warning")
        with pytest.raises(HoldfastError, match="disk"):
            home.put(home.spec("three", "sleep", "1000"), merge=1)
        assert not home.row("three")
        keeper = home.process("keeper")["pid"]
        os.kill(keeper, signal.SIGKILL)
        home.wait_back("keeper", keeper)
        home.wait_row("one", instance=5, pid=row["pid"], restarts=4)
        filler.unlink()
        wait_until(lambda: "HF4001" not in codes(home), "the warning goes")
        assert home.row("two")["pid"] == two["pid"]
        assert home.put(home.spec("three", "sleep", "1000"), merge=1)["added"] == ["three"]
        home.wait_row("three", phase="healthy")


def test_a_stopped_keeper_is_continued_and_misses_nothing() -> None:
    with running() as home:
        home.up(home.spec("one", "sleep", "1000"))
        row = home.wait_row("one", phase="healthy")
        os.kill(home.process("keeper")["pid"], signal.SIGSTOP)
        os.kill(row["pid"], signal.SIGKILL)
        home.wait_row("one", instance=2, restarts=1)
        assert len(home.incidents()) == 1


def test_a_lost_home_leaves_the_agents_running() -> None:
    """As when a tmpfs is wiped: everything but what runs is gone."""
    with running() as home:
        home.up(home.spec("one", "sleep", "1000"))
        row = home.wait_row("one", phase="healthy")
        wait_until(home.home.database.exists, "a database")
        home.home.database.unlink()
        wipe(home.home.incidents)
        wipe(home.home.ledger)
        home.client.post("/v1/alerts/test", {})
        wait_until(home.home.database.exists, "a new database")
        keeper = home.process("keeper")["pid"]
        os.kill(keeper, signal.SIGKILL)
        home.wait_back("keeper", keeper)
        assert home.wait_row("one", phase="healthy")["pid"] == row["pid"]


def test_the_keeper_leaves_at_term_and_comes_back() -> None:
    with running() as home:
        home.up(home.spec("one", "sleep", "1000"))
        row = home.wait_row("one", phase="healthy")
        keeper = home.process("keeper")["pid"]
        os.kill(keeper, signal.SIGTERM)
        home.wait_back("keeper", keeper)
        assert home.wait_row("one", phase="healthy")["pid"] == row["pid"]
        assert any(event["kind"] == "keeper.stopped" for event in home.events())


def sending(door: Path) -> bool:
    """Whether a command of a channel runs that looks for this file; keepers come and go meanwhile."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if f"test -e {door} ||".encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                return True
    return False


def test_an_alert_that_did_not_get_through_is_sent_again_by_the_next_keeper() -> None:
    with running() as home:
        told, open_now = home.directory / "told", home.directory / "open"
        alert = {"command": ["sh", "-c", f"test -e {open_now} || exit 1; cat >> {told}; echo >> {told}"]}
        restart = {"backoff_s": [0.0], "retry_s": 600.0}
        home.up(home.spec("bad", "false", restart=restart), alerts=[alert])
        home.wait_row("bad", phase="escalated")
        wait_until(lambda: any(event["kind"] == "alert.failed" for event in home.events()), "the failed alert")
        wait_until(lambda: "HF5002" in codes(home), "the warning of it")
        keeper = home.process("keeper")["pid"]
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: not sending(open_now), "what the killed keeper had begun to send is over")
        open_now.touch()
        home.wait_back("keeper", keeper)
        wait_until(lambda: told.exists() and told.read_text().count("\n"), "the alert")
        wait_until(lambda: any(event["kind"] == "alert.done" for event in home.events()), "the alert is done")
        assert told.read_text().count('"kind":"alert"') == 1
        assert home.row("bad")["phase"] == "escalated"
