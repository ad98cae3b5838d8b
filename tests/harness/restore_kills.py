"""A restore in a process of its own that is killed at a chosen step, for tests: what is there before, and after.

A repository is not needed: the fresh trees are laid by hand, and the intent says that they are built.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

from holdfast.state.model import Rights
from holdfast.state.restore import asides, exchange, intent
from holdfast.state.restore.intent import Intent, Phase, Place

SHORT = "0123456789ab"
Picture = dict[str, object]


def picture(path: Path) -> object:
    """What lies there, in a form that compares: names, modes, times of directories, contents. None: nothing."""
    if path.is_symlink():
        return ("link", os.readlink(path))
    if not path.exists():
        return None
    status = path.stat()
    if not path.is_dir():
        return (status.st_mode, path.read_bytes())
    inside = {one.name: picture(one) for one in path.iterdir() if not asides.is_aside(os.fsencode(one.name))}
    return (status.st_mode, status.st_mtime_ns, inside)


def lay(path: Path, word: str, *, mtime_s: int) -> None:
    """A small tree of one version."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "both").write_text(word)
    (path / f"only-{word}").write_text(word)
    (path / "sub" / "deep").mkdir(parents=True)
    (path / "sub" / "deep" / "file").write_text(word)
    (path / f"sub-{word}").mkdir()
    (path / "link").symlink_to(word)
    for directory, _names, _files in os.walk(path, topdown=False):
        os.utime(directory, (mtime_s, mtime_s))


def lay_database(path: Path, word: str) -> None:
    with sqlite3.connect(path) as base:
        base.execute("create table t (word)")
        base.execute("insert into t values (?)", (word,))
    base.close()


def built(state_dir: Path, places: list[Place], rights: Rights | None = None) -> Intent:
    current = Intent(
        agent="a",
        snapshot=SHORT + "0" * 20,
        short=SHORT,
        at=1.0,
        began_at=2.0,
        phase=Phase.BUILT,
        rights=rights,
        places=places,
    )
    state_dir.mkdir(exist_ok=True)
    intent.save(state_dir, current)
    return current


def steps_of(act: Callable[[Callable[[str], None]], object]) -> list[str]:
    """The steps that an act goes through when nobody stops it."""
    seen: list[str] = []
    act(seen.append)
    return seen


def killed_at(number: int, act: Callable[[Callable[[str], None]], object]) -> bool:
    """Run the act in a child that is killed with SIGKILL at its step `number`. False: it came to its end before."""
    child = os.fork()
    if child == 0:
        count = 0

        def at(_step: str) -> None:
            nonlocal count
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

        try:
            act(at)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def begin(state_dir: Path) -> Callable[[Callable[[str], None]], object]:
    return lambda at: exchange.begin(state_dir, at=at)


def back(state_dir: Path) -> Callable[[Callable[[str], None]], object]:
    return lambda at: exchange.back(state_dir, at=at)


def recover(state_dir: Path) -> Callable[[Callable[[str], None]], object]:
    return lambda at: exchange.recover(state_dir, at=at)


def settle(state_dir: Path) -> Callable[[Callable[[str], None]], object]:
    return lambda at: exchange.settle(state_dir, at=at)
