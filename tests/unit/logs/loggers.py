"""Starting a real logger process, and waiting for what it does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import holdfast
from holdfast.home import Home

ISOLATED = """
import sys
sys.path.insert(0, {parent!r})
from holdfast.logs.logger import main
{planted}
sys.exit(main(sys.argv[1:]))
"""


def make_home(path: Path, *agents: str) -> Home:
    """A home with the FIFOs of these agents; short of everything else."""
    home = Home(path)
    for agent in agents:
        home.agent_logs(agent).mkdir(parents=True, exist_ok=True)
        os.mkfifo(home.agent_fifo(agent), 0o600)
    home.logs.mkdir(parents=True, exist_ok=True)
    return home


def start(home: Home, *options: str, planted: str = "") -> subprocess.Popen[str]:
    """As init does on a broken installation: isolated, without site-packages. `planted`: code of a bug on purpose."""
    parent = str(Path(holdfast.__file__).parent.parent)
    code = ISOLATED.format(parent=parent, planted=planted)
    command = [sys.executable, "-I", "-S", "-c", code, "--home", str(home.path), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def running(home: Home, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A logger that reads; it is gone afterwards."""
    logger = start(home, *options)
    assert logger.stderr is not None
    try:
        said = logger.stderr.readline()
        assert "reads" in said, said
        yield logger
    finally:
        if logger.poll() is None:
            logger.send_signal(signal.SIGCONT)
            logger.kill()
        logger.wait()
        logger.stderr.close()


def stop(logger: subprocess.Popen[str]) -> None:
    logger.send_signal(signal.SIGTERM)
    assert logger.wait(90) == 0


def until(condition: Callable[[], object], timeout_s: float = 90.0) -> None:
    """Wait until `condition` is true; AssertionError when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


def say(home: Home, agent: str, data: bytes) -> None:
    """Write as an agent does: into the FIFO opened read-write. Held until read, else the last close empties it."""
    fd = os.open(home.agent_fifo(agent), os.O_RDWR)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        until(lambda: fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) == bytes(4))
    finally:
        os.close(fd)


def stored(home: Home, agent: str) -> bytes:
    """Everything in an agent's log files, oldest first."""
    directory = home.agent_logs(agent)
    numbered = sorted(
        (path for path in directory.glob("log.*") if path.suffix[1:].isdigit()), key=lambda path: -int(path.suffix[1:])
    )
    newest = [directory / "log"] if (directory / "log").exists() else []
    return b"".join(path.read_bytes() for path in [*numbered, *newest])
