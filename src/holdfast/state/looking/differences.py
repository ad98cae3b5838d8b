"""What differs between two snapshots: paths, sizes, lines of text files, pages of databases.

Invariant: what is equal is not read (equal directories have one id), and the answer is bounded: paths are listed up to
a limit while counts go on, texts are compared only where both are short. Called by the worker's `diff`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from msgspec import Struct

from holdfast.limits import (
    DIFF_CHANGES_MAX,
    DIFF_TEXT_ALL_MAX_BYTES,
    DIFF_TEXT_FILE_MAX_BYTES,
    DIFF_TEXT_LINES_MAX,
    DIFF_TEXT_SHOWN_MAX_BYTES,
)
from holdfast.state.answers import Change, Differences
from holdfast.state.looking.history import Walker, candidates, is_other
from holdfast.state.model import Content, Entry, Kind, Root, Snapshot
from holdfast.state.store import tree
from holdfast.state.store.repository import Repository

Pair = tuple[bytes, Entry | None, Entry | None]  # path, before, after


def diff(repository: Repository, a: Snapshot, b: Snapshot, path: str = "") -> Differences:
    """From `a` to `b`; with `path` only what lies at or below it (see history.candidates). Raises StoreError."""
    roots_before, roots_after = repository.manifest(a).roots, repository.manifest(b).roots
    before, after = _tops(roots_before), _tops(roots_after)
    if path:
        fitting = dict.fromkeys([*candidates(roots_after, path), *candidates(roots_before, path)])
        walker = Walker(repository)
        before = {os.fsencode(one): walker.find(roots_before, one) for one in fitting}
        after = {os.fsencode(one): walker.find(roots_after, one) for one in fitting}
    gathered = _Gathered(repository)
    for top in sorted(before.keys() | after.keys()):
        for pair in _pairs(repository, (top, before.get(top), after.get(top))):
            gathered.add(pair)
    return Differences(
        a=a.id,
        b=b.id,
        changes=gathered.changes,
        added=gathered.counts["added"],
        changed=gathered.counts["changed"],
        removed=gathered.counts["removed"],
        bytes_before=gathered.bytes_before,
        bytes_after=gathered.bytes_after,
    )


def _tops(roots: Sequence[Root]) -> dict[bytes, Entry | None]:
    return {os.fsencode(root.path): root.entry for root in roots}


def shown(path: bytes) -> str:
    """A path as text that any terminal and JSON can carry."""
    return path.decode("utf-8", "backslashreplace")


class _Gathered:
    """The answer as it grows."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._text_bytes = 0
        self.changes: list[Change] = []
        self.counts = {"added": 0, "changed": 0, "removed": 0}
        self.bytes_before = 0
        self.bytes_after = 0

    def add(self, pair: Pair) -> None:
        path, before, after = pair
        change = "added" if before is None else "removed" if after is None else "changed"
        self.counts[change] += 1
        old, new = _size(before), _size(after)
        self.bytes_before += old or 0
        self.bytes_after += new or 0
        if len(self.changes) >= DIFF_CHANGES_MAX:
            return
        told = describe(self._repository, pair, self._text_bytes < DIFF_TEXT_ALL_MAX_BYTES)
        self._text_bytes += len(told.text)
        self.changes.append(
            Change(path=shown(path), change=change, before=old, after=new, text=told.text, note=told.note)
        )


class Told(Struct, frozen=True):
    text: str = ""
    note: str = ""


