"""After an upgrade, whoever types `holdfast` gets the release in charge of the home, wherever their own one lies.

Invariants: only a release of our own user's home is run, never an older one than ourselves, and never from a checkout,
whose owner chose it; without a release this costs one readlink. Imports nothing heavy: every command passes here.
Called by the entry point.
"""

from __future__ import annotations

import os
import sys

from holdfast import __version__


def hand_over() -> None:
    """Become the release in charge with the same command line; returns when that is ourselves or there is none."""
    if "--activate" in sys.argv[1:]:
        return  # `upgrade --activate` is about the very code that was typed
    home = os.path.expanduser(_home(sys.argv[1:]))
    python = release_in_charge(os.path.abspath(home))
    if python:
        os.execv(python, [python, "-P", "-m", "holdfast.cli", *sys.argv[1:]])


def release_in_charge(home: str) -> str:
    """The interpreter of the release that shall run instead of us, "" for none."""
    releases = os.path.join(home, "releases")
    try:
        name = os.readlink(os.path.join(releases, "current"))
        if os.stat(releases).st_uid != os.geteuid() or "/" in name:
            return ""
    except OSError:
        return ""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    release = os.path.realpath(os.path.join(releases, name))
    ours = os.path.realpath(sys.prefix)
    if _inside(source, release) or not _inside(source, ours) or _newer_than(name):
        return ""
    python = os.path.join(release, "bin", "python")
    complete = os.path.isfile(os.path.join(release, "release.json")) and os.access(python, os.X_OK)
    return python if complete else ""


def _home(arguments: list[str]) -> str:
    """As the command line and home.find_home will choose it."""
    chosen = os.environ.get("HOLDFAST_HOME", "")
    for index, word in enumerate(arguments):
        if word == "--":
            break
        if word == "--home" and index + 1 < len(arguments):
            chosen = arguments[index + 1]
        elif word.startswith("--home="):
            chosen = word.partition("=")[2]
    return chosen or ("/var/lib/holdfast" if os.getuid() == 0 else "~/.holdfast")


def _newer_than(release: str) -> bool:
    """Whether we are newer: somebody installed us after that upgrade."""
    return _numbers(__version__) > _numbers(release.partition("-")[0])


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")]


def _inside(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent.rstrip("/") + "/")
