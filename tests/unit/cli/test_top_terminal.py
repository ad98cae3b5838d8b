"""`top` on a real terminal: it paints, listens, and always gives the terminal back."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.top_terminal import keys_of
from tests.unit.cli.fake_keeper import agent, status

PATIENCE_S = 90.0
ALT_ON, ALT_OFF, CURSOR_ON = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def _as_from_a_shell() -> None:
    """These tests may themselves run in the background, where Ctrl-C is ignored from birth."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Screen:
    """`holdfast top` with a terminal of its own."""

    def __init__(self, home: Path, columns: int = 80, **environment: str) -> None:
        self.master, self.slave = pty.openpty()
        ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        base = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(home), "top", "--every", "0.2"],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**base, "TERM": "xterm", **environment},
            start_new_session=True,
            preexec_fn=_as_from_a_shell,
        )
        self.text = b""

    def until(self, words: bytes) -> None:
        deadline = time.monotonic() + PATIENCE_S
        os.set_blocking(self.master, False)
        while words not in self.text:
            assert time.monotonic() < deadline, (words, self.text[-2000:])
            with contextlib.suppress(BlockingIOError, OSError):
                self.text += os.read(self.master, 65_536)
            time.sleep(0.01)

    def press(self, keys: bytes) -> None:
        self.text = b""
        os.write(self.master, keys)

    def ended(self) -> int:
        self.until(ALT_OFF)
        code = self.process.wait(PATIENCE_S)
        assert CURSOR_ON in self.text
        assert termios.tcgetattr(self.slave)[:4] == self.before[:4]
        return code


@contextlib.contextmanager
def showing(home: Path, **given: Any) -> Iterator[Screen]:
    screen = Screen(home, **given)
    try:
        screen.until(b"worker")
        yield screen
    finally:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.master)
        os.close(screen.slave)


@pytest.fixture
def fleet(cli: Any, keeper: Any) -> Any:
    keeper.routes["GET", "/v1/status"] = (200, status(agent("web"), agent("worker", phase="backoff")))
    for name in ("web", "worker"):
        keeper.routes["POST", f"/v1/agents/{name}/restart"] = (200, {"agent": name, "phase": "stopping"})
    return keeper


def test_keys_and_a_resize_are_heard_and_q_gives_the_terminal_back(cli: Any, fleet: Any) -> None:
    with showing(cli.home.path) as screen:
        assert ALT_ON in screen.text
        assert b"\x1b[33m" in screen.text  # a colour
        screen.press(b"\x1b[Br")
        screen.until(b"restart worker? y/n")
        screen.press(b"y")
        screen.until(b"restart asked for")
        deadline = time.monotonic() + PATIENCE_S
        while not fleet.asked("POST", "/v1/agents/worker/restart"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        screen.press(b"")
        ioctl(screen.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        os.killpg(screen.process.pid, signal.SIGWINCH)
        screen.until(b"d descr")
        screen.press(b"q")
        assert screen.ended() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_gives_the_terminal_back(cli: Any, fleet: Any, number: int, code: int) -> None:
    with showing(cli.home.path) as screen:
        os.kill(screen.process.pid, number)
        assert screen.ended() == code


def test_control_z_gives_the_terminal_back_until_it_goes_on(cli: Any, fleet: Any) -> None:
    with showing(cli.home.path) as screen:
        screen.text = b""
        os.kill(screen.process.pid, signal.SIGTSTP)
        screen.until(ALT_OFF)
        os.waitid(os.P_PID, screen.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert termios.tcgetattr(screen.slave)[3] & termios.ICANON
        screen.text = b""
        os.kill(screen.process.pid, signal.SIGCONT)
        screen.until(ALT_ON)
        screen.until(b"worker")
        screen.press(b"q")
        assert screen.ended() == 0


def test_without_colours_the_selection_is_still_seen(cli: Any, fleet: Any) -> None:
    with showing(cli.home.path, NO_COLOR="1") as screen:
        assert b"\x1b[33m" not in screen.text
        assert b"\x1b[7m" in screen.text


def test_sequences_become_names_of_keys() -> None:
    assert keys_of("j\x1b[A\x1bOB\x1b[5~\r\x7f") == ["j", "up", "down", "pageup", "enter", "backspace"]
    assert keys_of("\x1b") == ["escape"]
    assert keys_of("\x1b[99;99Xé\x00") == ["é"]
