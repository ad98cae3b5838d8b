"""Sends agents' lines to log servers, from the stored files: `python -m holdfast.logs.shipper --home HOME`.

Invariants: each stored line is sent at least once, also across kill -9; draining and agents never wait for a server;
one slow server holds up no other; lines deleted before they were sent are counted and told. Started by the logger
(crew.py) while some agent has `logs.ship`; ends when none has.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.logs import helper, rotation, ship_cursor, ship_lag, wanted
from holdfast.logs.pieces import Stream
from holdfast.logs.query import plain_lines
from holdfast.logs.ship_cursor import Cursor
from holdfast.logs.ship_forms import Shipped
from holdfast.logs.ship_send import RefusedForGood, Sender
from holdfast.spec.model import Shipping

BATCH_BYTES = 512 * 1024
BATCH_LINES = 1000
LOOK_S = 1.0  # how often new lines are looked for
SETTINGS_S = 2.0
BACK_OFF_S = (1.0, 60.0)

Say = Callable[[str, str], None]


class Way:
    """One agent's lines to one server."""

    def __init__(self, home: Path, agent: str, target: Shipping, labels: dict[str, str], say: Say) -> None:
        self.agent = agent
        self.target = target
        self.behind: tuple[int, int] | None = None  # bytes that wait, and when the oldest line came (ns)
        self._labels = labels
        self._directory = os.fspath(home / "logs" / agent)
        self._path = ship_cursor.path_of(home, agent, target)
        self._cursor = ship_cursor.load(self._path)
        self._say = say
        self._seen: tuple[int, int] | None = None  # inode and length of the log when everything had been sent

    def has_more(self) -> bool:
        """A cheap look at the log."""
        return self._seen is None or self._log() != self._seen

    def _log(self) -> tuple[int, int] | None:
        try:
            status = os.stat(rotation.path_of(self._directory, 0), follow_symlinks=False)
        except OSError:
            return None
        return status.st_ino, status.st_size

    def step(self, sender: Sender) -> bool:
        """Send one batch. True: there may be more. Raises OSError when it has to be tried again."""
        seen = self._log()
        stream = Stream(self._directory)
        try:
            start = self._cursor.find(stream)
            if start is None:
                start = 0
                self._count_lost(self._cursor)
            lines, end = self._batch(stream, start)
            if end == start:
                self._seen, self.behind = seen, None
                return False
            self.behind = (stream.size - start, lines[0].at_ns)
            try:
                sender.send(self.agent, self._labels, lines)
                self._cursor.lines += len(lines)
            except RefusedForGood as refusal:
                self._cursor.refused += len(lines)
                self._say(self.agent, f"{len(lines)} lines were refused by the log server: {refusal}")
            self._cursor.move(stream, end)
            ship_cursor.save(self._path, self._cursor)
            return True
        finally:
            stream.close()

    def measure(self) -> None:
        """How far it is behind, while nothing can be sent. Never raises."""
        if not self.has_more():
            return
        try:
            stream = Stream(self._directory)
            try:
                start = self._cursor.find(stream) or 0
                waiting = stream.size - start
                self.behind = (waiting, stream.stamp(start)) if waiting else None
            finally:
                stream.close()
        except OSError:
            return

    def _count_lost(self, cursor: Cursor) -> None:
        lost = max(0, cursor.size - cursor.offset)
        cursor.lost_bytes += lost
        self._say(self.agent, f"lines were deleted before they were shipped: at least {lost} bytes")

    def _batch(self, stream: Stream, start: int) -> tuple[list[Shipped], int]:
        """Whole lines from `start` on, and where the next one begins."""
        lines: list[Shipped] = []
        end = start
        for line in plain_lines(stream, start, stream.size):
            if line.behind == stream.size and stream.read(1, stream.size - 1) != b"\n":
                break
            if len(lines) >= BATCH_LINES or (lines and line.behind - start > BATCH_BYTES):
                break
            lines.append(Shipped(stream.stamp(line.start), line.text))
            end = line.behind
        return lines, end


class Server(threading.Thread):
    """All ways to one server, in turns."""

    def __init__(self, target: Shipping, ways: list[Way], host: str, tell: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._sender = Sender(target, host)
        self.ways = ways
        self.why = ""  # the last refusal, while there is one
        self._tell = tell
        self._name = target.kind
        self.stopping = threading.Event()

    def run(self) -> None:
        failures = 0
        while not self.stopping.is_set():
            more = False
            try:
                for way in self.ways:
                    if way.has_more():
                        more = way.step(self._sender) or more
                if failures:
                    self._tell(f"{self._name}: lines are taken again after {failures} failures")
                failures, self.why = 0, ""
            except OSError as error:
                failures += 1
                self.why = str(error.strerror or error)
                for way in self.ways:
                    way.measure()
                if failures == 1:
                    self._tell(f"{self._name}: not taken ({error.strerror or error}); trying again")
                pause_s = min(BACK_OFF_S[1], BACK_OFF_S[0] * 2 ** min(failures - 1, 10))
                self.stopping.wait(pause_s * random.uniform(0.5, 1.0))
                continue
            if not more:
                self.stopping.wait(LOOK_S)
        self._sender.close()


class Shipper:
    """Keeps one thread a server, as the settings say."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._servers: list[Server] = []
        self._told = ship_lag.Lags(version=0)  # nothing yet: what a former shipper told is written over
        self._told_mono = 0.0

    def work(self) -> None:
        """Until nothing is to be shipped any more."""
        settings = None
        pause = threading.Event()
        while True:
            now = wanted.read(self._home)
            if now != settings:
                settings = now
                self._restart(now)
            self._tell_lags()
            if not self._servers or any(not server.is_alive() for server in self._servers):
                return  # the logger starts us again when it should
            pause.wait(SETTINGS_S)

    def _tell_lags(self) -> None:
        found: dict[str, list[ship_lag.Lag]] = {}
        for server in self._servers:
            for way in server.ways:
                lag = ship_lag.lag_of(way.target, way.behind, server.why, time.time())
                if lag is not None:
                    found.setdefault(way.agent, []).append(lag)
        now, now_mono = ship_lag.Lags(agents=found), time.monotonic()
        is_news = self._told.version == 0 or ship_lag.is_news(self._told, now, now_mono - self._told_mono)
        if is_news and ship_lag.write(self._home, now):
            self._told, self._told_mono = now, now_mono

    def _restart(self, settings: wanted.Wanted) -> None:
        for server in self._servers:
            server.stopping.set()
        for server in self._servers:
            server.join()
        ways: dict[str, tuple[Shipping, list[Way]]] = {}
        for name, agent in settings.agents.items():
            for target in agent.logs.ship:
                key = repr((target.kind, target.url, sorted(target.headers.items())))
                way = Way(self._home, name, target, agent.labels, lambda who, text: helper.order("say", who, text))
                ways.setdefault(key, (target, []))[1].append(way)
        host = os.uname().nodename
        told = lambda text: helper.tell("shipper", text)  # noqa: E731
        self._servers = [Server(target, theirs, host, told) for target, theirs in ways.values()]
        for server in self._servers:
            server.start()


if __name__ == "__main__":
    sys.exit(helper.run("shipper", lambda home: Shipper(home).work(), yielding=True))
