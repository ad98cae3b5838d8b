"""SQL in a process of its own: who reads a database's raw bytes must hold no connection to it, a test least of all."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any


class SqlProcess:
    """One connection to one database, open until the block ends or it is killed."""

    def __init__(self, path: Path, user: int | None = None) -> None:
        asked, ask = os.pipe()
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                if user is not None:
                    os.setgroups([])
                    os.setresgid(user, user, user)
                    os.setresuid(user, user, user)
                os.close(ask)
                _serve(os.fsencode(path), os.fdopen(asked), tell)
            finally:
                os._exit(0)
        os.close(asked)
        os.close(tell)
        self._ask = os.fdopen(ask, "w")
        self._told = os.fdopen(told)

    def run(self, *statements: str) -> Any:
        """The rows of the last one. Raises AssertionError with SQLite's words."""
        rows: Any = []
        for statement in statements:
            print(json.dumps(statement), file=self._ask, flush=True)
            answer = json.loads(self._told.readline())
            assert "error" not in answer, answer["error"]
            rows = answer["rows"]
        return rows

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self._ask.close()
            self._told.close()

    def __enter__(self) -> SqlProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()


def _serve(path: bytes, asked: Any, tell: int) -> None:
    link = sqlite3.connect(path, isolation_level=None, timeout=5)
    link.execute("PRAGMA synchronous=OFF")
    for line in asked:
        try:
            answer: dict[str, Any] = {"rows": link.execute(json.loads(line)).fetchall()}
        except sqlite3.Error as e:
            answer = {"error": str(e)}
        os.write(tell, json.dumps(answer).encode() + b"\n")
