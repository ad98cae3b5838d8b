"""Snapshots against power cuts and kill -9: `python -m tests.crash.snapshots [--cuts N] [--kills N] [--seed N]`.

A writer's steps are recorded; then, at every boundary between two of them, the disk is rebuilt as a power cut may leave
it, and must hold every snapshot whose commit had returned, in full; whatever else is listed must be whole too; and the
next writer must be able to go on, also with an index that knows of packs that are gone. `--bug NAME|all` plants a bug,
which the campaign must catch.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from holdfast.state.model import Cause, Consistency, Content, Entry, Kind, Manifest, Root
from holdfast.state.store import index, names, writer, writing
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Missing
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer
from tests.crash.power import QuickDisk, RecordingDisk, Step, after_power_cut

KEY = b"recovery key of 32 bytes in all."
PIECE = 2048
SMALL_FRAME, SMALL_PACK = 4096, 12_000  # so that few bytes make many packs
KEEPS = (0.0, 0.5, 0.9)
FIRST_COMMIT_S = 60.0  # of a writer on a loaded machine


class Broken(AssertionError):
    """An invariant does not hold."""


def contents(chance: random.Random, former: dict[str, bytes]) -> dict[str, bytes]:
    """An agent's files at its next snapshot: most as before, some new, some changed."""
    files = dict(former)
    for _ in range(chance.randint(1, 3)):
        name = f"file-{chance.randrange(6)}"
        size = chance.choice((0, 100, 5_000, 20_000))
        files[name] = chance.randbytes(size) if chance.random() < 0.7 else b"text " * (size // 5)
    return files


def take(repository: Repository, files: dict[str, bytes], epoch: int = 0, abandon: bool = False) -> str:
    """One snapshot as capture makes it: data, trees, then the commit. Its object's name; "" when abandoned."""
    with Writer(repository, epoch=epoch) as into:
        entries = []
        for name, data in sorted(files.items()):
            pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
            ids = into.put_many(pieces)
            extent = into.put(b"".join(ids), BlobKind.EXTENT)
            entries.append(
                Entry(name.encode(), Kind.FILE, 0o600, 0, 0, 1, len(data), content=Content.EXTENTS, blobs=(extent,))
            )
        tree = into.put(msgspec.msgpack.encode(entries), BlobKind.TREE)
        if abandon:
            into.flush()
            return ""
        root = Entry(b"data", Kind.DIRECTORY, 0o700, 0, 0, 1, blobs=(tree,))
        draft = Manifest(
            format=0,
            repository="",
            agent="",
            seq=0,
            epoch=0,
            at=time.time(),
            took_s=0.0,
            parent="",
            cause=Cause.TIMER,
            label="",
            consistency=Consistency.GUARD,
            roots=(Root(path="/data", entry=root),),
            files=len(files),
            bytes=sum(map(len, files.values())),
            bytes_new=0,
        )
        return into.finish(draft).name


def digest(files: dict[str, bytes]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def read_all(repository: Repository) -> dict[str, str]:
    """The digest of what each listed snapshot holds. Anything that cannot be read raises."""
    found = {}
    for snapshot in repository.snapshots():
        root = repository.manifest(snapshot).roots[0].entry
        assert root is not None
        entries = repository.tree(root.blobs[0])
        found[snapshot.name] = digest({one.name.decode(): b"".join(repository.entry_stream(one)) for one in entries})
    return found


class Work:
    """A recorded run of several snapshots, with what must be true after each step."""

    def __init__(self, base: Path, seed: int, snapshots: int) -> None:
        self.disk = RecordingDisk(base)
        self.expected: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.cache = base.with_name(base.name + "-cache")
        chance = random.Random(seed)
        base.mkdir()
        for number in range(snapshots):
            # As a first use of a repository that is there already does: it must be joined, never replaced.
            repository = Repository.create(
                LocalStore(base / "repo", self.disk), "a", KEY, encrypt=True, cache=self.cache
            )
            self.files = contents(chance, self.files)
            if chance.random() < 0.3:
                take(repository, contents(chance, self.files), abandon=True)
            name = take(repository, self.files)
            self.expected[name] = digest(self.files)
            self.disk.mark(name)
            if number and chance.random() < 0.3:
                self._to_trash(repository)
            repository.close()

    def _to_trash(self, repository: Repository) -> None:
        """As a deleted snapshot goes: its copy first."""
        snapshot = repository.snapshots()[0]
        store = repository.store
        store.put(names.trash_object(snapshot, 2**31), store.get(names.snapshot_object(snapshot)))
        self.disk.mark("-" + snapshot.name)
        store.delete(names.snapshot_object(snapshot))

    @property
    def boundaries(self) -> list[int]:
        return [at + 1 for at, step in enumerate(self.disk.steps) if step.what != "mark"]


def check_cut(work: Work, at: int, keep: float, seed: int, scratch: Path) -> None:
    """Raises Broken."""
    chance = random.Random(f"{seed} {at} {keep}")
    left = scratch / "left"
    shutil.rmtree(left, ignore_errors=True)
    steps = list(work.disk.steps[:at])
    if steps[-1].what == "write" and chance.random() < 0.5:
        last = steps.pop()  # torn within
        steps.append(Step("write", last.file, data=last.data[: chance.randrange(len(last.data) + 1)]))
    after_power_cut(steps, chance, keep, left)
    marks = [step.path for step in steps if step.what == "mark"]
    gone = {mark[1:] for mark in marks if mark.startswith("-")}
    due = {mark for mark in marks if not mark.startswith("-")} - gone
    cache = None
    if chance.random() < 0.5:
        cache = scratch / "cache"  # as the last run left it: it knows of packs that are not there
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(work.cache, cache)
    try:
        _check_left(work, left, due, cache)
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"cut after step {at} (keep {keep}): {type(error).__name__}: {error}") from error


def _check_left(work: Work, left: Path, due: set[str], cache: Path | None) -> None:
    store = LocalStore(left / "repo", QuickDisk())
    try:
        repository = Repository.open(store, KEY, cache)
    except Missing:
        if due:
            raise
        repository = Repository.create(store, "a", KEY, encrypt=True, cache=cache)
    found = read_all(repository)
    if lost := due - set(found):
        raise Broken(f"{len(lost)} committed snapshots are not there")
    if wrong := [name for name, what in found.items() if work.expected.get(name) != what]:
        raise Broken(f"{wrong} hold something else")
    name = take(repository, work.files)
    repository.close()
    again = read_all(Repository.open(store, KEY))
    if again.get(name) != digest(work.files):
        raise Broken("the snapshot made after the cut does not hold what was put")


def cut_everywhere(cuts: int, seed: int, snapshots: int = 4, place: Path | None = None) -> int:
    """At least so many trials, over as many recorded runs as it takes. How many were made; raises Broken."""
    made = 0
    with _small_packs(), tempfile.TemporaryDirectory(prefix="power-", dir=place) as name:
        while made < cuts:
            work = Work(Path(name) / f"work-{made}", seed + made, snapshots)
            trials = [(at, keep) for at in work.boundaries for keep in KEEPS]
            if cuts - made < len(trials):
                trials = sorted(random.Random(seed).sample(trials, cuts - made))
            for at, keep in trials:
                check_cut(work, at, keep, seed, Path(name))
            made += len(trials)
    return made


def kill_everywhere(kills: int, seed: int, place: Path | None = None) -> int:
    """A process that writes snapshots is killed at any moment. How many were committed; raises Broken."""
    chance = random.Random(seed)
    committed: dict[str, str] = {}
    total = 0
    with _small_packs(), tempfile.TemporaryDirectory(prefix="kill-", dir=place) as name:
        for number in range(kills):
            home = Path(name) / str(number // 20)  # a new repository now and then, or reading takes ever longer
            if number % 20 == 0:
                committed = {}
            told = _killed_writer(home, chance.randrange(2**32), chance.random() * 0.06, begun=number % 3 == 0)
            committed |= told
            total += len(told)
            _check_killed(home, committed)
    return total


def _killed_writer(home: Path, seed: int, after_s: float, begun: bool) -> dict[str, str]:
    """What the writer said it had committed before it was killed. `begun`: the time counts from its first commit."""
    reading, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with contextlib.suppress(BaseException):
            _write_for_ever(home, seed, telling)
        os._exit(1)
    os.close(telling)
    if begun:
        select.select([reading], [], [], FIRST_COMMIT_S)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as told:
        text = told.read()
    if not os.WIFSIGNALED(status):
        raise Broken("the writer ended by itself")
    lines = text.decode().splitlines()
    return {name: what for name, _, what in (line.partition(" ") for line in lines)}


def _write_for_ever(home: Path, seed: int, telling: int) -> None:
    chance = random.Random(seed)
    files: dict[str, bytes] = {}
    while True:
        with writing.lock(home) as held:
            store = LocalStore(home / "repo", QuickDisk())  # the kernel lives on: more commits in the same time
            repository = Repository.create(store, "a", KEY, encrypt=True, cache=home / "cache")
            files = contents(chance, files)
            name = take(repository, files, held.epoch)
            repository.close()
        os.write(telling, f"{name} {digest(files)}\n".encode())


def _check_killed(home: Path, committed: dict[str, str]) -> None:
    if not (home / "repo" / "config").exists():
        if committed:
            raise Broken("the repository is gone")
        return
    with writing.lock(home):
        for cache in (home / "cache", None):
            repository = Repository.open(LocalStore(home / "repo"), KEY, cache)
            found = read_all(repository)
            repository.close()
            if any(found.get(name) != what for name, what in committed.items()):
                raise Broken("a committed snapshot is lost or changed")


@contextlib.contextmanager
def _small_packs() -> Iterator[None]:
    with mock.patch.object(writer, "FRAME_BYTES", SMALL_FRAME), mock.patch.object(writer, "PACK_BYTES", SMALL_PACK):
        yield


def _manifest_first() -> Any:
    finish, flush = Writer.finish, Writer.flush

    def hasty(self: Writer, draft: Manifest) -> Any:
        with mock.patch.object(Writer, "flush"):
            snapshot = finish(self, draft)
        flush(self)
        return snapshot

    return mock.patch.object(Writer, "finish", hasty)


def _index_believed() -> Any:
    sync = index.Index.sync

    def believing(self: index.Index, *args: Any) -> None:
        if self.empty():
            sync(self, *args)

    return mock.patch.object(index.Index, "sync", believing)


BUGS: dict[str, Callable[[], Any]] = {
    "content-not-synced": lambda: mock.patch.object(RecordingDisk, "sync"),
    "names-not-synced": lambda: mock.patch.object(RecordingDisk, "sync_directory"),
    "manifest-before-packs": _manifest_first,
    "overwritten": lambda: mock.patch.object(RecordingDisk, "publish", RecordingDisk.publish_over),
    "index-believed": _index_believed,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.snapshots", description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--bug", choices=(*BUGS, "all"))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    if options.bug is None:
        started = time.monotonic()
        try:
            cuts = cut_everywhere(options.cuts, options.seed)
            committed = kill_everywhere(options.kills, options.seed)
        except Broken as broken:
            print(f"FAILED: {broken}; again with --seed {options.seed}")
            return 1
        wall_s = round(time.monotonic() - started, 1)
        print(json.dumps({"cuts": cuts, "kills": options.kills, "committed": committed, "lost": 0, "wall_s": wall_s}))
        return 0
    missed = []
    for bug in BUGS if options.bug == "all" else [options.bug]:
        try:
            with BUGS[bug]():
                cut_everywhere(options.cuts, options.seed)
        except Broken as broken:
            print(f"caught {bug}: {broken}")
        else:
            missed.append(bug)
            print(f"MISSED {bug}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
