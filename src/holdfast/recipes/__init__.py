"""Ready agent definitions, and reading holdfast.yaml with them.

`find` and `names` are the registry; `load`, `read` and `check` are those of holdfast.spec with this registry given.
Called by the command line and the keeper.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.recipes.container import ContainerRecipe
from holdfast.recipes.hermes import HermesRecipe
from holdfast.recipes.model import FileWrite, Launch, PodFacts, Recipe
from holdfast.recipes.node import NodeRecipe
from holdfast.recipes.openclaw import OpenClawRecipe
from holdfast.recipes.process import ProcessRecipe
from holdfast.recipes.python import PythonRecipe
from holdfast.spec import check as _check
from holdfast.spec import load as _load
from holdfast.spec.explain import Effective, effective
from holdfast.spec.load import Loaded
from holdfast.spec.model import FleetSpec
from holdfast.spec.problems import Problem

_RECIPES: tuple[Recipe, ...] = (
    ProcessRecipe(), PythonRecipe(), NodeRecipe(), ContainerRecipe(), OpenClawRecipe(), HermesRecipe(),
)  # fmt: skip
_ALL: dict[str, Recipe] = {one.name: one for one in _RECIPES}


class _Book:
    """The registry in the form that reading wants (holdfast.spec.recipe.RecipeBook)."""

    def find(self, name: str) -> Recipe | None:
        return _ALL.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(_ALL)


BOOK = _Book()


def names() -> tuple[str, ...]:
    """All recipes."""
    return BOOK.names()


def find(name: str) -> Recipe:
    """The recipe; an unknown name (a spec stored by a later version) behaves as a plain process."""
    return _ALL.get(name, _ALL["process"])


def load(path: Path | str) -> FleetSpec:
    """holdfast.yaml, resolved. Raises HoldfastError SPEC_*."""
    return _load.load(path, BOOK)


def read(path: Path | str) -> Loaded:
    """As `load`, with the origin of every setting, for `effective`. Raises HoldfastError SPEC_*."""
    return _load.read(path, BOOK)


def check(path: Path | str) -> list[Problem]:
    """What is missing around a file that is well written. Raises HoldfastError SPEC_* when it is not."""
    loaded = read(path)
    return _check.check(loaded, lambda spec: find(spec.recipe).check(spec))


__all__ = [
    "BOOK",
    "Effective",
    "FileWrite",
    "Launch",
    "Loaded",
    "PodFacts",
    "Problem",
    "Recipe",
    "check",
    "effective",
    "find",
    "load",
    "names",
    "read",
]
