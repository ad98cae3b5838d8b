"""Repositories for tests: small ones, with snapshots of a few blobs."""

from __future__ import annotations

import random
from pathlib import Path

from holdfast.state.model import Cause, Consistency, Content, Entry, Kind, Manifest, Root, Snapshot
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer

KEY = bytes(range(32))
AT = 1_790_000_000.5


def made(directory: Path, *, encrypt: bool = True, cache: bool = True) -> Repository:
    store = LocalStore(directory / "repo")
    return Repository.create(store, "assistant", KEY, encrypt=encrypt, cache=directory / "cache" if cache else None)


def opened(directory: Path, *, cache: bool = True) -> Repository:
    return Repository.open(LocalStore(directory / "repo"), KEY, directory / "cache" if cache else None)


def draft(blobs: tuple[bytes, ...] = (), size: int = 0, path: str = "/srv/notes") -> Manifest:
    entry = Entry(b"notes", Kind.FILE, 0o600, 0, 0, 1, size, Content.CHUNKS, blobs)
    return Manifest(
        format=0,
        repository="",
        agent="",
        seq=0,
        epoch=0,
        at=AT,
        took_s=0.1,
        parent="",
        cause=Cause.MANUAL,
        label="",
        consistency=Consistency.GUARD,
        roots=(Root(path=path, entry=entry),),
        files=1,
        bytes=size,
        bytes_new=0,
    )


def take(repository: Repository, datas: list[bytes], **options: object) -> Snapshot:
    with Writer(repository, **options) as writer:  # type: ignore[arg-type]
        blobs = tuple(writer.put(data) for data in datas)
        return writer.finish(draft(blobs, sum(map(len, datas))))


def kept(repository: Repository, snapshot: Snapshot) -> bytes:
    entry = repository.manifest(snapshot).roots[0].entry
    assert entry is not None
    return b"".join(repository.entry_stream(entry))


def pieces(seed: int, count: int, size: int) -> list[bytes]:
    """Half of each shrinks."""
    chance = random.Random(seed)
    return [chance.randbytes(size // 2) + b"%d " % chance.random() * (size // 4) for _ in range(count)]
