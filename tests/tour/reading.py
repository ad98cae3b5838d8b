"""The tour as steps: which files it writes, which commands it runs, what it says they print.

A fenced block is one step. `yaml` and `python` blocks begin with a comment naming their file; `sh` blocks are commands
(a line each); a block without a language is what the commands before it print. Anything else is refused, so
that nothing in it goes untested. Called by tests/e2e/test_tour.py and by the unit tests beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+)(, at its end)?(?::.*)?$")
_EXIT = re.compile(r"\s#.*\bexit code (\d)\b")
SHORTEST = 4  # blocks; a section with fewer is not the tour


class BadTour(Exception):
    """The section is not written as a tour has to be."""


@dataclass(frozen=True)
class Write:
    """A file the reader writes; `more` adds to one that is there."""

    name: str
    text: str
    more: bool = False


@dataclass(frozen=True)
class Command:
    line: str
    exit_code: int = 0  # said in its comment when it is not 0


@dataclass(frozen=True)
class Run:
    commands: tuple[Command, ...]
    output: str | None = None  # the pattern of all they print; None: the tour does not show it


def section(document: str, title: str) -> str:
    """The text below `## title`, up to the next heading of that rank."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    if found is None:
        raise BadTour(f"there is no section {title!r}")
    return found.group(1)


def steps(text: str) -> list[Write | Run]:
    """The steps of a section, in order. Raises BadTour."""
    found: list[Write | Run] = []
    output_may_follow = False
    blocks = _FENCE.findall(text)
    if text.count("```") != 2 * len(blocks) or len(blocks) < SHORTEST:
        raise BadTour(f"{len(blocks)} whole blocks, {text.count('```')} fences")
    for language, body in blocks:
        if language == "":
            before = found[-1] if output_may_follow else None
            if not isinstance(before, Run):
                raise BadTour(f"no commands print this: {body[:60]!r}")
            found[-1] = Run(before.commands, body)
        elif language == "sh":
            found.append(Run(_commands(body)))
        elif language in ("yaml", "python"):
            found.append(_write(body))
        else:
            raise BadTour(f"a block in {language}: what is to be done with it?")
        output_may_follow = language == "sh"
    return found


def _commands(body: str) -> tuple[Command, ...]:
    commands = []
    for line in body.splitlines():
        if line.strip() and not line.startswith("#"):
            said = _EXIT.search(line)
            commands.append(Command(line, int(said.group(1)) if said else 0))
    return tuple(commands)


def _write(body: str) -> Write:
    first = body.splitlines()[0] if body else ""
    found = _FILE.match(first)
    if found is None:
        raise BadTour(f"which file is this: {first!r}?")
    return Write(found.group(1), body, more=found.group(2) is not None)
