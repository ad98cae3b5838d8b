"""The worker and its line, with real processes: jobs answer, end with their readers, and survive the worker's death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from holdfast.keeper.state.worker_link import WorkerLink
from holdfast.keeper.tasks import Tasks
from holdfast.worker.protocol import Fault, JobFailed

# A worker with jobs made for these tests beside its own.
WORKER = """
import os, sys, time, runpy
from holdfast.worker import jobs, process

def echo(call):
    call.progress(1, 2, "half")
    call.chunk(b"piece\\n" * 3)
    return {"args": call.args, "nice": os.nice(0)}

def wait(call):
    try:
        call.progress(os.getpid(), 0, "waiting")
        while True:
            time.sleep(0.01)
    finally:
        open(call.args["ended"], "w").close()

def flood(call):
    while True:
        call.chunk(bytes(100_000))

def broken(call):
    raise ValueError("a mistake of ours")

def full(call):
    raise OSError(28, "No space left on device", "/a/file")

own = jobs.load
jobs.load = lambda: {**own(), "echo": echo, "wait": wait, "flood": flood, "broken": broken, "full": full}
from holdfast.worker.__main__ import main
main()
"""
PATIENCE_S = 90.0


class Link(WorkerLink):
    module = ("-c", WORKER)


def with_link(work: Callable[[Link], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        tasks = Tasks()
        link = Link(tasks)
        try:
            await asyncio.wait_for(work(link), PATIENCE_S)
        finally:
            link.close()
            await tasks.finish(10.0)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def begun(messages: Any) -> int:
    """The pid of a `wait` job that runs."""
    async for message in messages:
        pid: int = message["progress"]["done"]
        return pid
    raise AssertionError("it never began")


def test_a_job_tells_its_progress_its_pieces_and_its_result_in_order() -> None:
    async def work(link: Link) -> None:
        said = [message async for message in link.job("echo", {"a": 1}, gentle=True)]
        assert said[0] == {"progress": {"done": 1, "total": 2, "what": "half"}}
        assert said[1] == {"chunk": b"piece\n" * 3}
        assert said[2]["result"]["args"] == {"a": 1}
        assert said[2]["result"]["nice"] > os.nice(0)

    with_link(work)


@pytest.mark.parametrize(
    ("job", "kind", "words"),
    [
        ("broken", Fault.FAILED, "ValueError: a mistake of ours"),
        ("full", Fault.FULL, "No space left on device (/a/file)"),
        ("no such job", Fault.FAILED, "no such job"),
    ],
)
def test_what_goes_wrong_in_a_job_has_a_kind_and_words(job: str, kind: Fault, words: str) -> None:
    async def work(link: Link) -> None:
        with pytest.raises(JobFailed) as failed:
            await link.ask(job, {})
        assert failed.value.kind == kind
        assert words in str(failed.value.detail)
        assert (await link.ask("echo", {}))["args"] == {}

    with_link(work)


def test_a_job_that_nobody_reads_any_more_ends_and_puts_away_what_it_held(tmp_path: Path) -> None:
    async def work(link: Link) -> None:
        messages = link.job("wait", {"ended": str(tmp_path / "ended")})
        pid = await begun(messages)
        await messages.aclose()
        await until((tmp_path / "ended").exists)
        await until(lambda: not alive(pid))

    with_link(work)


def test_a_job_whose_pieces_nobody_takes_holds_up_no_other() -> None:
    async def work(link: Link) -> None:
        flood = link.job("flood", {})
        await anext(flood)
        assert (await link.ask("echo", {"b": 2}))["args"] == {"b": 2}
        await flood.aclose()

    with_link(work)


def test_jobs_of_a_killed_worker_are_reported_interrupted_and_the_next_job_has_a_new_worker(tmp_path: Path) -> None:
    async def work(link: Link) -> None:
        messages = link.job("wait", {"ended": str(tmp_path / "ended")})
        pid, former = await begun(messages), link.pid
        os.kill(former, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(JobFailed) as failed:
            await anext(messages)
        assert failed.value.kind == Fault.INTERRUPTED
        assert (await link.ask("echo", {"c": 3}))["args"] == {"c": 3}
        assert link.pid != former

    with_link(work)


def test_a_job_outlives_a_killed_worker_and_brings_its_result() -> None:
    async def work(link: Link) -> None:
        messages = link.job("echo", {"pad": "x" * 1_000_000})
        await anext(messages)
        os.kill(link.pid, signal.SIGKILL)
        said = [message async for message in messages]
        assert "result" in said[-1]

    with_link(work)


def test_worker_and_jobs_end_with_the_keeper(tmp_path: Path) -> None:
    """The keeper is a process of its own here, killed in the middle of a job."""
    script = (
        "import asyncio, sys\n"
        "from tests.unit.worker.test_worker_process import Link, begun\n"
        "from holdfast.keeper.tasks import Tasks\n"
        "async def main():\n"
        "    link = Link(Tasks())\n"
        f"    pid = await begun(link.job('wait', {{'ended': {str(tmp_path / 'ended')!r}}}))\n"
        f"    open({str(tmp_path / 'pids')!r}, 'w').write(f'{{pid}} {{link.pid}}\\n')\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    import subprocess

    keeper = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    try:
        pids = tmp_path / "pids"
        deadline = time.monotonic() + PATIENCE_S
        while not (pids.exists() and pids.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        job, worker = map(int, pids.read_text().split())
        keeper.kill()
        keeper.wait()
        while alive(job) or alive(worker):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (tmp_path / "ended").exists()
    finally:
        with contextlib.suppress(ProcessLookupError):
            keeper.kill()


def test_a_job_that_a_dying_worker_did_not_take_is_begun_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line ended between two steps: the socket of the second try has the number that the first one's had."""

    async def work(link: Link) -> None:
        really, gone = link._there, socket.socket()
        gone.close()
        for number in range(3):
            answers = [gone]

            async def there(answers: list[socket.socket] = answers) -> socket.socket:
                return answers.pop() if answers else await really()

            await link.ask("echo", {})  # so that the worker is there
            await asyncio.sleep(0.05)  # and that job's socket gone
            monkeypatch.setattr(link, "_there", there)
            assert (await link.ask("echo", {"n": number}))["args"] == {"n": number}
            monkeypatch.setattr(link, "_there", really)

    with_link(work)
