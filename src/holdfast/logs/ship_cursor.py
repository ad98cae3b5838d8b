"""How far one agent's lines were shipped to one server: HOME/logger/ship/*.json.

Invariants: a cursor never stands behind what was not sent; it is found again whatever was rotated or compressed since;
when the file it stands in is gone, what was lost is counted and never passed over in silence. Called by shipper.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.logs import settings
from holdfast.logs.pieces import Piece, Stream
from holdfast.spec.model import Shipping

DIRECTORY = "ship"
HEAD_BYTES = 256


class Cursor(Struct, kw_only=True):
    """`inode`, `head`: the file it stands in, told by its first bytes; `offset` in it; `size`: of it, at the last look.

    Counts: `lines` sent, `refused` lines that the server will never take, `lost_bytes` at least, deleted before.
    """

    version: int = 1
    inode: int = 0
    offset: int = 0
    size: int = 0
    head_bytes: int = 0
    head: str = ""
    lines: int = 0
    refused: int = 0
    lost_bytes: int = 0

    def find(self, stream: Stream) -> int | None:
        """Where it stands in `stream`; None: its file is not there any more."""
        if not self.inode:
            return 0
        for number, piece in enumerate(stream.pieces):
            fits = piece.inode == self.inode and piece.size >= self.offset
            if fits and _head(piece, self.head_bytes) == self.head:
                return stream.start_of(number) + self.offset
        return None

    def move(self, stream: Stream, offset: int) -> None:
        """To `offset` of the stream."""
        if not stream.pieces:
            return
        number, self.offset = stream.place(offset)
        piece = stream.pieces[number]
        self.inode, self.size = piece.inode, piece.size
        self.head_bytes = min(HEAD_BYTES, piece.size)
        self.head = _head(piece, self.head_bytes)


def _head(piece: Piece, count: int) -> str:
    first = piece.times().first() or 0
    return hashlib.sha256(b"%d " % first + piece.read(count, 0)[:count]).hexdigest()[:32]


def path_of(home: Path, agent: str, target: Shipping) -> Path:
    """One for each agent and server; the address is hashed, since it may hold secrets."""
    digest = hashlib.sha256(f"{target.kind} {target.url}".encode()).hexdigest()[:12]
    return home / settings.DIRECTORY / DIRECTORY / f"{agent}.{digest}.json"


def load(path: Path) -> Cursor:
    """A new one when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cursor)
    except (OSError, msgspec.DecodeError):
        return Cursor()


def save(path: Path, cursor: Cursor) -> None:
    """Not synced: after a loss of power lines are sent again, never left out. Raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(msgspec.json.encode(cursor))
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
