"""One agent's repository: immutable objects in a store, and what they mean together.

It opens, lists and reads; only the writer adds snapshots. Nothing read is returned before its id was checked. With a
cache directory the index is kept there between uses, else it is made in memory from the packs' footers. With a `spare`
(the second place) what is damaged or missing is put right from there when it is met. Called by the
worker's jobs, restore, history, gc and verification; one thread at a time.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.errors import SNAPSHOT_AMBIGUOUS, SNAPSHOT_NOT_FOUND, HoldfastError
from holdfast.state.model import ID_BYTES, BlobId, Content, Entry, Manifest, Pin, Snapshot
from holdfast.state.store import config as configs
from holdfast.state.store import manifests, names
from holdfast.state.store.config import RepositoryConfig
from holdfast.state.store.damage import Damaged, MissingBlob
from holdfast.state.store.ids import Keys
from holdfast.state.store.index import Index, PackFacts
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import Missing, Store, StoreError
from holdfast.state.store.pack import TAIL, Footer, read_footer, read_tail
from holdfast.state.store.reading import Reader
from holdfast.state.store.sealing import HEADER_BYTES
from holdfast.state.store.spare import Spare

AMBIGUOUS_LISTED_MAX = 5
_TAIL_BYTES = 64 * 1024  # the footer of most packs, in one request
_ZEROS = bytes(256 * 1024)
_PAIR = struct.Struct("<QQ")
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])


class Repository:
    """Open it with `create` or `open`."""

    def __init__(self, store: Store, config: RepositoryConfig, keys: Keys, cache: Path | None) -> None:
        self.store = store
        self.config = config
        self.keys = keys
        self._cache = cache
        self._index: Index | None = None
        self._reader: Reader | None = None
        self.spare: Spare | None = None
        self._elsewhere: Repository | None = None  # packs that only the spare has

    @classmethod
    def create(
        cls, store: Store, agent: str, recovery_key: bytes, *, encrypt: bool, cache: Path | None = None
    ) -> Repository:
        """A new one; whoever created it a moment before us is joined. Raises StoreError, and what `open` raises."""
        config, repository_key = configs.fresh(agent, time.time(), encrypt=encrypt)
        if not store.put(names.CONFIG, configs.encode(config, repository_key, recovery_key)):
            return cls.open(store, recovery_key, cache)
        return cls(store, config, Keys.derive(repository_key), cache)

    @classmethod
    def open(cls, store: Store, recovery_key: bytes, cache: Path | None = None) -> Repository:
        """Raises Missing (there is none), Damaged, StoreError, HoldfastError: newer format, wrong recovery key."""
        config, repository_key = configs.decode(store.get(names.CONFIG), recovery_key, store.where)
        return cls(store, config, Keys.derive(repository_key), cache)

    def close(self) -> None:
        if self._elsewhere is not None:
            self._elsewhere.close()
            self._elsewhere = None
        if self._index is not None:
            self._index.close()
        self._index = self._reader = None

    # --- what there is ---------------------------------------------------------------------------------------

    def snapshots(self) -> list[Snapshot]:
        """The live ones by seq, oldest first. Raises StoreError."""
        found = (names.read_snapshot(one.name.removeprefix(names.SNAPS)) for one in self.store.list(names.SNAPS))
        return sorted((one for one in found if one), key=lambda one: (one.seq, one.epoch, one.id))

    def trashed(self) -> list[Trashed]:
        """Deleted ones that may be brought back, by seq. Raises StoreError."""
        found = (names.read_trashed(one.name) for one in self.store.list(names.TRASH))
        return sorted((one for one in found if one), key=lambda one: (one.snapshot.seq, one.snapshot.id, one.deadline))

    def pins(self) -> list[Pin]:
        """Raises StoreError."""
        found = (names.read_pin(one.name) for one in self.store.list(names.PINS))
        return sorted((one for one in found if one), key=lambda one: (one.id, one.why))

    def find(self, text: str) -> Snapshot:
        """A live snapshot by the first digits of its id. Raises HoldfastError: none, several."""
        wanted = text.strip().lower()
        found = {one.id: one for one in self.snapshots() if wanted and one.id.startswith(wanted)}
        if not found:
            raise HoldfastError(SNAPSHOT_NOT_FOUND, agent=self.config.agent, snapshot=text)
        if len(found) > 1:
            listed = ", ".join(one.short for one in list(found.values())[:AMBIGUOUS_LISTED_MAX])
            raise HoldfastError(
                SNAPSHOT_AMBIGUOUS, agent=self.config.agent, snapshot=text, count=len(found), listed=listed
            )
        return next(iter(found.values()))

    def manifest(self, of: Snapshot | Trashed) -> Manifest:
        """Checked by its id, and to be of this repository. Raises Missing, Damaged, StoreError, HoldfastError."""
        snapshot = of.snapshot if isinstance(of, Trashed) else of
        name = of.object_name if isinstance(of, Trashed) else names.snapshot_object(of)
        try:
            manifest = self._opened(name, snapshot.id, self.store.get(name))
        except Missing:
            raise  # what is live is decided here
        except StoreError:
            data = self.spare.whole(name) if self.spare is not None else None
            if self.spare is None or data is None:
                raise
            manifest = self._opened(name, snapshot.id, data)
            self.spare.mend(name, data)
        if manifest.repository != self.config.id or manifest.seq != snapshot.seq:
            raise Damaged(name, "it belongs elsewhere")
        return manifest

    def _opened(self, name: str, snapshot_id: str, data: bytes) -> Manifest:
        return manifests.decode(manifests.open_sealed(data, self.keys, snapshot_id, name), name)

    # --- blobs -----------------------------------------------------------------------------------------------

    def read(self, blob: BlobId) -> bytes:
        """Raises Damaged, MissingBlob, StoreError."""
        return self._reading().read(blob)

    def read_many(self, blobs: Iterable[BlobId]) -> Iterator[bytes]:
        """In order, each frame decoded once where they lie together. Raises Damaged, MissingBlob, StoreError."""
        return self._reading().read_many(blobs)

    def has(self, blob: BlobId) -> bool:
        if self.index.holds(blob):
            return True
        if not self.index.synced:
            self.refresh()
            return self.index.holds(blob)
        return False

    def locate(self, blob: BlobId) -> tuple[str, int]:
        """The pack that holds it, and the bytes it takes there: its share of its frame. Raises MissingBlob."""
        if not self.has(blob):
            raise MissingBlob(blob)
        place = self.index.places(blob)[0]
        frame = self.index.frame(place.pack, place.frame)
        return self.index.pack(place.pack).name, place.length * frame[1] // max(1, frame[2])

    def packs(self) -> list[PackFacts]:
        """As the store lists them now. Raises StoreError."""
        self.refresh()
        return self.index.packs()

    def contents(self, pack: str) -> list[tuple[BlobId, int, int, int]]:
        """Id, kind, length and stored bytes of each blob of a pack; empty for an unknown one."""
        return self.index.contents(pack)

    def delete_packs(self, packs: Sequence[str]) -> Iterator[str]:
        """Each one once it is deleted. All out of the index first: what it names is there, whenever we are killed.

        Raises StoreError.
        """
        self.index.drop(packs)
        self._reading().forget()
        for pack in packs:
            self.store.delete(names.pack_object(pack))
            yield pack

    # --- contents --------------------------------------------------------------------------------------------

    def tree(self, blob: BlobId) -> list[Entry]:
        """The entries of a directory. Raises Damaged, MissingBlob, StoreError."""
        try:
            return _ENTRIES.decode(self.read(blob))
        except msgspec.MsgspecError as error:
            raise Damaged(f"tree {blob.hex()}", str(error)) from None

    def entry_stream(self, entry: Entry) -> Iterator[bytes]:
        """The content of a file, holes as zeros. Raises Damaged, MissingBlob, StoreError."""
        if entry.content == Content.SPARSE:
            yield from self._with_zeros(entry)
            return
        total = 0
        for piece in self.read_many(entry.blobs if entry.content == Content.CHUNKS else self._ids(entry.blobs)):
            total += len(piece)
            yield piece
        if total != entry.size:
            raise Damaged(f"file {entry.name!r}", f"{total} bytes are kept of {entry.size}")

    def sparse_stream(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        """The data of a sparse file as (offset, bytes), rising. Raises Damaged, MissingBlob, StoreError."""
        segments = list(_PAIR.iter_unpack(self._map(entry)))
        pieces = self.read_many(self._ids(entry.blobs[1:]))
        at, left = 0, 0
        which = iter(segments)
        for piece in pieces:
            view = memoryview(piece)
            while view:
                if left == 0:
                    at, left = next(which, (0, 0))
                    if left == 0:
                        raise Damaged(f"file {entry.name!r}", "more is kept than its map names")
                part = view[:left]
                yield at, bytes(part)
                at += len(part)
                left -= len(part)
                view = view[len(part) :]
        if left or any(length for _, length in which):
            raise Damaged(f"file {entry.name!r}", "less is kept than its map names")

    def _map(self, entry: Entry) -> bytes:
        plain = self.read(entry.blobs[0]) if entry.blobs else b""
        end = 0
        if len(plain) % _PAIR.size == 0:
            for offset, length in _PAIR.iter_unpack(plain):
                if offset < end or length == 0:
                    break
                end = offset + length
            else:
                if end <= entry.size:
                    return plain
        raise Damaged(f"file {entry.name!r}", "its map of data makes no sense")

    def _with_zeros(self, entry: Entry) -> Iterator[bytes]:
        at = 0
        for offset, piece in self.sparse_stream(entry):
            yield from _zeros(offset - at)
            yield piece
            at = offset + len(piece)
        yield from _zeros(entry.size - at)

    def _ids(self, extents: Iterable[BlobId]) -> Iterator[BlobId]:
        for extent in self.read_many(extents):
            if len(extent) % ID_BYTES:
                raise Damaged("a list of blobs", "its length makes no sense")
            for at in range(0, len(extent), ID_BYTES):
                yield extent[at : at + ID_BYTES]

    # --- the index -------------------------------------------------------------------------------------------

    @property
    def index(self) -> Index:
        if self._index is None:
            self._index = Index(self._cache)
        return self._index

    def refresh(self) -> None:
        """Bring the index up to date with the store. Raises StoreError."""
        self.index.sync(self.store, self.footer)

    def footer(self, pack: str, size: int) -> tuple[bytes, Footer]:
        """Header and footer of a pack as stored. Raises Damaged, Missing, StoreError."""
        name = names.pack_object(pack)
        if size < HEADER_BYTES + TAIL.size:
            raise Damaged(f"pack {pack}", "it is too short")
        tail_bytes = min(_TAIL_BYTES, size)
        try:
            header, tail = self.store.ranges(name, [(0, HEADER_BYTES), (size - tail_bytes, tail_bytes)])
            begin = read_tail(tail, size, pack)
            length = size - TAIL.size - begin
            if length + TAIL.size <= tail_bytes:
                stored = tail[-TAIL.size - length : -TAIL.size]
            else:
                (stored,) = self.store.ranges(name, [(begin, length)])
        except (Missing, Damaged):
            raise
        except StoreError as error:
            if self.store.size(name) < size:
                raise Damaged(f"pack {pack}", "it was cut off") from error
            raise
        return header, read_footer(header, stored, self.keys, pack)[1]

    def _reading(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self.store, self.keys, self.index, self.refresh, self._rescued)
        return self._reader

    # --- the spare -------------------------------------------------------------------------------------------

    def bring(self, blobs: Iterable[BlobId]) -> set[BlobId]:
        """Those of these missing blobs that the spare has; their packs come home where there is room."""
        broken = list(self.index.unreadable)
        return {blob for blob in blobs if self.index.holds(blob) or self._rescued(blob, broken) is not None}

    def _rescued(self, blob: BlobId, packs: list[str]) -> bytes | None:
        """A blob that no pack here gives, by putting right the `packs` that should, or from one that is only there."""
        if self.spare is None:
            return None
        try:
            mended = [pack for pack in packs if self.spare.mend(names.pack_object(pack))]
            data = self._again(blob, mended) if mended else None
            return data if data is not None else self._from_elsewhere(blob, self.spare)
        except StoreError as error:
            self.spare.why = str(error)
            return None

    def _again(self, blob: BlobId, packs: list[str]) -> bytes | None:
        self.index.drop(packs)
        self._reading().forget()
        self.refresh()
        return self._reading().anywhere(blob)[0]

    def _from_elsewhere(self, blob: BlobId, spare: Spare) -> bytes | None:
        if self._elsewhere is None:
            others = spare.others()
            if others is None:
                return None
            self._elsewhere = Repository(others, self.config, self.keys, None)
        if not self._elsewhere.has(blob):
            return None
        pack, _ = self._elsewhere.locate(blob)
        if spare.mend(names.pack_object(pack)):
            data = self._again(blob, [pack])
            if data is not None:
                return data
        return self._elsewhere.read(blob)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count] if count < len(_ZEROS) else _ZEROS
        count -= len(_ZEROS)
