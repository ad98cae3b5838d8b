"""What the jobs of versioned state answer, as the API shows it. Data only; the API's description is made from these.

Invariant: fields are only ever added. Built by the worker's jobs (as plain JSON of these shapes), read by the API and
the command line. Job and its answer, arguments in brackets: snapshots() Snapshots · snapshot(cause, label) Taken ·
log(path) Versions · diff(a, b) Differences · du() Usage · verify(all) Checked · gc(dry_run) Collected ·
delete-snapshot(snapshot) and undelete-snapshot(snapshot) Removed · pin(snapshot, why) Pinned · cat(snapshot, path) and
export(snapshot) chunks. Snapshots are named by their whole id; `b` None in diff is the agent's live tree.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast.state.model import Cause, Consistency, Rest


class SnapshotRow(Struct, frozen=True, kw_only=True):
    """One snapshot. `bytes`: of all its files; `bytes_new`: stored for it.

    `pinned`: no retention takes it, for the reasons in `pins`. `remote`: it is in the second place too; None: there is
    none. `deleted_until`: it was deleted and can be had back until then (wall clock seconds).
    """

    id: str
    at: float
    cause: Cause
    label: str = ""
    consistency: Consistency = Consistency.GUARD
    files: int = 0
    bytes: int = 0
    bytes_new: int = 0
    pinned: bool = False
    remote: bool | None = None
    seq: int = 0
    took_s: float = 0.0
    pins: tuple[str, ...] = ()
    fuzzy: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    deleted_until: float | None = None
    damaged: str = ""  # why its manifest cannot be read
    rest: Rest = Rest.UNKNOWN  # whether the agent had work under way


class Snapshots(Struct, frozen=True, kw_only=True):
    """Oldest first. `trouble`: sentences a person should read (paused, only copy on the same disk, remote lag)."""

    snapshots: list[SnapshotRow]
    trouble: list[str] = []


class Taken(Struct, frozen=True, kw_only=True):
    """`snapshot` None: nothing had changed since `unchanged_since` (an id), so that one stands for now."""

    snapshot: SnapshotRow | None
    unchanged_since: str = ""


class Version(Struct, frozen=True, kw_only=True):
    """One version of one path: as it was from this snapshot on. `change`: added, changed, removed."""

    snapshot: str
    at: float
    change: str
    size: int | None = None
    mtime: float | None = None


class Versions(Struct, frozen=True, kw_only=True):
    """Newest first. `path`: as it was found, absolute."""

    path: str
    versions: list[Version]


class Change(Struct, frozen=True, kw_only=True):
    """One path that differs. `change`: added, changed, removed. `text`: a unified diff where both are short text.

    `note`: what else is worth saying: binary, so many of so many pages of a database, only mode or owner.
    """

    path: str
    change: str
    before: int | None = None  # bytes
    after: int | None = None
    text: str = ""
    note: str = ""


class Differences(Struct, frozen=True, kw_only=True):
    """From snapshot `a` to `b` ("": the live tree). `changes` is cut; the counts are not."""

    a: str
    b: str
    changes: list[Change]
    added: int = 0
    changed: int = 0
    removed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


class SnapshotUsage(Struct, frozen=True, kw_only=True):
    """What one snapshot holds. `new_bytes`: stored, and in none before it; `unique_bytes`: and in none after it."""

    id: str
    at: float
    bytes: int
    new_bytes: int
    unique_bytes: int


class Usage(Struct, frozen=True, kw_only=True):
    """What the versions of one agent cost. `logical_bytes`: as if each snapshot were a whole copy."""

    snapshots: int
    stored_bytes: int
    logical_bytes: int
    newest_bytes: int = 0
    trash_bytes: int = 0
    budget_bytes: int | None = None
    oldest_at: float | None = None
    newest_at: float | None = None
    path: str = ""
    store: str = ""  # the second place, without credentials
    remote_snapshots: int | None = None
    remote_lag_s: float | None = None
    rows: list[SnapshotUsage] = []  # oldest first
    unused_bytes: int = 0  # needed by no snapshot: waits for gc


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `snapshot` "": none in particular."""

    snapshot: str
    path: str
    reason: str


