"""An agent with two state paths that watches its restores: never two of it, never a mix, never moved while it runs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.harness.keeper_home import KeeperHome, Row

# `mark` stands in both paths and must be the same. What is wrong goes to the file `wrong` outside of them.
WATCHFUL = """
import fcntl, os, sys, time
top = sys.argv[1]
def wrong(text):
    with open(top + "/wrong", "a") as file:
        file.write(text + "\\n")
lock = open(top + "/lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    wrong("two at once")
paths = [top + "/a", top + "/b"]
seen = [os.stat(path).st_ino for path in paths]
def marks():
    return [open(path + "/mark").read() for path in paths]
while True:
    try:
        if [os.stat(path).st_ino for path in paths] != seen:
            wrong("a tree was replaced while it ran")
        now = marks()
        if now[0] != now[1]:
            time.sleep(0.2)
            if len(set(marks())) > 1:
                wrong("a mix: " + str(now))
        with open(top + "/alive", "w") as file:
            file.write(now[0])
    except OSError as error:
        wrong("gone while it ran: " + str(error))
    time.sleep(0.01)
"""

# Ends the process at the step whose number the file `kill-at` names, once; steps of all such processes are counted.
KILLER = """
import os, signal
def step(name):
    path, said = {top!r} + "/" + {who!r} + "-kill-at", {top!r} + "/" + {who!r} + "-steps"
    with open(said, "a+") as file:
        file.write(name + "\\n")
        file.seek(0)
        steps = len(file.readlines())
    try:
        at = int(open(path).read())
    except (OSError, ValueError):
        return
    if steps >= at:
        os.unlink(path)
        os.kill(os.getpid(), signal.SIGKILL)
"""
IN_KEEPER = """
from holdfast.keeper.state import restoring
def _stepped(kind, name):
    inner = getattr(kind, name)
    async def outer(self, *args, **more):
        step(name + " before")
        found = await inner(self, *args, **more)
        step(name + " after")
        return found
    setattr(kind, name, outer)
for name in ("ask", "exchange", "retire"):
    _stepped(restoring.Restoring, name)
_stepped(restoring.Halting, "halt")
_note = restoring.Restoring.note
def _noted(self, agent, one, kind, text, **more):
    step("note before " + kind)
    _note(self, agent, one, kind, text, **more)
    step("note after " + kind)
restoring.Restoring.note = _noted
"""
IN_THE_WORKER = """
from holdfast.state.restore import intent, places
def _stepped(module, name):
    inner = getattr(module, name)
    def outer(*args, **more):
        step(name + " before")
        found = inner(*args, **more)
        step(name + " after")
        return found
    setattr(module, name, outer)
for name in ("save", "forget"):
    _stepped(intent, name)
for name in ("exchange", "move"):
    _stepped(places, name)
"""


def watchful(home: KeeperHome, mark: str) -> Row:
    """Its definition; both paths are made."""
    for one in ("a", "b"):
        (home.directory / one).mkdir(exist_ok=True)
        (home.directory / one / "mark").write_text(mark)
    spec: Row = home.spec("one", sys.executable, "-c", WATCHFUL, str(home.directory))
    return {**spec, "state": {"paths": [str(home.directory / one) for one in ("a", "b")], "every_s": 3600}}


def killer(top: Path, who: str) -> str:
    """Code that makes `step` known to a process of ours."""
    return KILLER.format(top=str(top), who=who)
