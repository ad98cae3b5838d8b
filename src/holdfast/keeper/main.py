"""The keeper's life: take the lock, remember, serve, leave. Run by init as `python -m holdfast.keeper --home HOME`.

Invariants: one keeper a home; whatever state the database is in, the keeper comes up (from the ledger if need be)
and agents are not touched by its coming or going.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from holdfast import errors, limits
from holdfast.clock import SystemClock, system_clock
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.init.launch import start_guard
from holdfast.keeper import fleet, recall
from holdfast.keeper.acting.link import guard_is_gone
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.recall import Recalled
from holdfast.keeper.store import Store
from holdfast.ledger.chain import Ledger

START_OVER = 70  # exit code: an error nobody expected

Serve = Callable[[Keeper], contextlib.AbstractAsyncContextManager[Any]]
"""Serves the API around a keeper for as long as the context is open."""


def main(serve: Serve, argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="holdfast.keeper")
    parser.add_argument("--home", required=True)
    home = Home(Path(parser.parse_args(argv).home).absolute())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("holdfast-keeper")
    try:
        home.prepare()
        lock = take_lock(home)
        if lock is None:
            return 0
        clock = system_clock()
        ledger = Ledger.open(home.ledger, clock)
        recalled = remember(home, ledger)
        asyncio.run(live(home, clock, ledger, recalled, serve))
    except HoldfastError as error:
        print(f"holdfast keeper: {error.kind.code} {error.summary}. {error.next_step}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def take_lock(home: Home) -> int | None:
    """The one keeper's lock, our pid inside; None (and said so) when another holds it. Raises HoldfastError."""
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            fd = os.open(home.keeper_lock, os.O_RDWR | flags, 0o600)
        except OSError:
            fd = os.open(home.keeper_lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)  # a read-only disk
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        said = HoldfastError(errors.KEEPER_RUNS_ALREADY, pid=holder, home=home.path)
        print(f"holdfast keeper: {said.kind.code} {said.summary}. {said.next_step}", file=sys.stderr, flush=True)
        os.close(fd)
        return None
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def remember(home: Home, ledger: Ledger) -> Recalled:
    """The last checkpoint and the records behind it; without a usable one, the whole ledger and fleet.json."""
    store = Store(home.database)
    items = store.load()
    recalled = Recalled()
    if items is not None:
        try:
            recalled = recall.from_items(items)
        except (msgspec.DecodeError, ValueError) as error:
            store.put_aside(f"its content cannot be understood: {error}")
            recalled = Recalled()
    recalled.store = store
    with contextlib.suppress(OSError):
        # What was replayed is in memory and not in the checkpoint, whose head will soon be written as if it were.
        store.outdated = recall.replay(recalled, ledger.records(recalled.seq)) > 0
    kept = fleet.load(home.path / fleet.FILE)
    if kept is not None and (recalled.fleet is None or fleet.digest(kept) == recalled.fleet_digest):
        recalled.fleet = kept
    return recalled


async def live(home: Home, clock: SystemClock, ledger: Ledger, recalled: Recalled, serve: Serve) -> None:
    """From the first request to SIGTERM."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=3, thread_name_prefix="aside"))
    keeper = Keeper(home, clock, ledger, NodePlaces(home, clock.now_at), recalled, recall.boot_id())
    keeper.on_absent = GuardWaker(keeper)
    keeper.checkpoint.tell_corruptions()
    loop.set_exception_handler(StartOver(clock.now_mono()))
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    gc.collect()
    gc.freeze()  # what was loaded stays; collections look only at what comes later
    running = loop.create_task(keeper.run())
    # Nobody is shown a fleet that was not yet compared with the world, unless init is away.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.API_HELD_BACK_S):
            await keeper.intake.first.wait()
    async with serving(serve, keeper):
        leaving = loop.create_task(leave.wait())
        await asyncio.wait((running, leaving), return_when=asyncio.FIRST_COMPLETED)
        crashed = running.done() and not running.cancelled() and running.exception()
        running.cancel()
        leaving.cancel()
        await asyncio.gather(running, leaving, return_exceptions=True)
    await keeper.close()
    if crashed:
        traceback.print_exception(crashed)
        raise SystemExit(1)


@contextlib.asynccontextmanager
async def serving(serve: Serve, keeper: Keeper) -> AsyncIterator[None]:
    """The API; healing goes on even when its socket cannot be made."""
    try:
        context = serve(keeper)
        await context.__aenter__()
    except OSError as error:
        print(f"holdfast keeper: the API cannot be served: {error}", file=sys.stderr, flush=True)
        yield
        return
    try:
        yield
    finally:
        await context.__aexit__(None, None, None)


class StartOver:
    """An error nobody expected, in a callback: memory may be half changed, and what was to follow may never come.

    Everything durable is in the ledger, so leaving at once and starting over (init sees to that) is the safe way.
    Only a keeper that is young stays, so that an error at every start does not take the API away too.
    """

    def __init__(self, started_mono: float) -> None:
        self._started_mono = started_mono

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        print(f"holdfast keeper: {context.get('message')}", file=sys.stderr, flush=True)
        if isinstance(error, Exception):
            traceback.print_exception(error, file=sys.stderr)
            sys.stderr.flush()
            if SystemClock().now_mono() - self._started_mono > limits.KEEPER_YOUNG_S:
                os._exit(START_OVER)


class GuardWaker:
    """Starts guard when it and init are both gone. Guard's lock makes a second start harmless."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._tried_mono = float("-inf")

    def __call__(self, gone_s: float) -> None:
        now = self._keeper.clock.now_mono()
        if gone_s < limits.INIT_ABSENT_S or now - self._tried_mono < limits.GUARD_RETRY_S or self._keeper.stopping:
            return
        if not guard_is_gone(self._keeper.home.guard_lock):
            return
        self._tried_mono = now
        with contextlib.suppress(OSError):
            start_guard(str(self._keeper.home.path), str(self._keeper.home.run))
            self._keeper.recorder.record("guard.started", "", "guard and init were both gone: guard was started anew")
