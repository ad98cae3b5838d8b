"""One directory of a passage: taken over as it was, or made anew from what is known of it and what is read.

Invariant: the tree of a directory whose signature and whose directories are the same is taken over without being read;
an entry that differs in anything the file system tells is read. What stands beside a database is part of its image and
no entry. Called by passage.py, which acts as the agent.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from holdfast import limits
from holdfast.state import opening
from holdfast.state.capture import walk
from holdfast.state.capture.statcache import Notes, Record
from holdfast.state.databases.database import SUFFIXES
from holdfast.state.model import Content, Entry, Kind
from holdfast.state.opening import Replaced
from holdfast.state.store import tree
from holdfast.state.store.damage import Damaged, MissingBlob
from holdfast.state.store.pack import BlobKind

if TYPE_CHECKING:
    from holdfast.state.capture.passage import Passage

_BATCH_BYTES = 1024 * 1024  # small contents stored together: one look into the index, one change of rights
_BATCH_FILES = 512
SWAPPED = "something else was put in its place while it was read"


class CannotCapture(Exception):
    """A state path, or what was asked, cannot be taken at all; str() says which and why."""


class Below(NamedTuple):
    """A directory inside the one that is looked at. `same`: its tree is the one of the last snapshot."""

    tree: bytes
    same: bool
    seen: os.stat_result
    xattrs: tuple[tuple[bytes, bytes], ...]


class Directory:
    """One directory of one passage."""

    def __init__(self, passage: Passage, root: int, root_path: str, path: tuple[bytes, ...], fd: int) -> None:
        self._passage = passage
        self._root = root
        self._root_path = root_path
        self._path = path
        self._fd = fd
        self._record: Record | None = None
        self._is_lost = False  # its tree cannot be read
        self._before: dict[bytes, Entry] = {}
        self._facts_before: dict[bytes, bytes] = {}
        self._traces_before: dict[bytes, bytes] = {}
        self._entries: list[Entry] = []
        self._batch: list[tuple[Entry, bytes]] = []
        self._batch_bytes = 0
        self._left_out: list[tuple[bytes, str]] = []
        self._distrusted: set[bytes] = set()
        self._traces: dict[bytes, bytes] = {}

    def take(self) -> tuple[bytes, bool]:
        """(its tree, whether that is the tree of the last snapshot). Raises OSError where it cannot be listed."""
        self._passage.intake.tick(0)
        listing = walk.scan(self._fd)
        below: dict[bytes, Below | str | None] = {}
        same = True
        exclusion = self._passage.exclusion
        for name in listing.directories:
            path = (*self._path, name)
            if exclusion and exclusion.leaves_out(b"/".join(path), directory=True):
                continue
            found = below[name] = self._enter(name, path)
            same = same and isinstance(found, Below) and found.same
        self._record = self._passage.cache.find(self._root, self._path)
        if self._record is not None and same and self._record.signature == listing.signature:
            self._passage.cache.same()
            self._passage.account(self._shown(), self._record.notes)
            return self._record.tree, True
        return self._anew(listing.signature, below)

    def _enter(self, name: bytes, path: tuple[bytes, ...]) -> Below | str | None:
        """What is inside; or why it is left out; None: it is gone."""
        if len(path) > limits.SNAPSHOT_DEPTH_MAX:
            return f"more than {limits.SNAPSHOT_DEPTH_MAX} directories lie in each other"
        passage = self._passage
        try:
            fd = opening.open_directory(self._fd, name)
        except FileNotFoundError:
            return None
        except Replaced:
            return SWAPPED
        except OSError as e:
            return f"it cannot be read: {e.strerror}"
        try:
            seen = os.fstat(fd)
            if (seen.st_dev, seen.st_ino) in passage.never:
                return "it holds Holdfast's own files"
            tree_id, same = Directory(passage, self._root, self._root_path, path, fd).take()
            return Below(tree_id, same, seen, opening.user_xattrs(fd))
        except OSError as e:
            return f"it cannot be read: {e.strerror}"
        finally:
            os.close(fd)

    # --- changed directories ---------------------------------------------------------------------------------

    def _anew(self, signature: bytes, below: dict[bytes, Below | str | None]) -> tuple[bytes, bool]:
        record = self._record
        if record is not None:
            try:
                with self._passage.intake.ours():
                    self._before = {entry.name: entry for entry in self._passage.repository.tree(record.tree)}
                self._remember(record)
            except (Damaged, MissingBlob):  # what was kept is lost: all of it is read and stored anew
                self._is_lost = True
        self._all(signature, below)
        return self._finish(signature)

    def _remember(self, record: Record) -> None:
        self._facts_before = walk.entries(record.signature)
        self._traces_before = dict(record.notes.traces)

    def _all(self, signature: bytes, below: dict[bytes, Below | str | None]) -> None:
        facts = walk.entries(signature)
        exclusion = self._passage.exclusion
        beside: list[bytes] = []
        for name, seen in facts.items():
            if stat.S_ISDIR(walk.mode_of(seen)):
                self._directory(name, seen, below)
            elif exclusion and exclusion.leaves_out(b"/".join((*self._path, name)), directory=False):
                continue
            elif any(name.endswith(suffix) and name[: -len(suffix)] in facts for suffix in SUFFIXES):
                beside.append(name)
            else:
                self._one(name, facts)
        databases = {entry.name for entry in self._entries if entry.content is Content.DATABASE}
        for name in beside:
            if not any(name.endswith(suffix) and name[: -len(suffix)] in databases for suffix in SUFFIXES):
                self._one(name, facts)
        self._store_batch()

    def _directory(self, name: bytes, seen: bytes, below: dict[bytes, Below | str | None]) -> None:
        if name not in below:
            return  # left out by a pattern
        found = below[name]
        before = self._before.get(name)
        if isinstance(found, str):
            self._leave_out(name, found)
        elif found is not None and before is not None and seen == self._facts_before.get(name):
            self._entries.append(before if before.blobs[0] == found.tree else replace(before, blobs=(found.tree,)))
        elif found is not None:
            self._entries.append(directory_entry(name, found, before))

    def _one(self, name: bytes, facts: dict[bytes, bytes]) -> None:
        """An entry that is no directory: as it was, or read."""
        before = self._before.get(name)
        trace = self._traces_before.get(name, b"")
        if self._passage.mapped:
            inode, size = walk.inode_and_size(facts[name])
            if inode in self._passage.mapped and size <= limits.SNAPSHOT_REREAD_BYTES:
                self._distrusted.add(name)
        if before is not None and not before.fuzzy and not self._changed(name, before, facts):
            self._entries.append(before)
            if trace:
                self._traces[name] = trace
            return
        intake = self._passage.intake
        try:
            made = self._fresh(name, before, trace)
        except FileNotFoundError:
            return
        if isinstance(made, str):
            self._leave_out(name, made)
            return
        entry, content = made
        self._traces.update(intake.traces)
        intake.traces.clear()
        if entry.fuzzy:
            self._distrusted.add(name)
        if content is None:
            self._entries.append(entry)
            return
        self._batch.append((entry, content))
        self._batch_bytes += len(content)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._store_batch()

    def _fresh(self, name: bytes, before: Entry | None, trace: bytes) -> tuple[Entry, bytes | None] | str:
        """As the passage's; what was kept of it and is lost is stored anew."""
        try:
            return self._passage.fresh(self._fd, name, before, trace)
        except (Damaged, MissingBlob):
            if before is None:
                raise
            return self._passage.fresh(self._fd, name, None, b"")

    def _changed(self, name: bytes, before: Entry, facts: dict[bytes, bytes]) -> bool:
        then = self._facts_before
        if facts[name] != then.get(name):
            return True
        if before.content is not Content.DATABASE:
            return False
        return any(facts.get(name + suffix) != then.get(name + suffix) for suffix in (b"-wal", b"-journal"))

    def _leave_out(self, name: bytes, why: str) -> None:
        self._left_out.append((name, why))
        if why == SWAPPED:
            self._distrusted.add(name)

    def _store_batch(self) -> None:
        if not self._batch:
            return
        intake = self._passage.intake
        with intake.ours():
            ids = intake.writer.put_many([content for _, content in self._batch])
        self._entries += [replace(entry, blobs=(blob,)) for (entry, _), blob in zip(self._batch, ids, strict=True)]
        self._batch = []
        self._batch_bytes = 0

    def _finish(self, signature: bytes) -> tuple[bytes, bool]:
        """Store the tree, unless it is the one of the last snapshot, and note it for the next one."""
        passage, record = self._passage, self._record
        data = tree.encode(self._entries)
        tree_id = passage.repository.keys.blob_id(data)
        same = record is not None and record.tree == tree_id and not self._is_lost
        if not same:
            with passage.intake.ours():
                passage.intake.writer.put(data, BlobKind.TREE)
        self._note(tree_id, signature)
        return tree_id, same

    def _note(self, tree_id: bytes, signature: bytes) -> None:
        passage = self._passage
        files = [entry for entry in self._entries if entry.kind is not Kind.DIRECTORY]
        notes = Notes(
            files=len(files),
            size=sum(entry.size for entry in files),
            left_out=tuple(self._left_out),
            fuzzy=tuple(entry.name for entry in files if entry.fuzzy),
            traces=tuple(self._traces.items()),
        )
        passage.account(self._shown(), notes)
        kept = walk.distrust(signature, self._distrusted, passage.since_ns, time.time_ns())
        passage.cache.put(
            Record(root=self._root, path=self._path, tree=tree_id, signature=kept, notes=notes),
            instead=self._record is not None,
        )

    # --- a state path that is a file ---------------------------------------------------------------------------

    def alone(self, name: bytes, before: Entry | None) -> Entry | None:
        """The file `name` of the open directory, which is no part of the state itself. None: it is gone."""
        passage = self._passage
        names = [os.fsdecode(name + suffix) for suffix in (b"", *SUFFIXES)]
        signature = walk.look(self._fd, names).signature
        self._record = record = passage.cache.find(self._root, ())
        if record is not None and before is not None and record.signature == signature:
            passage.cache.same()
            passage.account(self._shown(), record.notes)
            return before
        if record is not None and before is not None:
            self._before = {name: before}
            self._remember(record)
        facts = walk.entries(signature)
        if name not in facts:
            return None
        self._one(name, facts)
        self._store_batch()
        self._note(bytes(16), signature)
        if not self._entries:
            reason = self._left_out[0][1] if self._left_out else "it vanished"
            raise CannotCapture(f"state path {self._root_path}: {reason}")
        return self._entries[0]

    def _shown(self) -> str:
        return "/".join((self._root_path, *(part.decode("utf-8", "backslashreplace") for part in self._path)))


def directory_entry(name: bytes, below: Below, before: Entry | None) -> Entry:
    """Of a directory. One that holds the same as before keeps its time: only what is left out came or went."""
    kept = before is not None and before.kind is Kind.DIRECTORY and before.blobs == (below.tree,)
    return Entry(
        name=name,
        kind=Kind.DIRECTORY,
        mode=stat.S_IMODE(below.seen.st_mode),
        uid=below.seen.st_uid,
        gid=below.seen.st_gid,
        mtime_ns=before.mtime_ns if kept and before is not None else below.seen.st_mtime_ns,
        blobs=(below.tree,),
        xattrs=below.xattrs,
    )
