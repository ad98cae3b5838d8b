"""Blobs out of packs, each checked by its id: in order, each frame decoded once, neighbours read together.

Memory is bounded whatever is read: a few MiB of frames ahead, and the frames last used. A blob whose frame is damaged
is looked for in other packs before it is given up. Called by the repository alone; one thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from blake3 import blake3

from holdfast.state.model import ID_BYTES, BlobId
from holdfast.state.store.damage import Damaged, MissingBlob
from holdfast.state.store.ids import Keys
from holdfast.state.store.index import Index, Place
from holdfast.state.store.names import pack_object
from holdfast.state.store.objects import Missing, Store, StoreError
from holdfast.state.store.pack import MAGIC, FrameRow, decode_frame
from holdfast.state.store.sealing import Envelope, Unsealable

BATCH_BLOBS = 512
AHEAD_BYTES = 4 * 1024 * 1024  # of raw frames, fetched together
KEPT_BYTES = 12 * 1024 * 1024  # of raw frames last used
_GAP_BYTES = 64 * 1024  # reading over a gap costs less than asking again
_ENVELOPES = 64

FrameKey = tuple[int, int]  # pack, frame


class Frames:
    """Raw frames of a repository: fetched together, the ones last used kept."""

    def __init__(self, store: Store, keys: Keys, index: Index) -> None:
        self._store = store
        self._keys = keys
        self._index = index
        self._kept: OrderedDict[FrameKey, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._envelopes: OrderedDict[int, Envelope] = OrderedDict()

    def get(self, key: FrameKey) -> bytes | None:
        raw = self._kept.get(key)
        if raw is not None:
            self._kept.move_to_end(key)
        return raw

    def clear(self) -> None:
        self._kept.clear()
        self._envelopes.clear()
        self._kept_bytes = 0

    def fetch(self, wanted: Iterable[FrameKey]) -> dict[FrameKey, bytes]:
        """Read and decode them. Raises StoreError (Missing: a pack is gone), Damaged, KeyError: the index lost it."""
        by_pack: dict[int, list[tuple[FrameRow, int]]] = {}
        for pack, number in wanted:
            by_pack.setdefault(pack, []).append((self._index.frame(pack, number), number))
        fetched: dict[FrameKey, bytes] = {}
        for pack, rows in by_pack.items():
            rows.sort()
            self._fetch_of_pack(pack, rows, fetched)
        return fetched

    def _fetch_of_pack(self, pack: int, rows: list[tuple[FrameRow, int]], into: dict[FrameKey, bytes]) -> None:
        facts = self._index.pack(pack)
        envelope = self._envelope(pack, facts.header, facts.name)
        spans: list[tuple[int, int]] = []
        of_span: list[list[tuple[FrameRow, int]]] = []
        for row, number in rows:
            end = row[0] + row[1]
            if spans and row[0] - (spans[-1][0] + spans[-1][1]) <= _GAP_BYTES:
                spans[-1] = (spans[-1][0], end - spans[-1][0])
                of_span[-1].append((row, number))
            else:
                spans.append((row[0], row[1]))
                of_span.append([(row, number)])
        try:
            pieces = self._store.ranges(pack_object(facts.name), spans)
        except Missing:
            raise
        except StoreError as error:
            if self._store.size(pack_object(facts.name)) < facts.size:
                raise Damaged(f"pack {facts.name}", "it was cut off") from error
            raise
        for (begin, _length), piece, some in zip(spans, pieces, of_span, strict=True):
            view = memoryview(piece)
            for row, number in some:
                stored = view[row[0] - begin : row[0] - begin + row[1]]
                raw = decode_frame(envelope, number, row, stored, facts.name)
                into[pack, number] = raw
                self._keep((pack, number), raw)

    def _envelope(self, pack: int, header: bytes, name: str) -> Envelope:
        envelope = self._envelopes.get(pack)
        if envelope is None:
            try:
                envelope = Envelope.of(header, MAGIC, self._keys.seal)
            except Unsealable as error:
                raise Damaged(f"pack {name}", str(error)) from None
            self._envelopes[pack] = envelope
            if len(self._envelopes) > _ENVELOPES:
                self._envelopes.popitem(last=False)
        return envelope

    def _keep(self, key: FrameKey, raw: bytes) -> None:
        if key in self._kept or len(raw) > KEPT_BYTES // 2:
            return
        self._kept[key] = raw
        self._kept_bytes += len(raw)
        while self._kept_bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)


class Reader:
    """Blobs by id. `refresh` brings the index up to date with the store.

    `rescue`: asked last for a blob that is damaged or missing, with the packs that should have had it; None: in vain.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        index: Index,
        refresh: Callable[[], None],
        rescue: Callable[[BlobId, list[str]], bytes | None] = lambda blob, packs: None,
    ) -> None:
        self._rescue = rescue
        self._keys = keys
        self._index = index
        self._refresh = refresh
        self._frames = Frames(store, keys, index)

    def read_many(self, ids: Iterable[BlobId]) -> Iterator[bytes]:
        """In order. Raises Damaged, MissingBlob, StoreError."""
        source = iter(ids)
        while batch := list(islice(source, BATCH_BLOBS)):
            yield from self._batch(batch)

    def _batch(self, batch: list[BlobId]) -> Iterator[bytes]:
        found = self._index.find(batch)
        at = 0
        while at < len(batch):
            end, wanted = self._ahead(batch, at, found)
            try:
                fetched = self._frames.fetch(wanted)
            except (StoreError, KeyError):
                fetched = {}  # each blob is then looked for by itself, and whatever is wrong is said of it
            yield from self._checked(batch[at:end], found, fetched)
            at = end

    def _ahead(
        self, batch: list[BlobId], at: int, found: dict[BlobId, tuple[int, int, int, int]]
    ) -> tuple[int, list[FrameKey]]:
        """How far to go at once, and which frames that needs. At least one blob."""
        wanted: dict[FrameKey, None] = {}
        last: FrameKey | None = None
        size = 0
        for here in range(at, len(batch)):
            place = found.get(batch[here])
            if place is None:
                continue
            key = place[:2]
            if key == last or key in wanted:
                continue
            last = key
            if self._frames.get(key) is not None:
                continue
            try:
                size += self._index.frame(*key)[2]
            except KeyError:
                continue
            if size > AHEAD_BYTES and wanted:
                return here, list(wanted)
            wanted[key] = None
        return len(batch), list(wanted)

    def _checked(
        self,
        blobs: list[BlobId],
        found: dict[BlobId, tuple[int, int, int, int]],
        fetched: dict[FrameKey, bytes],
    ) -> Iterator[bytes]:
        id_key = self._keys.ids
        last: FrameKey | None = None
        raw: bytes | None = None
        for blob in blobs:
            place = found.get(blob)
            if place is not None:
                key = place[:2]
                if key != last:
                    raw = fetched.get(key) or self._frames.get(key)
                    last = key
                if raw is not None:
                    data = raw[place[2] : place[2] + place[3]]
                    if blake3(data, key=id_key).digest(ID_BYTES) == blob:
                        yield data
                        continue
            yield self.read(blob)

    def forget(self) -> None:
        """Frames that were kept."""
        self._frames.clear()

    def read(self, blob: BlobId) -> bytes:
        """One, wherever it still is. Raises Damaged, MissingBlob, StoreError."""
        trouble: StoreError | None = None
        for fresh in (False, True):
            data, trouble = self.anywhere(blob)
            if data is not None:
                return data
            if trouble is not None and not trouble.lasting:
                break  # the disk or the line, not the index
            if not fresh:
                # Packs may have been packed anew since the index was made, or the index itself may be wrong.
                self._frames.clear()
                self._index.drop(self._index.pack(place.pack).name for place in self._index.places(blob))
                self._refresh()
        suspects = [self._index.pack(place.pack).name for place in self._index.places(blob)]
        data = self._rescue(blob, [*suspects, *self._index.unreadable])
        if data is not None:
            return data
        if trouble is None and self._index.unreadable:
            pack, reason = next(iter(self._index.unreadable.items()))
            trouble = Damaged(f"pack {pack}", f"{reason}; blob {blob.hex()} is in no other")
        raise trouble or MissingBlob(blob)

    def anywhere(self, blob: BlobId) -> tuple[bytes | None, StoreError | None]:
        """Its content, as the index knows it; or what stood in the way first."""
        trouble: StoreError | None = None
        for place in self._index.places(blob):
            try:
                data = self._at(place)
                if self._keys.blob_id(data) == blob:
                    return data, None
                pack = self._index.pack(place.pack).name
                trouble = trouble or Damaged(f"pack {pack}", f"blob {blob.hex()} is not what its id says")
            except (Missing, KeyError):
                continue
            except StoreError as error:  # damaged, or the disk cannot read it
                trouble = trouble or error
        return None, trouble

    def _at(self, place: Place) -> bytes:
        key = (place.pack, place.frame)
        raw = self._frames.get(key)
        if raw is None:
            raw = self._frames.fetch([key])[key]
        return raw[place.inner : place.inner + place.length]
