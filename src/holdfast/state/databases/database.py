"""An agent's SQLite database, taken as it stands at one moment while the agent goes on writing.

How the moment is held, best first: a read transaction that a helper holds (write-ahead log), a shared lock that it
holds for the time of a private copy (rollback journal), the agent standing still for a moment (a database that
somebody holds for himself alone). Where nobody has the database open there is nothing to hold: it is read, and looked
at again afterwards. `Capture.fuzzy` says when none of this was to be had and the files changed.

Invariant: this process opens raw bytes only, never an SQLite connection; it leaves no file behind; and what it yields
is SQLite's own idea of the committed content. Called by capture.py.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack

from holdfast import limits
from holdfast.state.capture import spool
from holdfast.state.capture.freeze import CannotFreeze, Freezer
from holdfast.state.databases import guard, sqlite_files, sqlite_reuse, sqlite_wal
from holdfast.state.databases.sqlite_capture import Capture
from holdfast.state.databases.sqlite_files import Files
from holdfast.state.databases.sqlite_header import Header
from holdfast.state.databases.sqlite_image import Image, pieces_of
from holdfast.state.databases.sqlite_reuse import Trace
from holdfast.state.model import Rights

__all__ = ["SUFFIXES", "Capture", "NotADatabase", "capture"]

SUFFIXES = (b"-wal", b"-shm", b"-journal")  # beside a database: part of its image, never kept on their own
_UNHELD_TRIES = 3
_WAITS_S = (0.002, 0.005, 0.01, 0.02, 0.05)  # between looks at one that is opened, closed or recovered just now
_ALONE = "somebody holds it for himself alone"
_OPENED = "it was opened, closed or written while it was read"


class NotADatabase(Exception):
    """Only looks like one, or cannot be understood: keep it, and what stands beside it, as plain files."""


def capture(
    directory_fd: int,
    name: bytes,
    rights: Rights | None,
    previous: Trace | None = None,
    *,
    freezer: Freezer | None = None,
    scratch: str | None = None,
    still: bool = False,
) -> Capture:
    """Hold the database `name` in that directory at this moment. Close what is returned.

    `previous`: the trace of the capture whose pieces are at hand. `freezer`: may stand the agent still where nothing
    else helps. `scratch`: a directory of ours for nameless copies. `still`: the agent stands still already.
    Takes milliseconds (at most GUARD_WAIT_S), but for the copy of a database with a rollback journal. Raises
    NotADatabase, OSError.
    """
    held = ExitStack()
    try:
        files = Files(directory_fd, name, rights, held)
        if still:
            header = files.header()
            if header is None:
                raise NotADatabase("it has no header of a database")
            return _Taker(files, header, directory_fd, rights, previous, freezer, scratch, held).in_stillness()
        for wait_s in (*_WAITS_S, None):
            header = files.header()
            if header is None:
                raise NotADatabase("it has no header of a database")
            taker = _Taker(files, header, directory_fd, rights, previous, freezer, scratch, held)
            found = taker.from_log(wait_s is None) if header.wal else taker.from_journal()
            if found is not None:
                return found
            time.sleep(wait_s or 0)
        return taker.unheld(_OPENED)
    except BaseException:
        held.close()
        raise


class _Taker:
    """The ways to one moment, each of which tries the next one where it does not lead there."""

    def __init__(
        self,
        files: Files,
        header: Header,
        directory_fd: int,
        rights: Rights | None,
        previous: Trace | None,
        freezer: Freezer | None,
        scratch: str | None,
        held: ExitStack,
    ) -> None:
        self._files, self._header, self._directory_fd, self._rights = files, header, directory_fd, rights
        self._previous, self._freezer, self._scratch, self._held = previous, freezer, scratch, held

    def _hold(self, holding: guard.Holding) -> guard.Guard:
        mark = sqlite_files.mark(self._files.main)
        expected = (mark.device, mark.inode)
        helper = guard.start(self._directory_fd, self._files.name, expected, self._rights, holding)
        self._held.callback(helper.close)
        return helper

    # --- write-ahead log -----------------------------------------------------------------------------------------
    def from_log(self, is_last: bool) -> Capture | None:
        """Under a read transaction. Without an index nobody has it open, but one who holds it for himself alone.

        None: look again, unless `is_last`: who closes a database holds it for himself alone for a moment, too.
        """
        if self._files.beside(b"-wal") is None or self._files.beside(b"-shm") is None:
            if sqlite_files.is_in_use(self._files.main) and not is_last:
                return None
            return self.still(_ALONE) if self._files.is_exclusive() else self.unheld(_OPENED)
        try:
            helper = self._hold(guard.Holding.TRANSACTION)
        except guard.Refused as e:
            return self.still(str(e)) if e.busy else self.unheld(str(e))
        # Opened only now: while the helper has the database open nobody takes these away.
        log, index = self._files.beside(b"-wal"), self._files.beside(b"-shm")
        now = sqlite_wal.sample(index) if index is not None else None
        if log is None or index is None or now is None or now.page_size != self._header.page_size:
            helper.close()
            return self.unheld("the index of its log cannot be read") if is_last else None
        image, trace, numbers = self._image(log, index, now)
        taken = Capture(
            image, self._held, lambda: "" if helper.holds() else "its guard was ended", trace, self._previous
        )
        if trace is not None:
            taken.wanted = self._wanted(
                log, trace, lambda frame: pieces_of(numbers[frame:], trace.page_size, image.pieces)
            )
        return taken

    def _image(self, log: int, index: int, now: sqlite_wal.Sample) -> tuple[Image, Trace | None, array[int]]:
        """The image under the guard, its trace, and which page each frame of the log holds.

        A log that is wholly in the database file may begin anew under our eyes (a reader that needs nothing of it
        does not hold it), but then nothing is written into the file: the file alone is the moment. Any other log only
        grows while the guard holds, and checkpoints write nothing that its first `frames` frames do not hold as well.
        """
        main = self._files.main
        mark = sqlite_files.mark(main)
        size = now.pages * now.page_size if now.frames else mark.size
        numbers = sqlite_wal.page_numbers(index, now)
        newest = sqlite_wal.newest(numbers, now.page_size) if numbers is not None else {}
        seal = sqlite_wal.seal(log, now.page_size, now.frames)
        alone = now.backfilled >= now.frames
        image = Image(main, now.page_size, size)
        if not alone:
            image = Image(main, now.page_size, size, log, newest, now.salts, torn=numbers is None)
        again = sqlite_wal.sample(index)
        if numbers is None or again is None or again.salts != now.salts:
            return image, None, array("I")
        touched = sqlite_reuse.packed(pieces_of(newest, now.page_size, image.pieces))
        fresh = sqlite_files.is_fresh(mark)
        trace = Trace(
            *mark[:2], mark[2:], fresh, now.page_size, size, now.salts, now.frames, now.backfilled, seal, touched
        )
        return image, trace, numbers

    def _wanted(self, log: int | None, trace: Trace, since: Callable[[int], list[int]]) -> list[int] | None:
        if self._previous is None:
            return None
        then = self._previous
        seal_then = sqlite_wal.seal(log, then.page_size, then.frames) if log is not None else b""
        return sqlite_reuse.differing(then, trace, seal_then, since)

    def in_stillness(self) -> Capture:
        """Its agent stands still: it is read as it lies, without a helper. What others write meanwhile is told."""
        main = self._files.main
        mark = sqlite_files.mark(main)
        fresh = sqlite_files.is_fresh(mark)
        overlay = self._files.beside(b"-wal" if self._header.wal else b"-journal")
        head = sqlite_files.head(overlay) if overlay is not None else b""

        def doubt() -> str:
            return "" if self._is_as_then(mark, overlay, head) else _OPENED

        index = self._files.beside(b"-shm") if self._header.wal and overlay is not None else None
        if index is not None and overlay is not None and sqlite_files.is_shared(index):
            now = sqlite_wal.sample(index)
            if now is not None and now.page_size == self._header.page_size:
                image, trace, numbers = self._image(overlay, index, now)
                taken = Capture(image, self._held, doubt, trace, self._previous)
                if trace is not None:
                    taken.wanted = self._wanted(
                        overlay, trace, lambda frame: pieces_of(numbers[frame:], trace.page_size, image.pieces)
                    )
                    return taken
        return self._from(main, overlay, mark, fresh, doubt)

    # --- rollback journal ----------------------------------------------------------------------------------------
    def from_journal(self) -> Capture | None:
        """From a private copy made under the shared lock; None: look again."""
        try:
            helper = self._hold(guard.Holding.LOCK)
        except guard.Refused as e:
            return self.still(str(e)) if e.busy else self.unheld(str(e))
        try:
            header = self._files.header()
            if header is None or header.wal:
                return None
            hot = self._files.hot_journal()
            taken = self._aside(hot, time.monotonic() + limits.GUARD_COPY_MAX_S)
            return taken if helper.holds() else self.unheld("its guard was ended")
        except spool.TooSlow:
            return self.unheld("it is too large to let its writers wait for a copy")
        except OSError as e:
            return self.unheld(f"it could not be copied aside: {e.strerror}")
        finally:
            helper.close()

    def _aside(self, overlay: int | None, deadline_mono: float) -> Capture:
        """From a private copy of the file and of its log or journal. Raises TooSlow, OSError."""
        mark = sqlite_files.mark(self._files.main)
        fresh = sqlite_files.is_fresh(mark)
        copy = self._copy(self._files.main, deadline_mono)
        overlay_copy = self._copy(overlay, deadline_mono) if overlay is not None else None
        return self._from(copy, overlay_copy, mark, fresh, lambda: "")

    def _copy(self, fd: int, deadline_mono: float) -> int:
        into = spool.blank(os.fstat(fd).st_size, self._scratch)
        self._held.callback(os.close, into)
        spool.fill(into, fd, deadline_mono)
        return into

    # --- where no helper can hold it ---------------------------------------------------------------------------------
    def still(self, why: str) -> Capture:
        """Copied while the agent stands still; where that cannot be, as `unheld`."""
        if self._freezer is None:
            return self.unheld(why)
        try:
            with self._freezer.frozen() as stillness:
                mark = sqlite_files.mark(self._files.main)
                overlay = self._files.beside(b"-wal" if self._header.wal else b"-journal")
                taken = self._aside(overlay, stillness.deadline_mono)
                if not stillness.lasted():
                    return self.unheld(f"{why}, and standing its agent still took too long")
                if sqlite_files.mark(self._files.main) == mark:
                    return taken
            return self.unheld(f"{why}, and it was written while its agent stood still")
        except CannotFreeze as e:
            return self.unheld(f"{why}, and its agent could not be stood still: {e}")
        except spool.TooSlow:
            return self.unheld(f"{why}, and it is too large to be copied while its agent stands still")
        except OSError as e:
            return self.unheld(f"{why}, and it could not be copied aside: {e.strerror}")

    def unheld(self, why: str) -> Capture:
        """Read as it is, and looked at again: `why` is told when it was written meanwhile.

        What is in use is copied aside first, which is soon done, and a few times where it was written meanwhile. The
        log or journal is opened after the first look at the file: one that is not there then is not needed, and one
        that is there holds all that a checkpoint had written by then.
        """
        main = self._files.main
        for _ in range(_UNHELD_TRIES):
            sqlite_files.wait_until_stale(main)
            mark = sqlite_files.mark(main)
            fresh = sqlite_files.is_fresh(mark)  # then a later write may not show
            overlay = self._files.beside(b"-wal" if self._header.wal else b"-journal")
            head = sqlite_files.head(overlay) if overlay is not None else b""
            if not sqlite_files.is_in_use(main) and (overlay is None or not sqlite_files.is_in_use(overlay)):
                break
            try:
                taken = self._aside(overlay, time.monotonic() + limits.GUARD_COPY_MAX_S)
            except (spool.TooSlow, OSError):
                break  # too large, or no room
            if not fresh and self._is_as_then(mark, overlay, head):
                return taken
        return self._from(
            main, overlay, mark, fresh, lambda: "" if not fresh and self._is_as_then(mark, overlay, head) else why
        )

    def _is_as_then(self, mark: sqlite_files.Mark, overlay: int | None, head: bytes) -> bool:
        """Whether the file was not written, and its log or journal did not begin anew."""
        return sqlite_files.mark(self._files.main) == mark and (overlay is None or sqlite_files.head(overlay) == head)

    def _from(
        self,
        main: int,
        overlay: int | None,
        mark: sqlite_files.Mark,
        fresh: bool,
        doubt: Callable[[], str],
    ) -> Capture:
        """The image of a file and of the log or journal beside it, believing nothing but these bytes."""
        log = sqlite_wal.scan(overlay) if overlay is not None and self._header.wal else None
        if log is not None and log.frames:
            size, page_size = log.pages * log.page_size, log.page_size
            if page_size != self._header.page_size:
                raise NotADatabase("the pages of its log have another size")
            image = Image(main, page_size, size, overlay if overlay is not None else -1, log.newest, log.salts)
            touched = sqlite_reuse.packed(pieces_of(log.newest, page_size, image.pieces))
            trace: Trace | None = Trace(
                *mark[:2], mark[2:], fresh, page_size, size, log.salts, log.frames, 0, log.seal, touched
            )
        elif overlay is not None and not self._header.wal and (undo := self._files.undo(overlay)) is not None:
            image = Image(main, undo.page_size, undo.pages * undo.page_size, overlay, undo.offsets)
            trace = None
        else:
            page_size = self._header.page_size
            image, trace = Image(main, page_size, mark.size), Trace(*mark[:2], mark[2:], fresh, page_size, mark.size)
        taken = Capture(image, self._held, doubt, trace, self._previous)
        if trace is not None:
            every = sqlite_reuse.numbers(trace.touched)
            taken.wanted = self._wanted(overlay if self._header.wal else None, trace, lambda _: every)
        return taken
