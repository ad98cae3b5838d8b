"""What reading a specification must know of a recipe: its options, and the defaults it gives an agent.

The recipes themselves stand above this package (holdfast.recipes) and are handed in as a RecipeBook, so that
reading never imports them. Data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Path = tuple[str, ...]  # ("stop", "grace"); the names of holdfast.yaml


@dataclass(frozen=True, slots=True)
class Option:
    """One key of the block that is named like the recipe."""

    name: str
    kind: Literal["path", "port", "text", "words"]
    summary: str
    default: str = ""  # shown in the reference; the recipe applies it


@dataclass(frozen=True, slots=True)
class Default:
    """A value a recipe gives, with its reason."""

    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a recipe misses: at which key, and what to do."""

    field: Path
    found: str
    expected: str
    meant: str = ""
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a recipe is asked with: its block, and the keys of the agent that change its answer."""

    options: Mapping[str, Any]
    refused: frozenset[str] = frozenset()  # options whose value was wrong: already told, not missing
    memory_bytes: int | None = None
    has_command: bool = False  # the user's own `command` wins; the recipe need not find its program


@dataclass(frozen=True, slots=True)
class Given:
    """A recipe's answer. `values` by path of holdfast.yaml, durations in seconds, sizes in bytes."""

    values: Mapping[Path, Default] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    ask_codes: tuple[int, ...] = ()
    scrub_env: tuple[str, ...] = ()
    recipe_data: Mapping[str, str] = field(default_factory=dict)


class RecipeForm(Protocol):
    """The part of a recipe that reading uses."""

    name: str
    options: tuple[Option, ...]
    replicable: bool  # False: two agents of one block would share a port or a state directory
    refused_stop_signals: Mapping[str, str]  # signal -> why it must never be sent

    def defaults(self, ask: Ask) -> Given:
        """Looks at the disk for the program it runs, changes nothing, never raises."""


class RecipeBook(Protocol):
    """All recipes by name."""

    def find(self, name: str) -> RecipeForm | None: ...

    def names(self) -> tuple[str, ...]: ...