class Checked(Struct, frozen=True, kw_only=True):
    """`restorable`: snapshots that can be restored whole. `said`: the same in sentences, with what is affected."""

    snapshots: int
    restorable: int
    blobs: int = 0
    bytes: int = 0
    took_s: float = 0.0
    faults: list[Fault] = []
    said: list[str] = []


class Collected(Struct, frozen=True, kw_only=True):
    """What a collection did, or would do. `waiting_bytes`: condemned, deleted after `next_at`."""

    dry_run: bool
    freed_bytes: int = 0
    waiting_bytes: int = 0
    repacked: int = 0
    packs: int = 0
    next_at: float | None = None
    refused: str = ""
    trouble: list[str] = []  # sentences: packs that cannot be read, blobs that are missing


class Removed(Struct, frozen=True, kw_only=True):
    """A snapshot that went to the trash (`until`), or came back from it (None)."""

    id: str
    until: float | None = None


class Pinned(Struct, frozen=True, kw_only=True):
    id: str
    pins: tuple[str, ...] = ()


class Deleted(Struct, frozen=True, kw_only=True):
    """An agent that was removed and can be had back until `until`. `paths`: where its files were, and still are."""

    agent: str
    removed_at: float
    until: float | None
    paths: tuple[str, ...] = ()
    snapshots: int | None = None


class Restored(Struct, frozen=True, kw_only=True):
    """A restore that is done. `before`: the snapshot of what was replaced, "" when there was nothing to take.

    `to`: a directory beside the agent, which was not touched then. `warnings`: sentences, e.g. of stale logins.
    `definition`: text of a holdfast.yaml for a copy of the agent in `to`, where one was asked for.
    """

    agent: str
    snapshot: str
    at: float
    files: int = 0
    bytes: int = 0
    took_s: float = 0.0
    before: str = ""
    path: str = ""
    to: str = ""
    phase: str = ""
    warnings: tuple[str, ...] = ()
    definition: str = ""


class RestorePlan(Struct, frozen=True, kw_only=True):
    """What a restore would do; nothing is done yet. `lost`: from the snapshot to the live tree, None: not known.

    `off_s`: how far the snapshot lies from the moment wished, negative when it is earlier. `good`: the newest snapshot
    with which the agent was proven healthy. `phase` "": the agent was removed, and is taken back first.
    """

    agent: str
    snapshot: SnapshotRow
    off_s: float | None = None
    clock_changed: bool = False
    empty: int = 0  # newer snapshots passed over, since they hold no file
    damaged: int = 0  # and since they cannot be read
    phase: str = ""
    good: SnapshotRow | None = None
    newest: SnapshotRow | None = None
    lost: Differences | None = None
    warnings: tuple[str, ...] = ()


class DeletedAgents(Struct, frozen=True, kw_only=True):
    """The one removed last comes first."""

    agents: list[Deleted]


class RemovedAgent(Struct, frozen=True, kw_only=True):
    """An agent that left. `snapshots`: how many are kept until `until`; `trouble`: what did not go as it should.

    `source`: the file that declared it, and may bring it back.
    """

    agent: str
    until: float | None
    snapshots: int = 0
    trouble: list[str] = []
    paths: tuple[str, ...] = ()
    source: str = ""


class BroughtBack(Struct, frozen=True, kw_only=True):
    """An agent that is in the fleet again. `missing`: state paths that are not there any more, it is stopped then.

    `newest`: the snapshot that a restore would take. `restored`: the one its files came back from, since none of them
    was there any more; `at`: when that was taken (wall clock). `was_there`: it had been declared anew; only its former
    snapshots came back.
    """

    agent: str
    phase: str
    was_there: bool = False
    snapshots: int = 0
    newest: str = ""
    missing: tuple[str, ...] = ()
    restored: str = ""
    at: float | None = None