def describe(repository: Repository, pair: Pair, with_text: bool) -> Told:
    """What of it differs, in words. Raises StoreError."""
    path, before, after = pair
    if before is None or after is None:
        one = before if before is not None else after
        return Told(note={Kind.DIRECTORY: "directory", Kind.LINK: "link"}.get(one.kind, "") if one is not None else "")
    if before.kind is not after.kind:
        return Told(note=f"{_word(before.kind)} became {_word(after.kind)}")
    if before.kind is Kind.LINK and before.target != after.target:
        return Told(note=f"points to {shown(after.target)}, before to {shown(before.target)}")
    if before.kind is not Kind.FILE or (before.blobs, before.size) == (after.blobs, after.size):
        return Told(note=_rights(before, after))
    if Content.DATABASE is before.content is after.content:
        changed, total = changed_pieces(repository, before, after)
        return Told(note=f"database: {changed} of {total} pieces of 8 KiB changed")
    if max(before.size, after.size) > DIFF_TEXT_FILE_MAX_BYTES:
        return Told(note="too large to compare line by line")
    if not with_text:
        return Told(note="not compared line by line: enough is shown above")
    old, new = _text(repository, before), _text(repository, after)
    if old is None or new is None:
        return Told(note="binary")
    text = unified(old, new, shown(path))
    return Told(text=text, note="" if text else "too long to compare line by line")


def unified(old: str, new: str, name: str) -> str:
    """A unified diff, cut where it grows long. Pure."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > DIFF_TEXT_LINES_MAX:
        return ""
    lines = []
    size = 0
    for line in difflib.unified_diff(before, after, name, name, "before", "after", lineterm=""):
        size += len(line) + 1
        if size > DIFF_TEXT_SHOWN_MAX_BYTES:
            lines.append("(cut)")
            break
        lines.append(line)
    return "\n".join(lines) + "\n" if lines else ""


def changed_pieces(repository: Repository, before: Entry, after: Entry) -> tuple[int, int]:
    """How many pieces of a database differ at their place, and how many there are now. Equal lists are not read."""
    changed = total = 0
    for old, new in zip_longest(before.blobs, after.blobs):
        if old == new:
            total += len(tree.split_ids(repository.read(new))) if new == after.blobs[-1] else tree.IDS_IN_EXTENT
            continue
        pieces_before = tree.split_ids(repository.read(old)) if old is not None else []
        pieces_after = tree.split_ids(repository.read(new)) if new is not None else []
        total += len(pieces_after)
        changed += sum(one != other for one, other in zip_longest(pieces_before, pieces_after))
    return changed, total


def _pairs(repository: Repository, pair: Pair) -> Iterator[Pair]:
    """Everything that differs at and below a path, by name."""
    waiting = [pair]
    while waiting:
        path, before, after = waiting.pop()
        if not is_other(before, after):
            continue
        if not (_is_directory(before) and _is_directory(after)) or _only(before) != _only(after):
            yield path, before, after
        old, new = _children(repository, before), _children(repository, after)
        for name in sorted(old.keys() | new.keys(), reverse=True):
            one, other = old.get(name), new.get(name)
            if is_other(one, other):
                waiting.append((path.rstrip(b"/") + b"/" + name, one, other))


def _children(repository: Repository, entry: Entry | None) -> dict[bytes, Entry]:
    if entry is None or entry.kind is not Kind.DIRECTORY:
        return {}
    return {child.name: child for child in repository.tree(entry.blobs[0])}


def _is_directory(entry: Entry | None) -> bool:
    return entry is not None and entry.kind is Kind.DIRECTORY


def _only(entry: Entry | None) -> tuple[int, int, int] | None:
    """A directory's own: what stands in its parent, without what it holds."""
    return (entry.mode, entry.uid, entry.gid) if entry is not None else None


def _size(entry: Entry | None) -> int | None:
    return entry.size if entry is not None and entry.kind is Kind.FILE else None


def _text(repository: Repository, entry: Entry) -> str | None:
    data = b"".join(repository.entry_stream(entry))
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _rights(before: Entry, after: Entry) -> str:
    said = []
    if before.mode != after.mode:
        said.append(f"mode {before.mode:04o} became {after.mode:04o}")
    if (before.uid, before.gid) != (after.uid, after.gid):
        said.append(f"owner {before.uid}:{before.gid} became {after.uid}:{after.gid}")
    return ", ".join(said)


def _word(kind: Kind) -> str:
    return {Kind.FILE: "a file", Kind.DIRECTORY: "a directory", Kind.LINK: "a link"}[kind]
