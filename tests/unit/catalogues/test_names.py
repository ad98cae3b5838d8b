"""Bounds and errors are found by name through one door each: no name may stand for two things."""

from __future__ import annotations

import ast
import pkgutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from holdfast import errors, limits


def defined_in(package: ModuleType) -> Counter[str]:
    """How often each name is given a value in the modules of a package."""
    found: Counter[str] = Counter()
    for directory in package.__path__:
        for module in pkgutil.iter_modules([directory]):
            tree = ast.parse(Path(directory, f"{module.name}.py").read_text())
            for node in tree.body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
                found.update(target.id for target in targets if isinstance(target, ast.Name))
    return found


@pytest.mark.parametrize("package", [errors, limits])
def test_each_name_is_given_once_and_stands_in_the_door(package: ModuleType) -> None:
    found = defined_in(package)
    assert len(found) > 50
    assert [name for name, times in found.items() if times > 1] == []
    assert [name for name in found if not hasattr(package, name)] == []
