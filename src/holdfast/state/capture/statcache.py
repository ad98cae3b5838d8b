"""What the last snapshot saw of every directory, so that the next one recognises what did not change.

One record a directory, in the order the walk finishes them (a directory after all it holds): its path, its tree's id,
its signature, and what was left out of it. Invariant: every tree named here belongs to the snapshot named at the end,
which holds it against collection; a file that is damaged, of other paths or patterns, or of another snapshot than the
newest is as good as none. Reading and writing run along with the walk, so memory is one record. Called by capture.py.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3
from msgspec import Struct

from holdfast.state.model import ID_BYTES, Entry

FORMAT = 1
_MAGIC = b"HFSC"
_RECORD = struct.Struct(
    "<IHII"
)  # bytes that follow, root, bytes of path, of notes; tree, path, notes, signature follow
_TAIL = struct.Struct("<I16s4s")  # bytes of the summary, sum of all before, magic
_COPIED_BYTES = 1024 * 1024


class Notes(Struct, frozen=True, array_like=True):
    """What of a directory its tree does not tell. Names are bytes."""

    files: int = 0
    size: int = 0  # of their contents, bytes
    left_out: tuple[tuple[bytes, str], ...] = ()  # name, why
    fuzzy: tuple[bytes, ...] = ()
    traces: tuple[tuple[bytes, bytes], ...] = ()  # of databases: name, what its capture left


class Record(Struct, frozen=True):
    root: int
    path: tuple[bytes, ...]
    tree: bytes
    signature: bytes
    notes: Notes


class Summary(Struct, frozen=True, kw_only=True):
    """Of the whole file. `key`: digest of repository, paths and patterns."""

    format: int
    key: bytes
    snapshot: str
    roots: tuple[Entry | None, ...]


_NOTES = msgspec.msgpack.Encoder()
_NOTES_IN = msgspec.msgpack.Decoder(Notes)


def _after(root: int, path: tuple[bytes, ...]) -> tuple[int, tuple[tuple[int, bytes], ...]]:
    """Sorts as the walk finishes: what a directory holds comes before it."""
    return root, (*((0, part) for part in path), (1, b""))


class Cache:
    """The last file, read once from beginning to end, and the next one, which is only written if it differs."""

    def __init__(
        self,
        path: Path | None,
        key: bytes,
        snapshot: str,
        ours: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`path` None keeps nothing. `snapshot`: id of the newest, which the file must be of. `ours`: makes us
        ourselves for a block, since the walk acts as the agent, which must not reach this file."""
        self._path = path
        self._key = key
        self._ours = ours
        self._snapshot = snapshot
        self.summary: Summary | None = None
        self._old: BinaryIO | None = None
        self._old_end = 0
        self._passed = 0  # the records up to here were asked for or passed over
        self._ahead: tuple[Record, bytes] | None = None  # read, not yet asked for
        self._new: BinaryIO | None = None
        self._sum = blake3()
        if path is not None and snapshot:
            self._open_old(path)

    def close(self) -> None:
        """Without `commit`: the last file stays."""
        for file in (self._old, self._new):
            if file is not None:
                file.close()
        if self._new is not None:
            Path(self._new.name).unlink(missing_ok=True)
        self._old = self._new = None

    def find(self, root: int, path: tuple[bytes, ...]) -> Record | None:
        """The record of this directory. Asked in the order the walk finishes them, each once."""
        wanted = _after(root, path)
        while (record := self._peek()) is not None:
            at = _after(record.root, record.path)
            if at > wanted:
                return None
            if at == wanted:
                return record
            self._differ()  # of a directory that is gone: the next file must not have it
            self._pass()
        return None

    def same(self) -> None:
        """The record that `find` gave holds as it is."""
        record = self._ahead
        if record is not None and self._new is not None:
            self._write(record[1])
        self._pass()

    def put(self, record: Record, *, instead: bool) -> None:
        """The directory's new record. `instead`: of the one that `find` gave."""
        self._differ()
        if instead:
            self._pass()
        path = b"/".join(record.path)
        notes = _NOTES.encode(record.notes)
        body = b"".join((record.tree, path, notes, record.signature))
        self._write(_RECORD.pack(len(body), record.root, len(path), len(notes)) + body)

    def commit(self, snapshot: str, roots: tuple[Entry | None, ...], target: Path | None = None) -> None:
        """The new file replaces the last one, or goes to `target`. A failure costs the next snapshot time, no more."""
        if self._path is None:
            return
        if self._peek() is not None or self.summary is None:
            self._differ()
        if snapshot != self._snapshot or target is not None or roots != (self.summary and self.summary.roots):
            self._differ()
        if self._new is None:
            return
        with contextlib.suppress(OSError):
            summary = msgspec.msgpack.encode(Summary(format=FORMAT, key=self._key, snapshot=snapshot, roots=roots))
            self._write(summary)
            self._new.write(_TAIL.pack(len(summary), self._sum.digest(16), _MAGIC))
            self._new.close()
            os.replace(self._new.name, target or self._path)
            self._new = None

    # --- the last file ---------------------------------------------------------------------------------------

    def _open_old(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError:
            return
        try:
            self.summary = self._checked(file)
        except (OSError, ValueError, struct.error, msgspec.MsgspecError):
            self.summary = None
        if self.summary is None:
            file.close()
        else:
            file.seek(0)
            self._old = file

    def _checked(self, file: BinaryIO) -> Summary | None:
        size = os.fstat(file.fileno()).st_size
        file.seek(size - _TAIL.size)
        length, digest, magic = _TAIL.unpack(file.read(_TAIL.size))
        if magic != _MAGIC:
            return None
        file.seek(0)
        seen, left = blake3(), size - _TAIL.size
        while left > 0 and (piece := file.read(min(left, _COPIED_BYTES))):
            seen.update(piece)
            left -= len(piece)
        if left or seen.digest(16) != digest:
            return None
        self._old_end = size - _TAIL.size - length
        file.seek(self._old_end)
        summary = msgspec.msgpack.decode(file.read(length), type=Summary)
        fits = summary.format == FORMAT and summary.key == self._key and summary.snapshot == self._snapshot
        return summary if fits else None

    def _peek(self) -> Record | None:
        if self._ahead is None and self._old is not None and self._passed < self._old_end:
            head = self._old.read(_RECORD.size)
            length, root, path_bytes, notes_bytes = _RECORD.unpack(head)
            body = self._old.read(length)
            notes_at = ID_BYTES + path_bytes
            signature_at = notes_at + notes_bytes
            path = body[ID_BYTES:notes_at]
            record = Record(
                root=root,
                path=tuple(path.split(b"/")) if path else (),
                tree=body[:ID_BYTES],
                signature=body[signature_at:],
                notes=_NOTES_IN.decode(body[notes_at:signature_at]),
            )
            self._ahead = record, head + body
        return self._ahead[0] if self._ahead else None

    def _pass(self) -> None:
        if self._ahead is not None:
            self._passed += len(self._ahead[1])
            self._ahead = None

    # --- the next file ---------------------------------------------------------------------------------------

    def _differ(self) -> None:
        """From here on there is a new file; it begins with what has been the same until now."""
        if self._new is not None or self._path is None:
            return
        try:
            with self._ours():
                self._new = self._path.with_name(self._path.name + ".new").open("wb")
            if self._old is not None:
                with self._ours():
                    file = self._path.open("rb")  # the same file: nobody else replaces it
                with file:
                    left = self._passed
                    while left > 0 and (piece := file.read(min(left, _COPIED_BYTES))):
                        self._write(piece)
                        left -= len(piece)
        except OSError:
            self._give_up()

    def _write(self, data: bytes) -> None:
        if self._new is None:
            return
        try:
            self._new.write(data)
            self._sum.update(data)
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """A full disk: no cache the next time."""
        path, self._path = self._path, None
        new, self._new = self._new, None
        with self._ours(), contextlib.suppress(OSError):
            if new is not None:
                with contextlib.suppress(OSError):
                    new.close()
                Path(new.name).unlink(missing_ok=True)
            if path is not None:
                path.unlink(missing_ok=True)
