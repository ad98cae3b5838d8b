"""What adds a snapshot: blobs into frames, frames into packs, packs into the store, and last the manifest.

The manifest's object is the commit: it is put only after every blob it names is in a pack that `put` returned from. A
writer that is left without `finish` leaves packs that nobody names, which the next run makes use of and gc takes out.
A blob in a condemned pack counts as absent. Frames are compressed and sealed where they are filled: threads for that
cost an eighth more CPU, which is the agent's, for a fifth less time. A thread stores the last pack meanwhile; only one
waits there, so memory stays flat. Called by capture and by repacking; one at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from blake3 import blake3
from msgspec.structs import replace

from holdfast import __version__
from holdfast.errors import STATE_IN_USE, HoldfastError
from holdfast.state.keeping.condemning import condemned_packs
from holdfast.state.model import ID_BYTES, BlobId, Manifest, Snapshot
from holdfast.state.store import manifests, names
from holdfast.state.store.pack import FRAME_BYTES, PACK_BYTES, BlobKind, BlobRow, PackBuilder, encode_frame
from holdfast.state.store.repository import Repository

_T = TypeVar("_T")
_REMEMBERED_MAX = 65_536  # ids of a first snapshot, some 100 bytes each
_BLOBS_PER_PACK = 16_384  # of very small files: bounds what is remembered of a pack that is not stored yet


class _OpenFrame:
    __slots__ = ("pieces", "rows", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.rows: list[tuple[BlobId, int, int, int]] = []  # id, inner, length, kind
        self.size = 0


class Writer:
    """Use it as a context manager; leaving it without `finish` commits nothing."""

    def __init__(self, repository: Repository, condemned: frozenset[str] = frozenset(), epoch: int = 0) -> None:
        """`condemned`: packs not to count on, beside those that gc has marked. `epoch`: from writing.lock.

        Raises StoreError.
        """
        self.repository = repository
        self.bytes_new = 0  # stored by this writer
        self.blobs_new = 0
        live = repository.snapshots()
        gone = [one.snapshot for one in repository.trashed()]
        newest = max([*live, *gone], key=lambda one: (one.seq, one.epoch), default=None)
        self.newest = live[-1] if live else None
        self._met = {one.name for one in (*live, *gone)}
        self._seq = newest.seq + 1 if newest else 1
        self._parent = newest.id if newest else ""
        self.epoch = max([epoch, *(one.epoch for one in live), *(one.epoch for one in gone)])
        self._condemned = condemned
        self._id_key = repository.keys.ids
        self._fresh: set[BlobId] = set()  # put, and not in the index yet
        self._ready = False
        self._failure: BaseException | None = None
        self._nothing_stored = False
        self._data = _OpenFrame()
        self._looked_at = _OpenFrame()  # trees and extents
        self._pack: PackBuilder | None = None
        self._frame_number = 0
        self._pack_rows: list[BlobRow] = []
        self._pack_raw = 0
        self._storing: deque[tuple[Future[object], str, PackBuilder, list[BlobRow]]] = deque()
        self._store_pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store_pool is not None:
            self._store_pool.shutdown(wait=True, cancel_futures=True)

    def put(self, data: bytes, kind: BlobKind = BlobKind.DATA) -> BlobId:
        """Its id; stored unless it is already. Raises StoreError, from a pack that was handed over before too."""
        blob = blake3(data, key=self._id_key).digest(ID_BYTES)
        if blob in self._fresh:
            return blob
        if not self._ready:
            self._prepare()
        if not self._nothing_stored and self.repository.index.kept(blob):
            return blob
        self._take(blob, data, kind)
        return blob

    def put_many(self, pieces: Sequence[bytes | memoryview], kind: BlobKind = BlobKind.DATA) -> list[BlobId]:
        """As `put` for each, with one look into the index: for the pages of a database.

        Views are kept as they are where all is new: then their buffer is stored as a whole.
        """
        key = self._id_key
        blobs = [blake3(piece, key=key).digest(ID_BYTES) for piece in pieces]
        if not self._ready:
            self._prepare()
        known = set() if self._nothing_stored else self.repository.index.all_kept(blobs)
        fresh = self._fresh
        for blob, piece in zip(blobs, pieces, strict=True):
            if blob not in fresh and blob not in known:
                self._take(blob, bytes(piece) if known else piece, kind)
        return blobs

    def has(self, blob: BlobId) -> bool:
        """Whether a put of this content would store nothing."""
        if blob in self._fresh:
            return True
        if not self._ready:
            self._prepare()
        return self.repository.index.kept(blob)

    def known(self, blobs: list[BlobId]) -> set[BlobId]:
        """Those of them of which a put would store nothing."""
        if not self._ready:
            self._prepare()
        found = set() if self._nothing_stored else self.repository.index.all_kept(blobs)
        return found | self._fresh.intersection(blobs)

    def _prepare(self) -> None:
        self.repository.refresh()
        self.repository.index.condemn(self._condemned | condemned_packs(self.repository.store))
        self._nothing_stored = self.repository.index.empty()
        self._ready = True

    def _take(self, blob: BlobId, data: bytes | memoryview, kind: BlobKind) -> None:
        frame = self._looked_at if kind else self._data
        length = len(data)
        if frame.size + length > FRAME_BYTES and frame.pieces:
            self._hand_over(frame)
        frame.rows.append((blob, frame.size, length, kind))
        frame.pieces.append(data)
        frame.size += length
        self._fresh.add(blob)
        self.blobs_new += 1

    def _hand_over(self, frame: _OpenFrame) -> None:
        """Put a frame into the pack, and a pack that is full on its way."""
        if not frame.pieces:
            return
        if self._pack is None:
            self._pack = PackBuilder(self.repository.keys, sealed=self.repository.config.encrypted)
            self._frame_number = 0
        number = self._frame_number
        self._frame_number += 1
        try:
            self._pack.add_frame(*encode_frame(self._pack.envelope, number, frame.pieces))
        except BaseException as failure:
            self._failure = failure
            raise
        self._pack_rows += [(blob, number, inner, length, kind) for blob, inner, length, kind in frame.rows]
        frame.pieces, frame.rows, frame.size = [], [], 0
        if self._pack.size >= PACK_BYTES or len(self._pack_rows) >= _BLOBS_PER_PACK:
            self._close_pack()

    def _awaited(self, future: Future[_T]) -> _T:
        """What was put is gone with what failed, so this writer never commits again."""
        try:
            return future.result()
        except BaseException as failure:
            self._failure = failure
            raise

    def _close_pack(self) -> None:
        """Hand the pack to the storing thread; at most one waits there, so that memory stays flat."""
        pack = self._pack
        if pack is None:
            return
        self._pack = None
        rows, self._pack_rows = self._pack_rows, []
        pack.footer.blobs.extend(rows)
        name, pieces = pack.close()
        self._settle(0)
        if self._store_pool is None:
            self._store_pool = ThreadPoolExecutor(1, "packs")
        store = self.repository.store
        self._storing.append((self._store_pool.submit(store.put, names.pack_object(name), pieces), name, pack, rows))

    def _settle(self, leave: int) -> None:
        """Wait until at most so many packs are on their way; what is stored is entered in the index."""
        while len(self._storing) > leave:
            future, name, pack, rows = self._storing.popleft()
            self._awaited(future)
            self.repository.index.add(name, pack.size, pack.envelope.header, pack.footer)
            self.bytes_new += pack.size
            if self._nothing_stored and len(self._fresh) <= _REMEMBERED_MAX:
                continue  # all there is was put by this writer: the index need not be asked yet
            self._nothing_stored = False
            self._fresh.difference_update(row[0] for row in rows)

    def flush(self) -> None:
        """All that was put so far is stored and survives a power cut. Raises StoreError, again after a failure."""
        if self._failure is not None:
            raise self._failure
        self._hand_over(self._data)
        self._hand_over(self._looked_at)
        self._close_pack()
        self._settle(0)

    def finish(self, draft: Manifest) -> Snapshot:
        """Commit: close the pack, then put the manifest.

        Its format, repository, agent, seq, epoch, parent, bytes_new and version are filled in here. Raises StoreError;
        HoldfastError when somebody else has committed since this writer began.
        """
        self.flush()
        repository = self.repository
        if any(one.name not in self._met for one in self._listed()):
            reason = "a newer snapshot has appeared meanwhile"
            raise HoldfastError(STATE_IN_USE, where=repository.store.where, reason=reason)
        manifest = replace(
            draft,
            format=manifests.FORMAT,
            repository=repository.config.id,
            agent=repository.config.agent,
            seq=self._seq,
            epoch=self.epoch,
            parent=self._parent,
            bytes_new=self.bytes_new,
            version=__version__,
        )
        manifest = replace(manifest, bytes_new=self.bytes_new + len(self._sealed(manifests.encode(manifest))))
        plain = manifests.encode(manifest)
        snapshot_id = repository.keys.blob_id(plain).hex()
        name = names.snapshot_name(manifest.at, manifest.seq, manifest.epoch, snapshot_id)
        repository.store.put(names.SNAPS + name, self._sealed(plain))
        self.bytes_new = manifest.bytes_new
        snapshot = names.read_snapshot(name)
        assert snapshot is not None
        self._met.add(name)
        self._seq += 1
        self._parent = snapshot_id
        return snapshot

    def _listed(self) -> list[Snapshot]:
        """Also what was committed and deleted again at once: whoever did that has the newer number. Trash comes last: a
        snapshot on its way there is in both."""
        return [*self.repository.snapshots(), *(one.snapshot for one in self.repository.trashed())]

    def _sealed(self, plain: bytes) -> bytes:
        return manifests.seal(plain, self.repository.keys, sealed=self.repository.config.encrypted)
