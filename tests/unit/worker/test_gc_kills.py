"""The job `gc` killed at any moment: no snapshot is ever hurt, and what nobody needs goes in the end.

HOLDFAST_GC_KILLS says how often (30); HOLDFAST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.state.checks import verify
from holdfast.state.keeping import condemning, gc, trash
from holdfast.state.store import keys
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.repository import Repository
from holdfast.worker import upkeep
from holdfast.worker.call import Call
from tests.harness.snapshot_chain import commit, contents

KILLS = int(os.environ.get("HOLDFAST_GC_KILLS", "30"))
SEED = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().getrandbits(32)


def collecting(args: dict[str, Any]) -> int:
    """A process that collects once."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours, _theirs = socket.socketpair()
            upkeep.collect(Call(ours, args))
            code = 0
        finally:
            os._exit(code)
    return pid


def test_a_collection_killed_anywhere_hurts_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condemning.is_ripe, "__defaults__", (0.0,))
    monkeypatch.setattr(gc, "GC_SMALL_AGE_S", -10.0)
    monkeypatch.setattr(gc, "GC_SMALL_PACKS_MIN", 3)
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    state, home = tmp_path / "state", tmp_path / "state" / "one"
    home.mkdir(parents=True)
    store, recovery = LocalStore(home / "repo"), keys.recovery_key(state)
    Repository.create(store, "one", recovery, encrypt=True, cache=home / "cache").close()
    args = {"agent": "one", "state_dir": str(state), "directory": str(home)}
    files: dict[str, bytes] = {}
    expected: dict[str, dict[str, bytes]] = {}
    took_s, freed = 0.05, 0
    for number in range(KILLS):
        repository = Repository.open(store, recovery, home / "cache")
        files[f"f{chance.randrange(6)}"] = chance.randbytes(chance.randrange(1, 60_000))
        made = commit(repository, files, epoch=number + 1)
        expected[made.id] = dict(files)
        if len(expected) > 4:  # as a person does, and then its time in the trash is over
            gone = repository.find(chance.choice(list(expected)[:-1]))
            store.delete(trash.remove(repository, gone, time.time()).object_name)
            del expected[gone.id]
        packs = len(repository.packs())
        repository.close()
        began = time.monotonic()
        pid = collecting(args)
        if number % 4 != 3:
            time.sleep(chance.uniform(0.0, took_s))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        else:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            took_s = time.monotonic() - began
        repository = Repository.open(store, recovery, home / "cache")
        freed += packs > len(repository.packs())
        assert [one.id for one in repository.snapshots()] == list(expected)
        assert verify.everything(repository).faults == []
        assert contents(repository, repository.snapshots()[-1]) == files
        repository.close()
    assert freed, "nothing was ever given back"
    whole = Repository.open(store, recovery)  # and without what the cache remembers
    assert {one.id: contents(whole, one) for one in whole.snapshots()} == expected
