"""Small snapshots put together by hand: directories of named contents, written as capture writes them."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.state.model import Cause, Consistency, Content, Entry, Kind, Manifest, Root, Snapshot
from holdfast.state.store import tree
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer

ROOT = "/srv/agent"
Tree = Mapping[str, "bytes | Tree"]
PIECE_BYTES = 4096


def write_tree(writer: Writer, content: Tree, mtime_ns: int = 0) -> Entry:
    entries = []
    for name, value in content.items():
        if not isinstance(value, bytes):
            entry = write_tree(writer, value, mtime_ns)
            entries.append(entry.__class__(**{**fields(entry), "name": name.encode()}))
            continue
        pieces = [value[at : at + PIECE_BYTES] for at in range(0, len(value), PIECE_BYTES)]
        blobs = tuple(writer.put(piece, BlobKind.DATA) for piece in pieces)
        kind = Content.CHUNKS
        if name.endswith(".db") or len(blobs) > 3:
            kind = Content.DATABASE if name.endswith(".db") else Content.EXTENTS
            blobs = tuple(writer.put(extent, BlobKind.EXTENT) for extent in tree.extents(blobs))
        entries.append(
            Entry(name.encode(), Kind.FILE, 0o644, 0, 0, mtime_ns, size=len(value), content=kind, blobs=blobs)
        )
    blob = writer.put(tree.encode(entries), BlobKind.TREE)
    return Entry(b"agent", Kind.DIRECTORY, 0o755, 0, 0, mtime_ns, blobs=(blob,))


def fields(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def draft(root: Entry | None, at: float, content: Tree, label: str = "", path: str = ROOT) -> Manifest:
    return Manifest(
        format=1,
        repository="",
        agent="",
        seq=0,
        epoch=0,
        at=at,
        took_s=0.1,
        parent="",
        cause=Cause.MANUAL,
        label=label,
        consistency=Consistency.GUARD,
        roots=(Root(path=path, entry=root),),
        files=count(content),
        bytes=size(content),
        bytes_new=0,
    )


def take(
    repository: Repository, content: Tree, at: float, condemned: frozenset[str] = frozenset(), label: str = ""
) -> Snapshot:
    """One whole snapshot."""
    with Writer(repository, condemned) as writer:
        root = write_tree(writer, content)
        return writer.finish(draft(root, at, content, label))


def read_tree(repository: Repository, blob: bytes) -> dict[str, object]:
    found: dict[str, object] = {}
    for entry in repository.tree(blob):
        if entry.kind is Kind.DIRECTORY:
            found[entry.name.decode()] = read_tree(repository, entry.blobs[0])
        else:
            found[entry.name.decode()] = b"".join(repository.entry_stream(entry))
    return found


def read_snapshot(repository: Repository, snapshot: Snapshot) -> dict[str, object]:
    (root,) = repository.manifest(snapshot).roots
    assert root.entry is not None
    return read_tree(repository, root.entry.blobs[0])


def count(content: Tree) -> int:
    return sum(1 if isinstance(one, bytes) else count(one) for one in content.values())


def size(content: Tree) -> int:
    return sum(len(one) if isinstance(one, bytes) else size(one) for one in content.values())
