"""Standing processes still: for a moment only, whatever happens to who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.state.capture import freeze
from holdfast.state.capture.freeze import CannotFreeze, CgroupV1, CgroupV2, Signals, Watched

_PLACES = {
    "v2": ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
    "v1": ("/sys/fs/cgroup/freezer",),
}
_WRITES = "import os\nwhile True:\n    os.write(1, b'.')\n"


@pytest.fixture
def writer() -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes all the time, into a pipe whose length tells whether it runs."""
    process = subprocess.Popen([sys.executable, "-c", _WRITES], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(params=["signals", "v2", "v1"])
def way(request: pytest.FixtureRequest, writer: subprocess.Popen[bytes]) -> Iterator[Callable[[], freeze.Way]]:
    if request.param == "signals":
        yield lambda: Signals(lambda: [writer.pid])
        return
    mark = {"v2": "cgroup.controllers", "v1": "cgroup.procs"}[request.param]
    for root in _PLACES[request.param]:
        directory = f"{root}/holdfast-test-{os.getpid()}"
        if not os.path.exists(f"{root}/{mark}"):
            continue
        with suppress(OSError):
            os.mkdir(directory)
            Path(f"{directory}/cgroup.procs").write_text(str(writer.pid))
            yield partial(CgroupV2 if request.param == "v2" else CgroupV1, directory)
            writer.kill()
            writer.wait()
            os.rmdir(directory)
            return
    pytest.skip(f"no {request.param} cgroup may be made here by this user")


def _runs(writer: subprocess.Popen[bytes]) -> bool:
    """Whether it writes on when its pipe has room."""
    assert writer.stdout is not None
    os.set_blocking(writer.stdout.fileno(), False)
    with suppress(BlockingIOError):
        while os.read(writer.stdout.fileno(), 1 << 20):
            pass
    deadline = time.monotonic() + 0.05
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            return bool(os.read(writer.stdout.fileno(), 1))
    return False


def _await_running(writer: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not _runs(writer):
        assert time.monotonic() < deadline


def test_it_stands_still_for_the_block_and_goes_on(
    way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes]
) -> None:
    freezer = Watched(way)
    with freezer.frozen() as stillness:
        assert not _runs(writer) or not stillness.lasted()
    _await_running(writer)
    assert len(freezer.pauses_s) == 1
    assert freezer.pauses_s[0] > 0


def test_it_goes_on_when_the_time_is_up_and_that_is_told(
    way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes]
) -> None:
    freezer = Watched(way)
    with freezer.frozen() as stillness:
        _await_running(writer)  # although the block has not ended
        assert not stillness.lasted()
    _await_running(writer)


def test_it_goes_on_when_who_asked_is_killed(way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes]) -> None:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with Watched(way).frozen():
            os.write(tell, b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.read(told, 1) == b"x"
    os.waitpid(pid, 0)
    _await_running(writer)
    os.close(told)
    os.close(tell)


def test_it_goes_on_when_its_watcher_is_killed(way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes]) -> None:
    with Watched(way).frozen() as stillness:
        assert isinstance(stillness, freeze.Pause)
        os.kill(stillness.watcher, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while stillness.lasted():
            assert time.monotonic() < deadline
    _await_running(writer)


def test_it_goes_on_when_a_keeper_starts_after_who_asked_and_its_watcher_were_killed_at_once(
    way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.setattr(limits, "FREEZE_HOLD_S", 60.0)  # its time must not be up before its watcher is killed
    mark = tmp_path / "a" / freeze.MARK
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with Watched(way, mark).frozen() as stillness:
            assert isinstance(stillness, freeze.Pause)
            os.kill(stillness.watcher, signal.SIGKILL)
            os.write(tell, b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.read(told, 1) == b"x"
    os.waitpid(pid, 0)
    assert not _runs(writer)
    assert freeze.release_left(tmp_path) == ["a"]
    _await_running(writer)
    assert list(mark.parent.iterdir()) == []
    assert freeze.release_left(tmp_path) == []
    os.close(told)
    os.close(tell)


def test_a_pause_that_somebody_else_ended_did_not_last(
    way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    mark = tmp_path / "a" / freeze.MARK
    mark.parent.mkdir()
    with Watched(way, mark).frozen() as stillness:
        assert freeze.release_left(tmp_path) == ["a"]
        deadline = time.monotonic() + 60
        while stillness.lasted():
            assert time.monotonic() < deadline
    _await_running(writer)


def test_it_goes_on_when_the_block_fails(way: Callable[[], freeze.Way], writer: subprocess.Popen[bytes]) -> None:
    with pytest.raises(KeyError), Watched(way).frozen():
        raise KeyError
    _await_running(writer)


def test_what_stood_still_before_is_left_so(writer: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREEZE_REACH_S", 0.1)  # it is waited for in vain
    os.kill(writer.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while freeze._look(writer.pid)[0] != "T":
        assert time.monotonic() < deadline
    with pytest.raises(CannotFreeze), Watched(lambda: Signals(lambda: [writer.pid])).frozen():
        pass
    assert not _runs(writer)
    os.kill(writer.pid, signal.SIGCONT)


def test_a_cgroup_that_is_gone_cannot_be_stood_still(tmp_path: Path) -> None:
    for gone in (CgroupV2(str(tmp_path / "a")), CgroupV1(str(tmp_path / "a"))):
        with pytest.raises(CannotFreeze), Watched(partial(lambda way: way, gone)).frozen():
            pass


def test_the_best_way_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    (tmp_path / "v1").mkdir()
    v2, v1 = str(tmp_path / "v2"), (str(tmp_path / "other"), str(tmp_path / "v1"))
    assert isinstance(freeze.way_for(v2, v1, list)(), Signals)
    (tmp_path / "v1" / "freezer.state").touch()
    assert isinstance(freeze.way_for(v2, v1, list)(), CgroupV1)
    (tmp_path / "v2" / "cgroup.freeze").touch()
    assert isinstance(freeze.way_for(v2, v1, list)(), CgroupV2)
