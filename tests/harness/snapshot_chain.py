"""Small real repositories for tests: snapshots of one directory, each made by the real writer.

Called by tests of the second place, which need committed snapshots and nothing of an agent.
"""

from __future__ import annotations

from holdfast.state.model import Cause, Consistency, Entry, Kind, Manifest, Root, Snapshot
from holdfast.state.store import tree
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer

KEY = bytes(range(32))
AT = 1_790_000_000.0


def commit(
    repository: Repository, files: dict[str, bytes], *, at: float = AT, epoch: int = 1, path: str = "/data"
) -> Snapshot:
    """One snapshot of the directory `path`, whose last name is `data`, with these files."""
    with Writer(repository, epoch=epoch) as writer:
        entries = [
            Entry(
                name=name.encode(),
                kind=Kind.FILE,
                mode=0o644,
                uid=0,
                gid=0,
                mtime_ns=0,
                size=len(data),
                blobs=(writer.put(data),),
            )
            for name, data in files.items()
        ]
        top = writer.put(tree.encode(entries), BlobKind.TREE)
        root = Entry(name=b"data", kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime_ns=0, blobs=(top,))
        draft = Manifest(
            format=0,
            repository="",
            agent="",
            seq=0,
            epoch=0,
            at=at,
            took_s=0.0,
            parent="",
            cause=Cause.MANUAL,
            label="",
            consistency=Consistency.GUARD,
            roots=(Root(path=path, entry=root),),
            files=len(files),
            bytes=sum(map(len, files.values())),
            bytes_new=0,
        )
        return writer.finish(draft)


def contents(repository: Repository, snapshot: Snapshot) -> dict[str, bytes]:
    """All files of it, read through every check."""
    entry = repository.manifest(snapshot).roots[0].entry
    assert entry is not None
    return {one.name.decode(): b"".join(repository.entry_stream(one)) for one in repository.tree(entry.blobs[0])}
