"""Looks at files of an agent whose disk hangs: given up, one thread for each agent, and nobody else waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast import limits
from holdfast.home import Home
from holdfast.incidents.changes import Proven
from holdfast.keeper.telling.cases import Casebook
from holdfast.keeper.watching import proven
from holdfast.keeper.watching.proven import ProvenRuns
from tests.harness.manual_clock import ManualClock


async def with_few_threads(work: Callable[[], Any]) -> None:
    """As the keeper's loop: three threads of its own, which must be free afterwards."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(3))
    await work()
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 60.0) == "free"


def test_a_proof_that_cannot_be_had_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(limits, "FILE_LOOK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(proven, "_files_of", lambda spec: released.wait(60.0) and {} if spec.name == "stuck" else {})
    proof = Proven(at=1.0, instance=1, seq=1, version="", boot_id="", keys={}, files={})
    monkeypatch.setattr(ProvenRuns, "_now", lambda *_: proof)
    agents = {
        name: SimpleNamespace(
            name=name,
            ladder=SimpleNamespace(instance=1),
            world=SimpleNamespace(spawned_at=0.0),
            spec=SimpleNamespace(name=name),
            memory=SimpleNamespace(proven=None),
        )
        for name in ("stuck", "well")
    }
    told: list[str] = []
    recorder = SimpleNamespace(record=lambda kind, name, *_: told.append(name))
    runs = ProvenRuns(
        cast(Any, agents), cast(Any, recorder), cast(Any, None), ManualClock(), "", "", lambda agent: None
    )

    async def work() -> None:
        for _ in range(4):
            monkeypatch.setattr(limits, "FILE_LOOK_TIMEOUT_S", 0.05)
            await runs._prove(cast(Any, [agents["stuck"]]))
        monkeypatch.setattr(limits, "FILE_LOOK_TIMEOUT_S", 60.0)
        await runs._prove(cast(Any, [agents["well"]]))

    try:
        asyncio.run(with_few_threads(work))
    finally:
        released.set()
    assert told == ["well"]


def test_evidence_that_hangs_leaves_the_threads_for_other_post_mortems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    released = threading.Event()
    monkeypatch.setattr(limits, "EVIDENCE_TIMEOUT_S", 0.05)
    evidence = SimpleNamespace(begin=lambda agent, incident: lambda: released.wait(60.0))
    ears = (lambda *_: None,) * 3
    book = Casebook(Home(tmp_path), ManualClock(), *cast(Any, (None, None, evidence, ears, lambda name: (), "")))
    agent = SimpleNamespace(name="stuck", memory=SimpleNamespace(deaths=[]))

    async def work() -> None:
        for _ in range(4):
            assert await book._take_evidence(cast(Any, None), cast(Any, agent)) is None

    try:
        asyncio.run(with_few_threads(work))
    finally:
        released.set()
