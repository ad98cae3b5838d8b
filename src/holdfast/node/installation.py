"""How this Holdfast is installed: which program starts it, and who would put a newer one in its place.

Pure but for looking at paths. Invariant: `program` names an interpreter that stays valid over upgrades: for a release
below the home it goes through `releases/current`. Called by cli/service.py.
"""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holdfast.home import Home

Kind = Literal["release", "pipx", "uv", "venv", "checkout", "system"]
RELEASES = "releases"
CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Installation:
    """`prefix`: the virtual environment; `python`: the interpreter to name in units and crontabs."""

    kind: Kind
    prefix: Path
    python: Path
    source: Path  # directory that holds the package


def find(home: Home) -> Installation:
    """Of the Holdfast that asks."""
    source = Path(__file__).resolve().parents[2]
    return classify(home.path, Path(sys.prefix), Path(sys.executable), source, sys.prefix != sys.base_prefix)


def classify(home: Path, prefix: Path, python: Path, source: Path, in_venv: bool) -> Installation:
    """Told by paths alone. Pure but for resolving links."""
    releases = home / RELEASES
    if in_venv and prefix.resolve().parent == releases.resolve():
        return Installation("release", prefix.resolve(), releases / CURRENT / "bin" / "python", source)
    kind: Kind
    parts = prefix.parts
    if not _inside(source, prefix):
        kind = "checkout"
    elif "pipx" in parts and in_venv:
        kind = "pipx"
    elif in_venv and ("uv", "tools") in itertools.pairwise(parts):
        kind = "uv"
    else:
        kind = "venv" if in_venv else "system"
    return Installation(kind, prefix, python, source)


def command(home: Home) -> list[str]:
    """The start of a command line that is this Holdfast with this home, from anywhere.

    `-P`: a directory named holdfast where somebody stands is not imported.
    """
    return [str(find(home).python), "-P", "-m", "holdfast.cli", "--home", str(home.path)]


def _inside(path: Path, parent: Path) -> bool:
    return os.path.commonpath([path.resolve(), parent.resolve()]) == str(parent.resolve())
