"""The ledger's one writer: appends records, survives full disks and crashes, never raises into healing.

Invariants: a record that append called durable is on stable storage; an earlier record is never changed; space for
LEDGER_RESERVE_BYTES of records is taken in advance; what could not be stored is counted and the count is recorded.
The keeper holds the only Ledger of a home; everybody else reads with `read` or `verify`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast import errors, limits
from holdfast.clock import Clock
from holdfast.ledger import record, segment
from holdfast.ledger.disk import Disk
from holdfast.ledger.reading import read
from holdfast.ledger.record import Head, Record
from holdfast.ledger.recovery import Found, find_end, set_aside

RETRY_S = 1.0  # how often more space is asked for while the disk is full
INDEX_EVERY = 64  # records between two remembered places of the current segment


class Ledger:
    """Open for appending. `head` is the last stored record; `lost` counts what could not be stored and is not yet
    recorded; `degraded` is "" or why the disk refuses."""

    def __init__(self, path: Path, clock: Clock, home_id: str, disk: Disk) -> None:
        self.path = path
        self.head = Head(0, record.genesis(home_id))
        self.lost = 0
        self._clock = clock
        self._home_id = home_id
        self._disk = disk
        self._lock_fd = -1
        self._fd = -1
        self._number = 0
        self._end = 0
        self._allocated = 0
        self._synced = 0
        self._places: list[tuple[int, int]] = []  # (seq, offset) in the current segment, ascending
        self._lost_since_ns = 0
        self._space_trouble = ""
        self._sync_trouble = ""
        self._retry_mono = 0.0
        self._unfinished: Found | None = None  # the segment to continue, not yet open for writing
        self._gap: dict[str, Any] | None = None  # damage found at open, not yet recorded

    @property
    def degraded(self) -> str:
        return self._space_trouble or self._sync_trouble

    @classmethod
    def open(cls, path: Path, clock: Clock, *, home_id: str | None = None, disk: Disk | None = None) -> Ledger:
        """Open or begin the ledger in `path`; `home_id` is read from `path`/../home.id when not given.

        A torn tail is set aside, damage in the middle makes a new segment; a full disk only degrades.
        Raises HoldfastError LEDGER_IN_USE when another process writes it, HOME_UNUSABLE when it cannot be read.
        """
        disk = disk or Disk()
        ledger: Ledger | None = None
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            if home_id is None:
                home_id = (path.parent / "home.id").read_text().strip()
            ledger = cls(path, clock, home_id, disk)
            ledger._lock_fd = disk.lock(path)
            found = find_end(path)
        except BlockingIOError as error:
            raise errors.HoldfastError(errors.LEDGER_IN_USE, path=path) from error
        except OSError as error:
            if ledger is not None:
                ledger.close()
            raise errors.HoldfastError(errors.HOME_UNUSABLE, home=path, reason=error.strerror or error) from error
        ledger._resume(found)
        return ledger

    def append(self, kind: str, agent: str, body: dict[str, Any], *, actor: str, durable: bool = False) -> Record:
        """Add one record; with `durable` it is on stable storage before this returns.

        Never raises for the disk: then the record returned has stored=False, or durable=False when only the sync
        failed. Raises TypeError or ValueError for a body that JSON cannot say. Not idempotent.
        """
        at_ns = max(0, int(self._clock.now_at() * 1e9))
        encoded = record.canonical_body(body)
        previous = self.head.hash
        stored = self._record_losses(at_ns)
        if stored:
            previous = self.head.hash
            stored = self._store(at_ns, kind, agent, actor, encoded)
        if not stored:
            if not self.lost:
                self._lost_since_ns = at_ns
            self.lost += 1
        return Record(
            seq=self.head.seq if stored else 0,
            at_ns=at_ns,
            kind=kind,
            agent=agent,
            actor=actor,
            body=body,
            previous=previous,
            hash=self.head.hash if stored else b"",
            stored=stored,
            durable=self.sync() if stored and durable else False,
            lost=self.lost,
        )

    def records(self, after: int = 0) -> Iterator[Record]:
        """Stored records with seq > `after`, in order, streaming; ends at the present head. Damage is skipped."""
        start = next(((self._number, at) for seq, at in reversed(self._places) if seq <= after + 1), None)
        yield from read(self.path, after, start=start, ends={self._number: self._end})

    def sync(self) -> bool:
        """Everything appended so far is on stable storage when this returns True. Idempotent."""
        if self._fd < 0:
            return False
        try:
            self._sync_current()
        except OSError as error:
            self._sync_trouble = error.strerror or str(error)
            return False
        return True

    def close(self) -> None:
        """Idempotent. The writer lock goes."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1

    # --- storing ---------------------------------------------------------------------------------------------
    def _record_losses(self, at_ns: int) -> bool:
        """Once there is space again, first say how many records were lost. False: there is no space."""
        if not self.lost:
            return True
        self._make_room(0)
        if self._space_trouble:
            return False
        body = {"records": self.lost, "since_at": self._lost_since_ns / 1e9}
        if not self._store(at_ns, "lost", "", "ledger", record.canonical_body(body)):
            return False
        self.lost = 0
        return True

    def _framed(self, at_ns: int, kind: str, agent: str, actor: str, body: bytes) -> tuple[bytes, Head]:
        seq = self.head.seq + 1
        hashed = record.payload(seq, at_ns, kind, agent, actor, body, self.head.hash)
        hash_ = record.digest(hashed)
        return record.frame(hashed, hash_), Head(seq, hash_)

    def _store(self, at_ns: int, kind: str, agent: str, actor: str, body: bytes) -> bool:
        """Write one record behind the last; False when the disk refuses."""
        self._make_room(record.PREFIX_BYTES + len(body) + 512)
        if self._fd < 0:
            return False
        framed, head = self._framed(at_ns, kind, agent, actor, body)
        try:
            self._disk.write(self._fd, framed, self._end)
        except OSError as error:
            self._refused(error)
            with contextlib.suppress(OSError):  # a half record would read as a torn tail
                self._disk.truncate(self._fd, max(self._end, self._allocated))
                self._disk.write(self._fd, bytes(max(0, min(len(framed), self._allocated - self._end))), self._end)
            return False
        self._advance(head, len(framed))
        return True

    def _advance(self, head: Head, count: int) -> None:
        if not self._places or head.seq - self._places[-1][0] >= INDEX_EVERY:
            self._places.append((head.seq, self._end))
        self._end += count
        self.head = head

    def _sync_current(self) -> None:
        if self._sync_trouble:
            # After a failed sync Linux takes the pages for clean: written again, they are synced again.
            again = os.pread(self._fd, self._end - self._synced, self._synced)
            self._disk.write(self._fd, again, self._synced)
        self._disk.sync(self._fd)
        self._synced = self._end
        self._sync_trouble = ""

    # --- space -----------------------------------------------------------------------------------------------
    def _make_room(self, count: int) -> None:
        """Keep the reserve ahead of the end. While the disk refuses, the reserve is used and asked for again."""
        full = self._fd < 0 or self._end + count > limits.LEDGER_SEGMENT_BYTES
        short = full or self._allocated - self._end - count < limits.LEDGER_RESERVE_BYTES
        if not (short or self._space_trouble) or (self._space_trouble and self._clock.now_mono() < self._retry_mono):
            return
        try:
            if self._unfinished is not None:
                self._take_up(self._unfinished)
            elif full:
                self._begin_segment()
            elif short:
                self._allocate(self._fd, self._end + count + 2 * limits.LEDGER_RESERVE_BYTES)
            self._space_trouble = ""
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        self._space_trouble = error.strerror or str(error)
        self._retry_mono = self._clock.now_mono() + RETRY_S

    def _allocate(self, fd: int, length: int) -> None:
        try:
            self._disk.allocate(fd, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        self._allocated = length

    def _begin_segment(self) -> None:
        """The next segment file, complete before it gets its name; the unused space of the old one is freed."""
        number = self._number + 1
        first = segment.Header(
            home_id=self._home_id, number=number, first_seq=self.head.seq + 1, previous=self.head.hash
        )
        header = segment.encode_header(first)
        gap, head = b"", self.head
        if self._gap is not None:
            at_ns = max(0, int(self._clock.now_at() * 1e9))
            gap, head = self._framed(at_ns, "gap", "", "ledger", record.canonical_body(self._gap))
        target = self.path / segment.name(number)
        temporary = target.with_name(f".{target.name}.tmp")
        if self._fd >= 0:
            self._sync_current()  # the new header promises that the old records are there
        allocated = self._allocated
        fd = self._disk.create(temporary)
        try:
            self._allocate(fd, 2 * limits.LEDGER_RESERVE_BYTES)
            self._disk.write(fd, header + gap, 0)
            self._disk.sync(fd)
            self._disk.rename(temporary, target)
        except BaseException:
            self._allocated = allocated
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._disk.truncate(self._fd, self._end)
            os.close(self._fd)
        self._fd, self._number, self._end, self._places, self._gap = fd, number, len(header), [], None
        if gap:
            self._advance(head, len(gap))
        self._synced = self._end

    # --- opening ---------------------------------------------------------------------------------------------
    def _resume(self, found: Found) -> None:
        """Go on where the chain ends."""
        self.head = found.head or self.head
        self._number = found.number
        if found.gap is not None:
            self._gap = found.gap
        elif found.number:
            self._unfinished = found
        self._make_room(0)  # takes the segment up or begins one
        self._make_room(0)  # and sees to its reserve

    def _take_up(self, found: Found) -> None:
        """Open the last segment for writing and set a torn tail aside."""
        path = self.path / segment.name(found.number)
        fd = self._disk.open(path)
        try:
            if found.torn_end > found.end:
                set_aside(self._disk, path, fd, found.end, found.torn_end)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._end, self._synced = fd, found.end, found.end
        self._allocated = os.fstat(fd).st_size
        self._unfinished = None
