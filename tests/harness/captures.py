"""Real snapshots of real directories, restored elsewhere, and tar as the judge of whether both are the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from holdfast.state.capture import capture
from holdfast.state.capture.capture import CaptureRequest, Taken
from holdfast.state.model import Entry, Kind, Manifest, Rights
from holdfast.state.restore.materialize import build_to
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer

KEY = b"k" * 32


class Home:
    """One agent's repository below `directory`, and the snapshots taken into it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cache = directory / "cache"
        self.repository = Repository.create(
            LocalStore(directory / "repo"), "agent", KEY, encrypt=True, cache=self.cache
        )

    def take(self, *paths: Path | str, **more: Any) -> Taken:
        request = CaptureRequest(**{"agent": "agent", "paths": tuple(map(str, paths)), "cache": self.cache, **more})
        with Writer(self.repository) as writer:
            return capture.take(self.repository, writer, request)

    def snapshot(self, *paths: Path | str, **more: Any) -> Manifest:
        """As `take`, where something changed."""
        manifest = self.take(*paths, **more).manifest
        assert manifest is not None
        return manifest

    def restore(self, to: Path) -> Path:
        """The newest one, built below `to`."""
        newest = self.repository.snapshots()[-1]
        ourselves = Rights(uid=os.geteuid(), gid=os.getegid())
        build_to(self.repository, newest, self.repository.manifest(newest), to, owner=ourselves)
        return to

    def names(self, manifest: Manifest, root: int = 0) -> set[str]:
        """Paths of everything in a state path."""
        found: set[str] = set()
        entry = manifest.roots[root].entry
        if entry is not None and entry.kind is Kind.DIRECTORY:
            self._add(entry, "", found)
        return found

    def entry(self, manifest: Manifest, path: str) -> Entry:
        entry = manifest.roots[0].entry
        for part in path.split("/"):
            assert entry is not None
            entry = {one.name: one for one in self.repository.tree(entry.blobs[0])}[part.encode()]
        assert entry is not None
        return entry

    def content(self, manifest: Manifest, path: str) -> bytes:
        return b"".join(self.repository.entry_stream(self.entry(manifest, path)))

    def _add(self, directory: Entry, below: str, found: set[str]) -> None:
        for entry in self.repository.tree(directory.blobs[0]):
            path = below + os.fsdecode(entry.name)
            found.add(path)
            if entry.kind is Kind.DIRECTORY:
                self._add(entry, path + "/", found)


def tar_of(directory: Path) -> bytes:
    """Everything GNU tar knows of the directory: contents, modes, owners, times, links, holes, attributes."""
    if shutil.which("tar") is None:
        raise RuntimeError("tar is needed as the judge")
    exact = ["--format=pax", "--xattrs", "--pax-option=delete=atime,delete=ctime,exthdr.name=%d/%f"]
    holes = ["--format=gnu", "--sparse"]  # pax would put tar's own process id into a sparse file's name
    told = b""
    for options in (exact, holes):
        command = ["tar", "--sort=name", "--numeric-owner", *options, "-C", str(directory), "-cf", "-", "."]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        told += done.stdout
    return told
