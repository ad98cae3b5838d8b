"""The logger as a real process: what it captures, what it survives, what it costs while nothing happens."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.home import Home
from holdfast.logs.read import Dropped, dropped, lines, tail
from tests.harness.init_home import wipe
from tests.unit.logs.loggers import make_home, running, say, start, stop, stored, until


def context_switches(pid: int) -> int:
    """Voluntary ones: how often the process went to sleep, so how often it had woken."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("voluntary")).split()[1])


def cpu_ticks(pid: int) -> int:
    """Of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_what_agents_print_is_stored_and_agents_may_come_later(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a")
    with running(home) as logger:
        say(home, "a", b"hello\n")
        until(lambda: stored(home, "a") == b"hello\n")
        make_home(tmp_path, "later")
        say(home, "later", b"late\n")
        until(lambda: stored(home, "later") == b"late\n")
        say(home, "a", b"\x00\xff binary\n")
        stop(logger)
    assert list(lines(home, "a")) == [b"hello", b"\x00\xff binary"]
    assert tail(home, "a", 1) == ["\x00\ufffd binary"]


def test_it_runs_as_a_module_too(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a")
    logger = subprocess.Popen(
        [sys.executable, "-m", "holdfast.logs", "--home", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    assert logger.stderr is not None
    assert "reads 1 agents" in logger.stderr.readline()
    say(home, "a", b"hello\n")
    stop(logger)
    logger.stderr.close()
    assert stored(home, "a") == b"hello\n"


def test_at_sigterm_what_is_there_is_stored_first(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a")
    agent = os.open(home.agent_fifo("a"), os.O_RDWR)
    with running(home) as logger:
        logger.send_signal(signal.SIGSTOP)
        os.write(agent, b"x" * 60_000)
        logger.send_signal(signal.SIGTERM)
        logger.send_signal(signal.SIGCONT)
        assert logger.wait(90) == 0
    assert len(stored(home, "a")) == 60_000
    os.close(agent)


def test_a_second_logger_leaves_with_a_word(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a")
    with running(home):
        second = start(home)
        assert second.wait(90) == 0
        assert second.stderr is not None
        assert "another logger already works" in second.stderr.read()
        second.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--home"], 2),
        (["--hom", "x"], 2),
        (["--home", "/nonexistent/x"], 1),
        (["--home", "/", "--files", "0"], 2),
    ],
)
def test_wrong_arguments_are_told_without_a_traceback(arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.logs", *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == code
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_it_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """-S leaves out site-packages; what remains must still be few modules."""
    parent = str(Path(__file__).parent.parent.parent / "src")
    code = (
        f"import sys; sys.path.insert(0, {parent!r}); import holdfast.logs.logger; "
        "print(*sorted(m for m in sys.modules if m.startswith('holdfast') or m in "
        "('msgspec', 'asyncio', 'json', 're', 'typing', 'dataclasses', 'hashlib', 'pathlib', 'logging')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if not name.startswith("holdfast.limits.")} == {
        "holdfast",
        "holdfast.limits",
        "holdfast.logs",
        "holdfast.logs.capture",
        "holdfast.logs.crew",
        "holdfast.logs.index",
        "holdfast.logs.logger",
        "holdfast.logs.losses",
        "holdfast.logs.paces",
        "holdfast.logs.rotation",
        "holdfast.logs.settings",
        "holdfast.logs.throttle",
        "holdfast.logs.watch",
    }


def test_it_sleeps_while_nothing_is_printed(tmp_path: Path) -> None:
    home = make_home(tmp_path, *(f"a{number}" for number in range(20)))
    with running(home, "--first-look-ms", "600000") as logger:
        say(home, "a0", b"hello\n")
        until(lambda: stored(home, "a0"))

        def slept() -> bool:
            """All the time, longer than any period it has. The first times it may not be done with the line yet."""
            before = context_switches(logger.pid)
            select.select([], [], [], 2.5)
            return context_switches(logger.pid) == before

        until(slept, timeout_s=30.0)


def sizes(home: Home, agent: str) -> list[int]:
    """Of its log files at this moment, indexes apart; one that is renamed meanwhile is passed over."""
    found = []
    for path in home.agent_logs(agent).iterdir():
        if path.name.startswith("log") and path.suffix != ".idx":
            with contextlib.suppress(FileNotFoundError):
                found.append(path.stat().st_size)
    return found


def test_a_flooding_agent_does_not_silence_another(tmp_path: Path) -> None:
    home = make_home(tmp_path, "flood", "quiet")
    code = (
        f"import os\nfd = os.open({str(home.agent_fifo('flood'))!r}, os.O_RDWR)\nwhile True: os.write(fd, b'x' * 65536)"
    )
    with running(home, "--file-bytes", "1000000", "--files", "3") as logger:
        flood = subprocess.Popen([sys.executable, "-c", code])
        try:
            for number in range(20):
                say(home, "quiet", b"%d\n" % number)
                until(lambda wanted=number: stored(home, "quiet").endswith(b"%d\n" % wanted))
            assert sum(sizes(home, "flood")) <= 3_100_000
            stop(logger)
        finally:
            flood.kill()
            flood.wait()


def test_a_replaced_fifo_is_read_and_the_old_one_until_its_last_writer_left(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a")
    old = os.open(home.agent_fifo("a"), os.O_RDWR)
    with running(home) as logger:
        os.write(old, b"old 1\n")
        until(lambda: b"old 1" in stored(home, "a"))
        descriptors = len(os.listdir(f"/proc/{logger.pid}/fd"))
        home.agent_fifo("a").unlink()
        os.mkfifo(home.agent_fifo("a"), 0o600)
        os.write(old, b"old 2\n")
        say(home, "a", b"new\n")
        until(lambda: sorted(stored(home, "a").splitlines()) == [b"new", b"old 1", b"old 2"])
        os.write(old, b"old 3\n")
        until(lambda: b"old 3" in stored(home, "a"))
        os.close(old)
        until(lambda: len(os.listdir(f"/proc/{logger.pid}/fd")) <= descriptors)

        def rests() -> bool:
            """A hung-up FIFO must not spin. What is done now and then may fall into one moment."""
            switches, ticks = context_switches(logger.pid), cpu_ticks(logger.pid)
            time.sleep(0.3)
            return context_switches(logger.pid) - switches < 5 and cpu_ticks(logger.pid) - ticks <= 1

        until(rests)


def test_a_deleted_agent_is_let_go_and_its_survivors_do_not_block(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a", "b")
    with running(home) as logger:
        say(home, "a", b"1\n")
        until(lambda: stored(home, "a"))
        survivor = os.open(home.agent_fifo("a"), os.O_RDWR)
        wipe(home.agent_logs("a"))
        for _ in range(20):
            os.write(survivor, b"x" * 60_000)  # blocks for ever unless somebody drains it
        os.close(survivor)
        until(lambda: not any("/logs/a/" in opened(logger.pid, fd) for fd in descriptors(logger.pid)))
        make_home(tmp_path, "a")
        say(home, "a", b"again\n")
        until(lambda: stored(home, "a") == b"again\n")
        say(home, "b", b"still\n")
        until(lambda: stored(home, "b") == b"still\n")


def test_an_agent_that_left_and_keeps_its_logs_costs_no_descriptor(tmp_path: Path) -> None:
    home = make_home(tmp_path, "stays")
    with running(home) as logger:
        say(home, "stays", b"here\n")
        until(lambda: stored(home, "stays") == b"here\n")
        before = len(descriptors(logger.pid))
        for number in range(5):
            make_home(tmp_path, f"agent-{number}")
            say(home, f"agent-{number}", b"bye\n")
            until(lambda name=f"agent-{number}": stored(home, name) == b"bye\n")
            home.agent_fifo(f"agent-{number}").unlink()
        until(lambda: len(descriptors(logger.pid)) <= before)
        make_home(tmp_path, "agent-3")
        say(home, "agent-3", b"again\n")
        until(lambda: stored(home, "agent-3") == b"bye\nagain\n")


def opened(pid: int, fd: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:  # closed meanwhile
        return ""


def descriptors(pid: int) -> list[str]:
    return [fd for fd in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{fd}")]


def test_a_lost_home_that_comes_back_is_read_again(tmp_path: Path) -> None:
    home = make_home(tmp_path, "a")
    with running(home):
        wipe(home.logs)
        make_home(tmp_path, "a")
        say(home, "a", b"back\n")
        until(lambda: stored(home, "a") == b"back\n")


def test_a_thousand_agents_fit(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2100:
        pytest.skip(f"the hard limit of descriptors is {hard}")
    home = make_home(tmp_path, *(f"a{number}" for number in range(1000)))
    with running(home) as logger:
        for first in range(0, 1000, 100):
            agents = range(first, first + 100)
            held = [os.open(home.agent_fifo(f"a{number}"), os.O_RDWR) for number in agents]
            for number, fd in zip(agents, held, strict=True):
                os.write(fd, b"agent %d\n" % number)
            until(lambda wanted=agents: all(stored(home, f"a{number}") for number in wanted))
            for fd in held:
                os.close(fd)
        assert len(descriptors(logger.pid)) < 2050
        stop(logger)
    assert all(stored(home, f"a{number}") == b"agent %d\n" % number for number in range(1000))


def mounted_small(path: Path, size: str) -> bool:
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False
    )
    return done.returncode == 0


def test_a_really_full_disk_is_survived_and_told(tmp_path: Path) -> None:
    place = tmp_path / "small"
    if not shutil.which("mount") or not mounted_small(place, "1m"):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        home = make_home(place, "a", "b")
        with running(home) as logger:
            say(home, "b", b"hello\n")
            until(lambda: stored(home, "b") == b"hello\n")
            say(home, "a", b"x" * 3_000_000)  # would block for ever if nobody drained
            until(lambda: dropped(home, "a").dropped_bytes > 1_500_000)
            assert dropped(home, "a").reason == "disk full"
            kept = len(stored(home, "a"))
            (home.agent_logs("a") / "log").unlink()
            until(lambda: b"bytes dropped, disk full\n" in stored(home, "a"))
            until(lambda: dropped(home, "a").reason == "")
            say(home, "a", b"after\n")
            until(lambda: stored(home, "a").endswith(b"after\n"))
            until(lambda: dropped(home, "a") == Dropped(3_000_000 - kept, ""))
            stop(logger)
    finally:
        subprocess.run(["umount", str(place)], check=True)
