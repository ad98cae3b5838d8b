"""The terminal under `top`: taken over, painted, read key by key, and given back.

Invariant: however this ends (a key, an exception, SIGTERM, SIGHUP, Ctrl-C, Ctrl-Z and `fg`), the terminal is as it
was: its mode, its screen, its cursor. The only module that imports rich. Called by top.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from rich.console import Console
from rich.segment import ControlType, Segment, Segments
from rich.style import Style

from holdfast.cli.render import coloured
from holdfast.cli.top_frame import Line

ESCAPE_PAUSE_S = 0.03  # a lone escape key is told from the beginning of a sequence by what follows at once
READ_BYTES = 1024
_SEQUENCES = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "OA": "up", "OB": "down", "OC": "right", "OD": "left",
    "[5~": "pageup", "[6~": "pagedown", "[H": "home", "[F": "end", "[1~": "home", "[4~": "end", "OH": "home",
    "OF": "end", "[7~": "home", "[8~": "end", "[3~": "delete",
}  # fmt: skip
_PLAIN = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape"}
_HOME = Segment("\x1b[H", None, [(ControlType.HOME,)])
_LINE_END = Segment("\x1b[K", None, [(ControlType.ERASE_IN_LINE, 0)])
_BELOW = Segment("\x1b[J", None, [(ControlType.ERASE_IN_LINE, 0)])  # rich knows no control of this kind


class Ended(BaseException):
    """A signal that ends the program; carries its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def keys_of(text: str) -> list[str]:
    """What was typed as names of keys: letters as they are, the rest as in `top_view.press`. Pure."""
    keys: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "\x1b" and at + 1 < len(text) and text[at + 1] in "[O":
            end = at + 2
            while end < len(text) and not ("@" <= text[end] <= "~"):
                end += 1
            keys.append(_SEQUENCES.get(text[at + 1 : end + 1], ""))
            at = end + 1
            continue
        keys.append(_PLAIN.get(text[at], text[at] if text[at].isprintable() else ""))
        at += 1
    return [key for key in keys if key]


class Terminal:
    """Use as a context: inside, the screen is ours. `wait` returns at a key, a signal, or when `wake` was called."""

    def __init__(self) -> None:
        # without colours bold and reversed stay: the selection must be seen
        self._console = Console(
            force_terminal=True, color_system="standard", no_color=not coloured(), highlight=False, legacy_windows=False
        )
        self._styles: dict[str, Style | None] = {"": None}
        self._fd = sys.stdin.fileno()
        self._before: list[Any] = []
        self._ours = False
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # --- taking and giving back -------------------------------------------------------------------------------------
    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(self._fd)
        self._handlers = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, self._end),
                (signal.SIGHUP, self._end),
                (signal.SIGTSTP, self._suspend),
                (signal.SIGWINCH, self._look_again),
            )
        }
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        read, write, self._wake_w = self._wake_r, self._wake_w, -1  # a thread may still want to wake us
        os.close(read)
        os.close(write)

    def _take(self) -> None:
        self._ours = True
        tty.setcbreak(self._fd)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        if not self._ours:
            return
        self._ours = False
        with contextlib.suppress(OSError, ValueError):  # a terminal that hung up takes nothing any more
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
            sys.stdout.flush()
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: give everything back, sleep, and take it again when the shell says so."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self.wake()

    def _look_again(self, _number: int, _frame: FrameType | None) -> None:
        self.wake()

    # --- painting and reading ---------------------------------------------------------------------------------------
    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        found = shutil.get_terminal_size()
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(sys.stdout.fileno())  # not COLUMNS, which does not follow a resize
        return found.columns or 80, found.lines or 24

    def paint(self, lines: Sequence[Line]) -> None:
        """Draw one frame over the last one."""
        self._console.print(Segments(list(self._segments(lines))), end="", soft_wrap=True)

    def _segments(self, lines: Sequence[Line]) -> Iterator[Segment]:
        yield _HOME
        for number, line in enumerate(lines):
            if number:
                yield Segment("\n")
            for text, words in line:
                yield Segment(text, self._style(words))
            yield _LINE_END
        yield _BELOW

    def _style(self, words: str) -> Style | None:
        if words not in self._styles:
            self._styles[words] = Style.parse(words)
        return self._styles[words]

    def wake(self) -> None:
        """Make `wait` return. May be called by any thread and by signal handlers."""
        with contextlib.suppress(OSError):
            os.write(self._wake_w, b".")

    def wait(self, timeout_s: float | None) -> list[str]:
        """Keys pressed, possibly none. Raises EOFError when the terminal is gone."""
        ready, _, _ = select.select([self._fd, self._wake_r], [], [], timeout_s)
        if self._wake_r in ready:
            with contextlib.suppress(OSError):
                os.read(self._wake_r, READ_BYTES)
        return self._keys() if self._fd in ready else []

    def _keys(self) -> list[str]:
        raw = os.read(self._fd, READ_BYTES)
        if not raw:
            raise EOFError
        if raw.endswith(b"\x1b") and select.select([self._fd], [], [], ESCAPE_PAUSE_S)[0]:
            raw += os.read(self._fd, READ_BYTES)
        return keys_of(raw.decode("utf-8", "replace"))
