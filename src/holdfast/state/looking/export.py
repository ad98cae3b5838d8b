"""A snapshot as a tar stream: for people who want their files without Holdfast.

Invariant: the same snapshot gives the same bytes, whenever and wherever it is made, and memory stays flat. The format
is pax: names that are no UTF-8, times to the nanosecond, attributes (SCHILY.xattr, as GNU tar and bsdtar read them),
hard links; sparse files come out whole. Called by the worker's export job.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator

from holdfast.state.looking.contents import Act, Part, spans_of, sweep
from holdfast.state.model import Content, Entry, Manifest
from holdfast.state.store.repository import Repository

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_RECORD = tarfile.RECORDSIZE
_ZEROS = bytes(256 * 1024)


def tar(
    repository: Repository, manifest: Manifest, out_fd: int, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write the snapshot to a descriptor; bytes written. Paths are the state paths without their leading slash.

    Raises StoreError, Damaged, and OSError (BrokenPipeError: the reader has gone); the stream is then cut off.
    """
    written = 0
    for piece in stream(repository, manifest):
        view = memoryview(piece)
        while view:
            view = view[os.write(out_fd, view) :]
        written += len(piece)
        if progress is not None:
            progress(written, max(manifest.bytes, written))
    return written


def stream(repository: Repository, manifest: Manifest) -> Iterator[bytes]:
    """The same as pieces. Raises StoreError."""
    size = 0
    for root in sorted(manifest.roots, key=lambda each: each.path):
        if root.entry is None:
            continue
        for piece in _Archive(root.path.strip("/")).pieces(sweep(repository, root.entry)):
            size += len(piece)
            yield piece
    size += len(_END)
    yield _END + bytes(-size % _RECORD)


class _Archive:
    """The members of one state path."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._path: list[str] = []
        self._first: dict[tuple[int, int], str] = {}
        self._spans: list[tuple[int, int]] | None = None
        self._into = 0  # of the span that is written
        self._at = 0  # of the file

    def pieces(self, parts: Iterator[Part]) -> Iterator[bytes]:
        for part in parts:
            act, entry, data = part
            if act is Act.ENTER:
                self._path.append(os.fsdecode(entry.name))
                yield _header(entry, self._name(None), tarfile.DIRTYPE)
            elif act is Act.LEAVE:
                self._path.pop()
            elif act is Act.LINK:
                if entry.links is not None:
                    self._first[entry.links] = self._name(entry)
                yield _header(entry, self._name(entry), tarfile.SYMTYPE, link=os.fsdecode(entry.target))
            elif act is Act.SAME:
                assert entry.links is not None
                yield _header(entry, self._name(entry), tarfile.LNKTYPE, link=self._first[entry.links])
            elif act is Act.MORE:
                yield from self._data(data)
            elif act is Act.END:
                yield from self._end(entry)
            else:
                yield from self._begin(part)

    def _name(self, entry: Entry | None) -> str:
        """The top has its whole path instead of its name."""
        names = [*self._path[1:]] if self._path else []
        if entry is not None and self._path:
            names.append(os.fsdecode(entry.name))
        return "/".join([self._top, *names])

    def _begin(self, part: Part) -> Iterator[bytes]:
        act, entry, data = part
        name = self._name(entry)
        if entry.links is not None:
            self._first[entry.links] = name
        yield _header(entry, name, tarfile.REGTYPE)
        self._at = self._into = 0
        self._spans = None
        if act is Act.FILE:
            yield from data
            yield bytes(-entry.size % _BLOCK)
        elif entry.content is Content.SPARSE:
            self._spans = spans_of(entry, data[0])

    def _data(self, data: list[bytes]) -> Iterator[bytes]:
        if self._spans is None:
            yield from data
            return
        for piece in data:
            view = memoryview(piece)
            while view and self._spans:
                offset, length = self._spans[0]
                yield from self._hole(offset + self._into)
                some = bytes(view[: length - self._into])
                view = view[len(some) :]
                self._at += len(some)
                self._into += len(some)
                if self._into == length:
                    self._spans.pop(0)
                    self._into = 0
                yield some

    def _end(self, entry: Entry) -> Iterator[bytes]:
        if self._spans is not None:
            yield from self._hole(entry.size)
        yield bytes(-entry.size % _BLOCK)

    def _hole(self, until: int) -> Iterator[bytes]:
        while self._at < until:
            zeros = _ZEROS[: until - self._at]
            self._at += len(zeros)
            yield zeros


def _header(entry: Entry, name: str, kind: bytes, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = entry.mode
    info.uid, info.gid = entry.uid, entry.gid
    info.size = entry.size if kind == tarfile.REGTYPE else 0
    info.linkname = link
    seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
    info.mtime = max(0, seconds)
    more: dict[str, str] = {}
    if nanoseconds or seconds < 0:
        more["mtime"] = _decimal(entry.mtime_ns)
    if kind != tarfile.LNKTYPE:
        for key, value in entry.xattrs:
            more[f"SCHILY.xattr.{os.fsdecode(key)}"] = value.decode("utf-8", "surrogateescape")
    info.pax_headers = more
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _decimal(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{abs(nanoseconds) // 10**9}.{abs(nanoseconds) % 10**9:09d}"
