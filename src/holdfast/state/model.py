"""The words of versioned state: what a snapshot is, who wants one and why, and what a directory holds.

Nothing here reads or writes. Ids are 16 bytes (keyed BLAKE3, cut), shown as hex. Times are wall clock seconds unless
the name says otherwise. Called by everything in this package, by the worker's jobs and by the keeper.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from msgspec import Struct

ID_BYTES = 16
SHORT_ID_DIGITS = 12  # of a snapshot's id, as people see and type it

BlobId = bytes  # ID_BYTES long: keyed BLAKE3 of the plain content


class Cause(StrEnum):
    """Why a snapshot was made."""

    TIMER = "timer"
    MANUAL = "manual"
    STOP = "stop"  # before a planned stop or restart
    UPDATE = "update"  # before new code or a new definition of the agent
    RESTORE = "restore"  # of what a restore is about to replace
    CONFIG = "config"  # before a change of its configuration
    REMOVE = "remove"  # before the agent is taken out of the fleet
    COMPARE = "compare"  # of what is there, because somebody asked how an earlier one differs from it


class Consistency(StrEnum):
    """How much the snapshot's files belong to one moment."""

    GUARD = "guard"  # each database at one moment (read transaction), other files unchanged while they were read
    FREEZE = "freeze"  # all at one moment: the agent stood still
    FUZZY = "fuzzy"  # as guard, but the files listed changed while they were read, each time


class Rest(StrEnum):
    """Whether the agent had work under way. A snapshot taken in the middle of work is restored into that middle."""

    UNKNOWN = ""
    STOPPED = "stopped"  # it did not run; what it was doing when it ended is not known
    QUIESCED = "quiesced"  # it was brought to rest for the snapshot, and rested until all was read
    IDLE = "idle"  # it said that it has nothing to do
    BUSY = "busy"  # it said that it is at work


class Kind(StrEnum):
    """What an entry of a directory is. Sockets and pipes are not kept."""

    FILE = "f"
    DIRECTORY = "d"
    LINK = "l"


class Content(IntEnum):
    """How a file's content is cut into blobs, which `Entry.blobs` lists."""

    CHUNKS = 0  # the blobs in order are the content
    EXTENTS = 1  # each blob is a list of ids (16 bytes each) of the blobs that are the content, in order
    DATABASE = 2  # as EXTENTS, of fixed pieces of SQLite's page image; the last piece may be shorter
    SPARSE = 3  # as EXTENTS, after one blob that maps the data: (offset, length) pairs, 8 bytes little endian each


class Entry(Struct, frozen=True, array_like=True, omit_defaults=False):
    """One name in a directory. A directory's own blob is the list of its entries, sorted by name."""

    name: bytes
    kind: Kind
    mode: int  # permission bits, set-id and sticky bits: 0 .. 0o7777
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0  # of the content as restored, bytes
    content: Content = Content.CHUNKS
    blobs: tuple[bytes, ...] = ()  # of a file; of a directory: one, its own blob
    target: bytes = b""  # of a link
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    links: tuple[int, int] | None = None  # (device, inode) where several names share one file: equal pairs are one file
    fuzzy: bool = False  # changed while it was read, each time


class Root(Struct, frozen=True, kw_only=True):
    """One of the agent's state paths. A path that did not exist is kept as `entry` None, and is restored so."""

    path: str  # absolute, as declared; surrogateescape for bytes that are no UTF-8
    entry: Entry | None


class Manifest(Struct, frozen=True, kw_only=True):
    """One snapshot. Its object is the commit point: what it names is stored before it.

    `seq` grows by one with each snapshot of a repository, and orders snapshots whatever the clocks said. `parent` is
    the id of the one before, so that the chain shows what was taken out.
    """

    format: int
    repository: str
    agent: str
    seq: int
    epoch: int  # of the writer: a later one fences a former one
    at: float
    took_s: float
    parent: str  # hex id; "" for the first
    cause: Cause
    label: str
    consistency: Consistency
    roots: tuple[Root, ...]
    files: int
    bytes: int  # of all contents, as restored
    bytes_new: int  # stored for this snapshot: packs and manifest
    fuzzy: tuple[str, ...] = ()  # paths, at most SNAPSHOT_LISTED_MAX of them
    left_out: tuple[str, ...] = ()  # what could not be read or is not kept (sockets): path and why, cut as `fuzzy`
    instance: int = 0  # of the agent while it was taken
    pod_user: str = ""
    recipe: str = ""
    spec: str = ""  # the agent's definition as JSON, secrets masked: for a machine that has nothing but the bucket
    version: str = ""  # of Holdfast
    rest: Rest = Rest.UNKNOWN


class Snapshot(Struct, frozen=True, kw_only=True):
    """A snapshot as it stands in the repository's list: what its object's name tells."""

    id: str  # hex of the whole id
    seq: int
    epoch: int
    at: float
    name: str  # of its object below snaps/

    @property
    def short(self) -> str:
        return self.id[:SHORT_ID_DIGITS]


class Pin(Struct, frozen=True, kw_only=True):
    """A snapshot that no retention takes. `why`: known-good, update, or a word of the user's."""

    id: str
    why: str


class Rights(Struct, frozen=True, kw_only=True):
    """Whose rights an agent's files are read and written with. None of them: our own (an ordinary user's Holdfast)."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
