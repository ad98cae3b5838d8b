"""Taking a snapshot: what changed below the agent's state paths since the last one, and the manifest that names it all.

The whole tree is looked at, directory by directory, and compared with what the last snapshot saw; only directories
whose signature differs are built anew, and only entries that differ are read. Invariant: everything below a state path
is opened as the agent's user, everything of the repository as ourselves; the manifest is put last. With `freeze` the
tree is read once while the agent runs, and what changed meanwhile once more while it stands still (shelf.py). Called by
the worker's jobs, one at a time for each repository.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from blake3 import blake3
from msgspec import Struct

from holdfast.state.capture.exclude import BadPattern, exclusion
from holdfast.state.capture.freeze import CannotFreeze, Freezer
from holdfast.state.capture.intake import Intake
from holdfast.state.capture.passage import CannotCapture, Passage
from holdfast.state.capture.shelf import Shelf, TooMuch
from holdfast.state.capture.statcache import Cache
from holdfast.state.identity import acting_as, own_rights
from holdfast.state.model import Cause, Consistency, Entry, Manifest, Rest, Rights, Root, Snapshot
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer

__all__ = ["CannotCapture", "CaptureRequest", "Progress", "Taken", "take"]

_STAT = "stat"
_FIRST = "first"  # of two passes: no snapshot has this id
_TOLD_EVERY_S = 0.25


class CaptureRequest(Struct, frozen=True, kw_only=True):
    """What to take, and what to write beside it. `paths`: absolute, none inside another; `exclude`: see exclude.py."""

    agent: str
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    rights: Rights | None = None
    capture: str = "guard"  # or "freeze"
    cause: Cause = Cause.MANUAL
    label: str = ""
    instance: int = 0
    pod_user: str = ""
    recipe: str = ""
    spec: str = ""
    freezer: Freezer | None = None
    always: bool = False  # also where nothing changed
    cache: Path | None = None  # the agent's cache directory; without one everything is read
    rest: Rest = Rest.UNKNOWN
    rest_until_mono: float | None = None  # when that ceases to be known
    mapped: Callable[[], frozenset[int]] = frozenset  # inodes of files that change unseen, see mapped.py
    never: tuple[Path, ...] = ()  # directories never entered: Holdfast's own, where the agent's path holds them


class Progress(Struct, frozen=True):
    """`done`: bytes read; `total` 0: not known."""

    done: int
    total: int
    what: str


class Taken(Struct, frozen=True, kw_only=True):
    """`snapshot` None: nothing changed since `unchanged_since` (an id)."""

    snapshot: Snapshot | None
    manifest: Manifest | None
    unchanged_since: str = ""
    bytes_read: int = 0
    note: str = ""  # why it is less consistent than asked for
    unkept: tuple[str, ...] = ()  # what has content and could not be read: path and why, cut as `left_out`


def take(
    repository: Repository, writer: Writer, request: CaptureRequest, progress: Callable[[Progress], None] | None = None
) -> Taken:
    """One snapshot. `progress` is called a few times a second and may raise to give up: nothing is committed then.

    Raises CannotCapture (a state path is a symlink, cannot be read …), StoreError, HoldfastError.
    """
    return _Capture(repository, writer, request, progress).take()


class _Capture:
    def __init__(
        self,
        repository: Repository,
        writer: Writer,
        request: CaptureRequest,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        try:
            self._exclusion = exclusion(request.exclude)
        except BadPattern as e:
            raise CannotCapture(str(e)) from e
        self._repository = repository
        self._writer = writer
        self._request = request
        self._progress = progress
        self._told_mono = time.monotonic()
        self._bytes_read = 0
        self._own = own_rights() if request.rights is not None else None
        self._newest = writer.newest
        self._key = _key(repository, request)
        never = [*request.never] + ([request.cache.parent] if request.cache is not None else [])
        self._never = frozenset(id_ for path in never if (id_ := _identity(path)) is not None)

    def take(self) -> Taken:
        begun_at, begun_mono = time.time(), time.monotonic()
        newest = self._newest.id if self._newest else ""
        cache = Cache(self._cached(_STAT), self._key, newest, self._ours)
        try:
            passage = self._pass(cache)
            if not self._request.always and passage.roots == self._roots_before(cache, passage.roots):
                cache.commit(newest, _entries(passage.roots))
                return Taken(
                    snapshot=None,
                    manifest=None,
                    unchanged_since=newest,
                    bytes_read=self._bytes_read,
                    unkept=tuple(passage.unkept),
                )
            note, still = "", False
            if self._request.capture == "freeze":
                cache, passage, note = self._stand_still(cache, passage)
                still = not note
            draft = self._manifest(passage, still, begun_at, time.monotonic() - begun_mono)
            snapshot = self._writer.finish(draft)
            cache.commit(snapshot.id, _entries(passage.roots), self._cached(_STAT))
        finally:
            cache.close()
            if self._request.capture == "freeze" and (known := self._cached(_FIRST)) is not None:
                known.unlink(missing_ok=True)
        manifest = self._repository.manifest(snapshot)
        return Taken(
            snapshot=snapshot,
            manifest=manifest,
            bytes_read=self._bytes_read,
            note=note,
            unkept=tuple(passage.unkept),
        )

    def _pass(self, cache: Cache) -> Passage:
        """Look at everything once."""
        request, scratch = self._request, str(self._request.cache) if self._request.cache is not None else None
        return self._through(
            cache,
            Intake(self._writer, request.rights, self._tick, ours=self._ours, freezer=request.freezer, scratch=scratch),
        )

    def _through(self, cache: Cache, intake: Intake) -> Passage:
        passage = Passage(self._repository, intake, cache, self._exclusion, self._request.rights, self._never)
        passage.mapped = self._request.mapped()  # now: whoever maps a file later changes its times within this passage
        with acting_as(self._request.rights):
            passage.all(self._request.paths)
        return passage

    def _stand_still(self, cache: Cache, first: Passage) -> tuple[Cache, Passage, str]:
        """What changed since the first pass began, while the agent stands still: short, for nearly all is known.

        Where it cannot, or not for long enough, the first pass is what there is, and the last word says why.
        """
        freezer, known = self._request.freezer, self._cached(_FIRST)
        if freezer is None or known is None:
            return cache, first, "nothing here can stand it still"
        self._writer.flush()  # the second pass reads what the first one stored, and the pause needs no disk
        cache.commit(_FIRST, _entries(first.roots), known)
        cache.close()
        second = Cache(known, self._key, _FIRST, self._ours)
        try:
            with freezer.frozen() as stillness:
                shelf = Shelf(self._writer, stillness.deadline_mono)
                passage = self._glance(second, shelf)
                lasted = stillness.lasted()
            if not lasted:
                raise CannotFreeze("it did not stand still until all was read")
            shelf.empty()
        except (CannotFreeze, TooMuch) as e:
            second.close()  # what it saw is not what is kept
            return Cache(known, self._key, _FIRST, self._ours), first, str(e)
        except BaseException:
            second.close()
            raise
        return second, passage, ""

    def _glance(self, cache: Cache, shelf: Shelf) -> Passage:
        """The pass while it stands still: nothing is stored, nobody is told, nothing is waited for."""

        def tick(count: int) -> None:
            self._bytes_read += count
            shelf.look()

        return self._through(cache, Intake(shelf, self._request.rights, tick, ours=self._ours, still=True))

    def _roots_before(self, cache: Cache, now: tuple[Root, ...]) -> tuple[Root, ...] | None:
        if cache.summary is not None:
            return tuple(
                Root(path=root.path, entry=entry) for root, entry in zip(now, cache.summary.roots, strict=True)
            )
        return self._repository.manifest(self._newest).roots if self._newest is not None else None

    def _manifest(self, passage: Passage, still: bool, at: float, took_s: float) -> Manifest:
        """The writer fills in what it knows better: numbers, parent, version."""
        request = self._request
        consistency = Consistency.FREEZE if still else Consistency.GUARD
        return Manifest(
            format=0,
            repository="",
            agent=request.agent,
            seq=0,
            epoch=0,
            at=at,
            took_s=took_s,
            parent="",
            cause=request.cause,
            label=request.label,
            consistency=Consistency.FUZZY if passage.fuzzy else consistency,
            roots=passage.roots,
            files=passage.files,
            bytes=passage.bytes,
            bytes_new=0,
            fuzzy=tuple(passage.fuzzy),
            left_out=tuple(passage.left_out),
            instance=request.instance,
            pod_user=request.pod_user,
            recipe=request.recipe,
            spec=request.spec,
            rest=self._rest(),
        )

    def _rest(self) -> Rest:
        """Known until now, when all was read?"""
        until_mono = self._request.rest_until_mono
        lasted = until_mono is None or time.monotonic() < until_mono
        return self._request.rest if lasted else Rest.UNKNOWN

    def _cached(self, name: str) -> Path | None:
        directory = self._request.cache
        if directory is None:
            return None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory / name

    def _ours(self) -> AbstractContextManager[None]:
        return acting_as(self._own)

    def _tick(self, count: int) -> None:
        self._bytes_read += count
        now = time.monotonic()
        if self._progress is not None and now - self._told_mono >= _TOLD_EVERY_S:
            self._told_mono = now
            self._progress(Progress(done=self._bytes_read, total=0, what="bytes read"))


def _entries(roots: tuple[Root, ...]) -> tuple[Entry | None, ...]:
    return tuple(root.entry for root in roots)


def _key(repository: Repository, request: CaptureRequest) -> bytes:
    """What the last snapshot's facts hold for: this repository, these paths and patterns."""
    paths = [os.fsencode(path) for path in request.paths]
    patterns = [os.fsencode(pattern) for pattern in request.exclude]
    return blake3(msgspec.msgpack.encode((repository.config.id, paths, patterns))).digest(16)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino
