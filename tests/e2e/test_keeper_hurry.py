"""A keeper is favoured while it comes up, and what it starts later is not."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import pytest

from tests.harness.init_home import InitHome, wait_until
from tests.harness.keeper_home import KeeperHome

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may favour a process")

TELL = "import os, sys, time; print(os.getpriority(os.PRIO_PROCESS, 0), file=open(sys.argv[1], 'w')); time.sleep(1000)"


def test_init_lets_the_keeper_begin_as_favoured_as_itself_and_nobody_else() -> None:
    home = InitHome()
    told = {name: home.directory / name for name in ("keeper", "logger")}
    services = {name: {"argv": [sys.executable, "-S", "-c", TELL, str(path)]} for name, path in told.items()}
    home.home.services.write_text(json.dumps(services))
    try:
        home.start()
        for path in told.values():
            wait_until(lambda path=path: path.exists() and path.read_text(), f"{path.name} began")  # type: ignore[misc]
        nice = {name: path.read_text().strip() for name, path in told.items()}
        assert nice == {"keeper": "-10", "logger": "0"}
    finally:
        home.destroy()


def test_a_keeper_that_holds_memory_is_one_among_all() -> None:
    home = KeeperHome()
    try:
        home.up(home.spec("agent", "sleep", "1000"))
        home.wait_row("agent", phase="healthy")
        keeper = home.process("keeper")["pid"]

        def favoured() -> list[int]:
            found = []
            for each in os.listdir(f"/proc/{keeper}/task"):
                with contextlib.suppress(ProcessLookupError):  # a thread that ended meanwhile
                    found += [int(each)] if os.getpriority(os.PRIO_PROCESS, int(each)) else []
            return found

        wait_until(lambda: not favoured(), "no thread is favoured")
    finally:
        home.close()
