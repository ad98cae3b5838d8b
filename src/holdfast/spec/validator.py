"""What a recipe says of its agent's files: which must be whole for it to start, and what whole means.

Data only. Recipes name validators; holdfast.state.checks.validate carries them out.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What is asked of a file."""

    SQLITE = "sqlite"  # each database among them passes PRAGMA quick_check; other files are passed over
    DATABASE = "database"  # it is a database, and passes: an empty one and one that is none are faults
    JSON = "json"  # can be parsed
    JSON5 = "json5"  # with comments, trailing commas, bare keys; one object
    JSON_ANY = "json-any"  # as JSON, JSON5 or lines of JSON: for files whose program is not known
    JSON_LINES = "json-lines"  # each line can be parsed; the last one may be cut off
    YAML = "yaml"  # can be parsed, and is a mapping
    PRESENT = "present"  # at least one such file exists, and is not empty


class Validator(Struct, frozen=True, kw_only=True):
    """One check, as a recipe names it. `path`: a pattern as in `state.exclude`, seen from each tree.

    `skip`: patterns of what is not looked at: no part of snapshots, or code whose broken files belong to its tests.
    """

    kind: Kind
    path: str
    skip: tuple[str, ...] = ()


CODE = ("node_modules/", "site-packages/", ".git/", ".venv/", "venv/", "__pycache__/", ".cache/")
