"""Which paths of a snapshot need blobs that are known to be bad. Directories shared by snapshots are read once.

Called by verify, only where something is bad.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from holdfast.state.keeping.marking import IdTable
from holdfast.state.looking.differences import shown
from holdfast.state.model import Content, Entry, Kind, Manifest
from holdfast.state.store import tree
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository


class Search:
    """Of one set of bad blobs, through many snapshots."""

    def __init__(self, repository: Repository, bad: Mapping[bytes, str]) -> None:
        self._repository = repository
        self._bad = bad
        self._clean = IdTable()  # directories with nothing bad in or below them
        self._clean_lists = IdTable()

    def paths(self, manifest: Manifest) -> Iterator[tuple[str, str]]:
        """Path and reason of each file that is bad, and of each directory that cannot be read. Raises StoreError."""
        met: list[tuple[int, bytes]] = []  # directories on the way: place of the one above, own blob
        dirty: set[int] = set()
        waiting = [(os.fsencode(root.path), root.entry, -1) for root in manifest.roots if root.entry is not None]
        while waiting:
            path, entry, above = waiting.pop()
            if entry.kind is Kind.DIRECTORY and self._clean.find(entry.blobs[0]) >= 0:
                continue
            children, why = self._into(entry) if entry.kind is Kind.DIRECTORY else ([], self._of_file(entry))
            if why:
                yield shown(path) + ("/" if entry.kind is Kind.DIRECTORY else ""), why
                while above >= 0 and above not in dirty:
                    dirty.add(above)
                    above = met[above][0]
            elif entry.kind is Kind.DIRECTORY:
                met.append((above, entry.blobs[0]))
                waiting += [(path.rstrip(b"/") + b"/" + child.name, child, len(met) - 1) for child in children]
        for place, (_, blob) in enumerate(met):
            if place not in dirty:
                self._clean.add(blob)

    def _into(self, entry: Entry) -> tuple[list[Entry], str]:
        """What a directory holds, or why that cannot be read."""
        blob = entry.blobs[0]
        if blob in self._bad:
            return [], self._bad[blob]
        try:
            return self._repository.tree(blob), ""
        except StoreError as error:
            if not error.lasting:
                raise
            return [], str(error)

    def _of_file(self, entry: Entry) -> str:
        """Why a file cannot be read whole; "": it can."""
        for blob in entry.blobs:
            if blob in self._bad:
                return self._bad[blob]
        if entry.content is Content.CHUNKS:
            return ""
        for extent in entry.blobs[1:] if entry.content is Content.SPARSE else entry.blobs:
            if self._clean_lists.find(extent) >= 0:
                continue
            try:
                listed = tree.split_ids(self._repository.read(extent))
            except (StoreError, tree.BadTree) as error:
                return str(error)
            why = next((self._bad[blob] for blob in listed if blob in self._bad), "")
            if why:
                return why
            self._clean_lists.add(extent)
        return ""
