"""holdfast.yaml and the files it includes, as documents in the order in which they are read.

A path is relative to the file that names it; a file reached twice is read once. Invariant: bounded in number and
size, never circles; every mistake names the line of the `include` that led there. Called by `load.py`.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from holdfast import limits
from holdfast.spec import document, readers
from holdfast.spec.document import Mapping, Sequence
from holdfast.spec.problems import Problems, show_path
from holdfast.spec.readers import REFUSED, Cursor
from holdfast.spec.source import Unreadable, read_text


@dataclass(frozen=True, slots=True)
class Document:
    """One file. `top.problems.file` is its name as it is shown; `top.base` the directory its paths are relative to."""

    top: Cursor
    main: bool

    @property
    def file(self) -> str:
        return self.top.problems.file


@dataclass(slots=True)
class Gathering:
    """Reads the included files of one main file, depth first."""

    main: Document
    read_bytes: int
    found: list[Document] = field(default_factory=list)
    _chain: list[tuple[str, str]] = field(default_factory=list)  # real path, and FILE:LINE that named the next one
    _seen: set[str] = field(default_factory=set)
    _full: bool = False

    def all(self) -> list[Document]:
        """The main file first. What cannot be read is noted as a problem and left out."""
        self._take(self.main, os.path.realpath(self.main.top.base / os.path.basename(self.main.file)))
        return self.found

    def _take(self, one: Document, real: str) -> None:
        self.found.append(one)
        self._seen.add(real)
        root = one.top.node
        asked = root.get("include") if isinstance(root, Mapping) else None
        if asked is None:
            return
        at = one.top.child("include", asked)
        items = [(str(place), item) for place, item in enumerate(asked.items)] if isinstance(asked, Sequence) else []
        for inner in [at.child(place, item) for place, item in items] if items else [at]:
            if isinstance(asked, Sequence) and not items:
                break
            for path in self._paths(inner, real):
                self._chain.append((real, f"{one.file}:{inner.node.line}"))
                self._follow(inner, path)
                self._chain.pop()

    def _paths(self, at: Cursor, own: str) -> list[str]:
        value: Any = readers.path(at)
        if value is REFUSED:
            return []
        if not any(char in value for char in "*?["):
            return [value]
        matches = sorted(glob.glob(value))
        if not matches:
            at.problems.add(at.node.line, at.field, f"{show_path(value)}, which matches nothing", "files",
                            severity="warning")  # fmt: skip
        return [path for path in matches if os.path.realpath(path) != own]

    def _follow(self, at: Cursor, path: str) -> None:
        real = os.path.realpath(path)
        shown = self._shown(path)
        begun = next((place for place, (one, _) in enumerate(self._chain) if one == real), None)
        if begun is not None:
            way = " -> ".join(where for _, where in self._chain[begun:])
            at.refuse("files that do not include each other", f"{show_path(shown)} again ({way} -> {shown})")
        elif real in self._seen:
            return
        elif len(self.found) >= limits.SPEC_FILES_MAX:
            if not self._full:
                at.refuse(f"at most {limits.SPEC_FILES_MAX} files in all", f"one more file, {show_path(shown)}")
            self._full = True
        else:
            self._read(at, path, real, shown)

    def _read(self, at: Cursor, path: str, real: str, shown: str) -> None:
        try:
            text = read_text(path, limits.SPEC_MAX_BYTES)
        except Unreadable as error:
            self._seen.add(real)
            if error.line:
                at.problems.add(error.line, "file", error.reason, "UTF-8 text", file=shown)
            elif error.missing:
                at.refuse("a file that exists", f"no file {show_path(shown)}")
            else:
                at.refuse("a readable file", f"{show_path(shown)}, which cannot be read: {error.reason}")
            return
        self.read_bytes += len(text)
        if self.read_bytes > limits.SPEC_ALL_FILES_MAX_BYTES:
            at.refuse(f"at most {limits.SPEC_ALL_FILES_MAX_BYTES} bytes in all files", "more than that")
            return
        problems = Problems(shown, at.problems.found)
        root = document.compose(text, problems)
        self._seen.add(real)
        if root is not None:
            self._take(Document(Cursor(root, "", problems, FilePath(path).parent), main=False), real)

    def _shown(self, path: str) -> str:
        """As the main file was named: relative when that was, and when it lies below."""
        given = self.main.file
        base = str(self.main.top.base)
        if os.path.isabs(given) or not path.startswith(base.rstrip("/") + "/"):
            return path
        return os.path.join(os.path.dirname(given), os.path.relpath(path, base))
