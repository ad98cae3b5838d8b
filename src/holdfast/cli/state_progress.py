"""Following work that takes a while: a bar on a terminal, plain lines elsewhere, nothing for programs.

Invariant: the answer is the last message; an error in the stream is raised with its own code, exactly as if it had been
answered at once. Called by snapshot, restore, rm, undelete and the state commands.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from holdfast import errors
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError

LINE_EVERY_S = 5.0  # between plain lines: a log of a night is still readable
BAR_AFTER_S = 0.4  # quicker work needs no bar


class Shown(Protocol):
    def __call__(self, done: int, total: int, what: str) -> None: ...


def follow(session: Session, method: str, path: str, body: dict[str, Any] | None, title: str) -> dict[str, Any]:
    """Ask, show progress, and return the result. `title`: what is done, a few words. Raises HoldfastError."""
    from holdfast.cli.client import AnsweredError

    begun = False
    with shown(session, title) as show:
        try:
            for message in session.client().messages(method, path, body):
                begun = True
                if "error" in message:
                    raise AnsweredError(message["error"])
                if "result" in message:
                    found = message["result"]
                    return found if isinstance(found, dict) else {}
                told = message.get("progress") or {}
                show(int(told.get("done") or 0), int(told.get("total") or 0), str(told.get("what") or ""))
        except HoldfastError as error:
            if not begun or error.kind.code != errors.KEEPER_UNREACHABLE.code:
                raise
    raise HoldfastError(errors.ANSWER_CUT_OFF, what=title)


def shown(session: Session, title: str) -> AbstractContextManager[Shown]:
    """Something to call with how far the work is."""
    if session.as_json:
        return _nothing()
    return _bar(title) if sys.stderr.isatty() else _lines(session, title)


@contextmanager
def _nothing() -> Iterator[Shown]:
    yield lambda done, total, what: None


@contextmanager
def _lines(session: Session, title: str) -> Iterator[Shown]:
    """A line when the stage changes, and now and then."""
    said_mono, stage = time.monotonic(), ""

    def show(done: int, total: int, what: str) -> None:
        nonlocal said_mono, stage
        now = time.monotonic()
        if (what != stage and stage) or now - said_mono >= LINE_EVERY_S:
            said_mono = now
            session.hint(f"{title}: {progress_words(done, total, what)}")
        stage = what

    yield show


@contextmanager
def _bar(title: str) -> Iterator[Shown]:
    """Drawn on standard error once the work has lasted a moment, and taken away at its end."""
    begun_mono, bar = time.monotonic(), None

    def show(done: int, total: int, what: str) -> None:
        nonlocal bar
        if bar is None and time.monotonic() - begun_mono >= BAR_AFTER_S:
            bar = _Bar(title)
        if bar is not None:
            bar.show(done, total, what)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


class _Bar:
    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[words]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=None, words="")
        self._progress.start()

    def show(self, done: int, total: int, what: str) -> None:
        self._progress.update(self._task, completed=done, total=total or None, words=progress_words(done, total, what))

    def close(self) -> None:
        self._progress.stop()


def progress_words(done: int, total: int, what: str) -> str:
    """`12M of 440M, reading`: numbers of bytes, unless `what` says what is counted."""
    from holdfast.cli.render import one_line, size

    def amount(count: int) -> str:
        return str(count) if COUNTED & set(what.split(" ")) else size(count)

    parts = []
    if done or total:
        parts.append(f"{amount(done)} of {amount(total)}" if total else amount(done))
    if what:
        parts.append(one_line(what, 60))
    return ", ".join(parts) or "working"


COUNTED = frozenset(
    {"files", "blobs", "snapshots", "packs", "manifests", "paths", "counting", "marking", "deleting"}
)  # words of what is counted by number; everything else is bytes
