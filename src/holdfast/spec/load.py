"""holdfast.yaml, strictly: a path in, the resolved fleet out, or every mistake of all its files at once.

Invariant: any file whatever gives a FleetSpec or a HoldfastError (SPEC_NOT_FOUND, SPEC_UNREADABLE, SPEC_INVALID),
never another exception, and nothing is ever written. Called by the command line, the keeper's tests and `check`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from holdfast import errors, limits
from holdfast.spec import document
from holdfast.spec.include import Document, Gathering
from holdfast.spec.model import FleetSpec
from holdfast.spec.problems import Problem, Problems, one_line
from holdfast.spec.readers import Cursor
from holdfast.spec.reading import Reading
from holdfast.spec.recipe import RecipeBook
from holdfast.spec.resolve import Resolved
from holdfast.spec.source import Unreadable, read_text


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: the fleet, where each setting came from, and what is doubtful (warnings).

    `files`: all that were read, the main one first, as they are shown. `node_origins`: FILE:LINE of each key of `node`.
    """

    file: str
    fleet: FleetSpec
    agents: tuple[Resolved, ...]
    warnings: tuple[Problem, ...] = ()
    files: tuple[str, ...] = ()
    node_origins: dict[str, str] = field(default_factory=dict)


def load(path: FilePath | str, book: RecipeBook) -> FleetSpec:
    """The fleet of the file. Raises HoldfastError SPEC_*; exit code 2."""
    return read(path, book).fleet


def read(path: FilePath | str, book: RecipeBook) -> Loaded:
    """As `load`, with the origins."""
    file = str(path)
    try:
        absolute = os.path.abspath(file)
    except OSError as error:  # the current directory was removed
        raise errors.HoldfastError(errors.SPEC_UNREADABLE, file=one_line(file), reason=error.strerror) from None
    problems = Problems(file)
    text = _text(file, absolute, problems)
    root = None if problems else document.compose(text, problems)
    if root is None:
        problems.raise_if_any()
        raise AssertionError("no root and no problem")
    main = Document(Cursor(root, "", problems, FilePath(absolute).parent), main=True)
    documents = Gathering(main, len(text)).all()
    reading = Reading(book, problems)
    fleet = reading.fleet(documents, absolute)
    if any(one.severity == "error" for one in problems.found):
        problems.raise_if_any()
    files = tuple(one.file for one in documents)
    found = tuple(problems.sorted())
    return Loaded(file, fleet, tuple(reading.resolved), found, files, reading.node_origins)


def _text(file: str, absolute: str, problems: Problems) -> str:
    try:
        return read_text(file, limits.SPEC_MAX_BYTES)
    except Unreadable as error:
        if error.missing:
            raise errors.HoldfastError(errors.SPEC_NOT_FOUND, file=one_line(file)) from None
        if not error.line:
            inside = os.path.join(absolute, "holdfast.yaml")
            hint = f"; did you mean {file.rstrip('/')}/holdfast.yaml" if os.path.exists(inside) else ""
            raise errors.HoldfastError(
                errors.SPEC_UNREADABLE, file=one_line(file), reason=error.reason + hint
            ) from None
        problems.add(error.line, "file", error.reason, "UTF-8 text")
        return ""
