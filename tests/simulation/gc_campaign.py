"""Collections, writers, deletions and clocks mixed by chance: every committed snapshot stays readable, all of it.

A writer may stand still for days between its steps; a collection may be killed, or joined by a writer, before any
change it makes. `run` returns what was lost; a planted bug must make it return something.
"""

from __future__ import annotations

import random
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.state.keeping import gc
from holdfast.state.model import Snapshot
from holdfast.state.store import names
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer
from tests.harness.memory_store import Killed, MemoryStore
from tests.harness.state_trees import draft, read_snapshot, write_tree

KEY = bytes(32)
HOUR = 3600.0


class Campaign:
    """One run. Everything is drawn from the seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = MemoryStore()
        Repository.create(self.store, "loop", KEY, encrypt=False)
        self.elapsed_s = 0.0
        self.committed: dict[Snapshot, dict[str, bytes]] = {}
        self.writing: tuple[Writer, dict[str, bytes], Any] | None = None
        self.deleted_packs = 0
        self.refused = ""
        self.busy = False

    def open(self) -> Repository:
        return Repository.open(self.store, KEY)

    def content(self) -> dict[str, bytes]:
        """Few different contents, so that what nobody needs any more is often met again."""
        return {
            f"f{n}": random.Random(self.chance.randrange(12)).randbytes(400) for n in range(self.chance.randint(1, 2))
        }

    # --- what happens --------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """A writer begins and has put all it has, but has not committed. One that was at it is forgotten."""
        self.abandon()
        writer = Writer(self.open())
        content = self.content()
        self.writing = (writer, content, write_tree(writer, content))
        if self.chance.random() < 0.5:
            writer.flush()

    def commit(self) -> None:
        if self.writing is None:
            self.begin()
        assert self.writing is not None
        writer, content, root = self.writing
        self.writing = None
        try:
            snapshot = writer.finish(draft(root, self.store.at, content))
        except HoldfastError:
            return  # somebody else has committed since it began
        finally:
            writer.__exit__(None, None, None)
        self.committed[snapshot] = content

    def another_commits(self) -> None:
        held, self.writing = self.writing, None
        self.commit()
        self.writing = held

    def abandon(self) -> None:
        if self.writing is not None:
            self.writing[0].__exit__(None, None, None)
            self.writing = None

    def delete(self) -> None:
        """Any but the newest leaves for good."""
        if len(self.committed) > 1:
            newest = max(self.committed, key=lambda one: one.seq)
            gone = self.chance.choice([one for one in self.committed if one != newest])
            del self.committed[gone]
            self.store.delete(names.snapshot_object(gone))

    def wait(self, *passing: float) -> None:
        passed = self.chance.choice(passing or (60.0, HOUR, 5 * HOUR, 13 * HOUR, 25 * HOUR, 50 * HOUR))
        self.elapsed_s += passed
        self.store.at += passed
        if self.chance.random() < 0.1:
            self.store.at += self.chance.choice([-365, -1, 1, 365]) * 24 * HOUR

    def slow_writer(self) -> None:
        """One that stands still while collections condemn or delete, and then commits."""
        if self.chance.random() < 0.5:
            self.begin()
            self.collect()
            self.wait(25 * HOUR)
        else:
            self.collect()
            self.commit()
            self.wait(25 * HOUR)
            self.begin()
        self.collect()
        self.commit()

    def collect(self) -> None:
        """Killed or joined at some change, or left alone."""
        self.busy = True
        what = self.chance.choice(["alone", "kill", "join", "join"])
        left = self.chance.randrange(12)
        packs = self.packs()

        def before(act: str, name: str) -> None:
            nonlocal left, what
            if self.busy and what != "alone":
                left -= 1
                if left < 0:
                    self.busy = False
                    if what == "kill":
                        raise Killed
                    what = "alone"
                    self.chance.choice([self.begin, self.commit, self.another_commits])()
                    self.busy = True

        self.store.before_change = before
        try:
            answer = gc.run(self.open(), self.store.at, elapsed_s=self.elapsed_s)
            if answer.refused and "another collection" not in answer.refused:
                self.refused = answer.refused
        except Killed:
            pass
        finally:
            self.store.before_change = lambda act, name: None
            self.busy = False
        self.deleted_packs += len(packs - self.packs())

    def packs(self) -> set[str]:
        return {name for name in self.store.objects if name.startswith(names.PACKS)}

    # --- what must hold ------------------------------------------------------------------------------------------
    def lost(self) -> str:
        """Which committed snapshot cannot be read as it was written; "": none."""
        if self.refused:
            return self.refused
        repository = self.open()
        for snapshot, content in self.committed.items():
            try:
                if read_snapshot(repository, snapshot) != content:
                    return f"snapshot {snapshot.seq} is another one"
            except StoreError as error:
                return f"snapshot {snapshot.seq}: {error}"
        return ""

    def run(self, steps: int) -> str:
        weighted = [self.begin, self.commit, self.commit, self.another_commits, self.delete, self.delete, self.wait]
        weighted += [self.slow_writer]
        for step in range(steps):
            self.chance.choice([*weighted, self.collect, self.collect, self.collect])()
            lost = self.lost()
            if lost:
                return f"step {step}: {lost}"
        self.abandon()
        return ""
