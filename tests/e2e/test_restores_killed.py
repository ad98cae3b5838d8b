"""A person's restore whose keeper, worker, init or all of them are killed: finished or undone, never a mix.

HOLDFAST_RESTORE_KILLS_EVERY: of the steps every so many; 1 tries them all.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from tests.harness.init_home import PATIENCE_S, wait_until
from tests.harness.restored_agent import IN_KEEPER, IN_THE_WORKER, killer, watchful
from tests.harness.snapshot_home import NO_PAUSES, home_with, take

EVERY = int(os.environ.get("HOLDFAST_RESTORE_KILLS_EVERY", "12"))
SOON = """
limits.RESTORE_LOOK_S = 0.1
limits.ACT_PATIENCE_S = 1.0
limits.RESTORE_ANSWER_S = 1.0
from holdfast.health import confirm
confirm.CONFIRM_S = 0.3
"""


class Scene:
    """One home, two snapshots with marks of their own, and restores from one to the other."""

    def __init__(self, notes: Path, bug: str = "") -> None:
        self.notes = notes
        keeper = f"{NO_PAUSES}\n{SOON}\n{killer(notes, 'keeper')}\n{IN_KEEPER}\n{bug}\n"
        self.home = home_with(keeper, in_worker=f"{killer(notes, 'worker')}\n{IN_THE_WORKER}\n")
        self.top = self.home.directory
        self.home.up(watchful(self.home, "first"))
        self.home.wait_row("one", phase="healthy")
        self.ids = {"first": take(self.home, "one", "first")["result"]["snapshot"]["id"]}
        for one in ("a", "b"):
            new = self.top / one / "new"
            new.write_text("second")
            new.replace(self.top / one / "mark")
        self.ids["second"] = take(self.home, "one", "second")["result"]["snapshot"]["id"]

    def marks(self) -> list[str]:
        return [(self.top / one / "mark").read_text() for one in ("a", "b")]

    def wrong(self) -> str:
        path = self.top / "wrong"
        return path.read_text() if path.exists() else ""

    def restore(self) -> str:
        """To the other snapshot; which one it was."""
        wanted = "first" if self.marks()[0] == "second" else "second"
        with contextlib.suppress(HoldfastError, OSError, ValueError):
            asked = {"snapshot": self.ids[wanted]}
            list(self.home.client.messages("POST", "/v1/agents/one/restore", asked))
        return wanted

    def over(self) -> None:
        """Nothing is under way any more, the agent runs, and it saw nothing wrong."""
        intent = self.home.home.path / "state" / "one" / "restore.json"
        self.home.wait_row("one", phase="healthy", pid=lambda pid: bool(pid))
        wait_until(lambda: not intent.exists(), "the end of the restore")
        wait_until(lambda: self.row_is_well(), "the agent to be up")
        marks = self.marks()
        assert marks[0] == marks[1]
        (self.top / "alive").unlink(missing_ok=True)
        wait_until(lambda: (self.top / "alive").exists() and (self.top / "alive").read_text() == marks[0], "its work")
        assert self.wrong() == ""
        left = [name for name in os.listdir(self.top) if ".holdfast-" in name]
        assert left == []

    def row_is_well(self) -> bool:
        return bool(self.home.row("one").get("phase") == "healthy")

    def steps(self, who: str) -> int:
        """How many a restore has that nobody kills."""
        path = self.notes / f"{who}-steps"
        path.unlink(missing_ok=True)
        self.restore()
        self.over()
        return len(path.read_text().splitlines())

    def kill_at(self, who: str, number: int) -> None:
        (self.notes / f"{who}-steps").unlink(missing_ok=True)
        (self.notes / f"{who}-kill-at").write_text(str(number))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    try:
        yield made
    finally:
        made.home.close()


@pytest.mark.parametrize("who", ["keeper", "worker"])
def test_a_restore_survives_a_kill_at_any_step(scene: Scene, who: str) -> None:
    total = scene.steps(who)
    assert total > 8
    for number in range(1, total + 1, EVERY):
        scene.kill_at(who, number)
        scene.restore()
        wait_until(lambda: not (scene.notes / f"{who}-kill-at").exists(), f"a kill at step {number}")
        scene.over()


def _init(scene: Scene) -> None:
    os.kill(scene.home.process("init")["pid"], signal.SIGKILL)


def _all(scene: Scene) -> None:
    pids = [scene.home.process(name)["pid"] for name in ("guard", "init", "keeper", "logger")]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    scene.home.start_guard(str(scene.home.home.path), str(scene.home.home.run))


@pytest.mark.parametrize("kill", [_init, _all])
def test_a_restore_survives_the_end_of_init_and_of_everything(scene: Scene, kill: Callable[[Scene], None]) -> None:
    import threading

    for _ in range(max(1, 12 // EVERY)):
        path = scene.notes / "worker-steps"
        path.unlink(missing_ok=True)
        thread = threading.Thread(target=scene.restore)
        thread.start()
        wait_until(path.exists, "the restore to begin")
        kill(scene)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        scene.over()


def test_a_planted_bug_is_seen(tmp_path: Path) -> None:
    """A keeper that does not see the agent down before its trees change places."""
    bug = "async def _hasty(self, agent, grace_s, *, planned): return True\nrestoring.Halting.halt = _hasty\n"
    scene = Scene(tmp_path, bug)
    try:
        scene.restore()
        wait_until(lambda: scene.wrong(), "what the agent saw")
    finally:
        scene.home.close()
