"""An agent's directory with its repository, and trees with all that a directory may hold, for tests of restoring."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from holdfast.state.capture.capture import CaptureRequest, take
from holdfast.state.model import Manifest, Rights, Snapshot
from holdfast.state.restore import asides, exchange, intent, materialize
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer


class Place:
    """An agent's directory and its repository."""

    def __init__(self, top: Path, rights: Rights | None = None) -> None:
        self.rights = rights
        self.state = top / "state"
        self.state.mkdir(mode=0o700)
        self.home = top / "home"
        self.home.mkdir()
        self.live = self.home / "data"
        self.live.mkdir()
        self.repository = Repository.create(LocalStore(self.state / "repo"), "a", bytes(32), encrypt=True)
        top.chmod(0o755)

    def own(self) -> None:
        """All below the home is the agent's, but what file systems make for themselves."""
        if self.rights is not None:
            for directory, names, found in os.walk(self.home):
                names[:] = [name for name in names if name != "lost+found"]
                for name in (".", *names, *found):
                    os.chown(os.path.join(directory, name), self.rights.uid, self.rights.gid, follow_symlinks=False)

    def take(self, *paths: Path) -> tuple[Snapshot, Manifest]:
        request = CaptureRequest(
            agent="a", paths=tuple(map(str, paths or (self.live,))), rights=self.rights, always=True
        )
        with Writer(self.repository) as writer:
            taken = take(self.repository, writer, request)
        assert taken.snapshot is not None
        assert taken.manifest is not None
        return taken.snapshot, taken.manifest

    def build(self, taken: tuple[Snapshot, Manifest], only: Path | None = None) -> intent.Intent:
        return materialize.build(
            self.state,
            self.repository,
            *taken,
            rights=self.rights,
            now=1.0,
            only=str(only) if only is not None else None,
        )

    def restore(self, taken: tuple[Snapshot, Manifest], only: Path | None = None) -> None:
        self.build(taken, only)
        exchange.begin(self.state)
        assert exchange.settle(self.state)

    def left(self) -> list[str]:
        return [str(path) for path in self.home.rglob("*") if asides.is_aside(os.fsencode(path.name))]


def facts(top: Path) -> dict[str, tuple[object, ...]]:
    """All that a restore brings back, by path. Inode numbers only as groups of hard links."""
    found: dict[str, tuple[object, ...]] = {}
    groups: dict[int, str] = {}
    for directory, names, files in os.walk(os.fsencode(top)):
        for name in (b".", *names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            shown = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
            links = groups.setdefault(status.st_ino, shown) if status.st_nlink > 1 and content is not None else ""
            attributes = (
                [(key, os.getxattr(path, key)) for key in os.listxattr(path) if key.startswith("user.")]
                if not stat.S_ISLNK(status.st_mode)
                else []
            )
            found[shown] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                content,
                links,
                attributes,
            )
    return found


def lay(top: Path) -> None:
    """Everything that a directory may hold, but sockets and such."""
    (top / "notes").mkdir()
    (top / "notes" / "small.md").write_text("small")
    (top / "notes" / "empty").write_bytes(b"")
    (top / "large.bin").write_bytes(os.urandom(1_500_000) * 4)
    (top / "medium.bin").write_bytes(os.urandom(200_000))
    (top / "many").mkdir()
    for number in range(120):
        (top / "many" / f"{number}.txt").write_text(str(number) * number)
    with open(top / "sparse.img", "wb") as file:
        file.truncate(30_000_000)
        file.seek(10_000_000)
        file.write(b"in the middle")
    (top / "link").symlink_to("/etc/passwd")
    (top / "dangling").symlink_to("nowhere")
    os.link(top / "notes" / "small.md", top / "second-name")
    os.link(top / "large.bin", top / "many" / "large-too")
    (top / "script.sh").write_text("#!/bin/sh\n")
    (top / "script.sh").chmod(0o750)
    (top / "closed").mkdir()
    (top / "closed" / "in").write_text("x")
    (top / "closed").chmod(0o500)
    Path(os.fsdecode(os.path.join(os.fsencode(top), b"not-\xff-utf8"))).write_text("odd")
    os.setxattr(top / "script.sh", "user.kind", b"\x00\x01")
    os.setxattr(top / "notes", "user.of", b"a directory")
    deep = top
    for number in range(90):
        deep = deep / f"d{number}"
        deep.mkdir()
    (deep / "bottom").write_text("deep")
    os.utime(top / "notes" / "small.md", ns=(1, 1_234_567_890_123_456_789))
    os.utime(top / "notes", ns=(1, 987_654_321_987_654_321))
    os.utime(top / "link", ns=(1, 1_000_000_000_000_000_001), follow_symlinks=False)
