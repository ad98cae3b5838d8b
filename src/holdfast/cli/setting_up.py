"""Carrying out what `holdfast setup` has planned: a file, then commands of this same program, each shown first.

Invariants: an existing holdfast.yaml is never replaced, at most alerts are added at its end; a file appears whole or
not at all, and only after it was read as `check` reads it. Called by setup.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError
from holdfast.sizes import size

if TYPE_CHECKING:
    from holdfast.adoption.first_file import Candidate, Channel
    from holdfast.adoption.proposal import Offer

KNOWN_COST = "about 70 MB with 1,000 agents"
WIDTH_MAX = 100
NO_ALERTS = "nobody is told when an agent cannot be healed; add `alerts:` to the file when you know where"


@dataclass
class Plan:
    """What setup is going to do: a file, then commands of this same program."""

    offer: Offer
    file: Path
    text: str | None = None  # a new file
    channel: Channel | None = None
    start: bool = True
    service: bool = False
    name: str = ""
    notes: list[str] = field(default_factory=list)

    def commands(self) -> list[list[str]]:
        """In order; the file is written before the first, alerts are added to an existing one after it."""
        todo: list[list[str]] = []
        if self.offer.kind == "adopt":
            todo.append(["adopt", self.offer.what, "--state", self.offer.state, "-f", str(self.file), "--yes"])
        if self.start and (self.offer.kind != "adopt" or self.channel):
            todo.append(["up", "-d", "--wait", "-f", str(self.file)])
        if self.start and self.channel:
            todo.append(["alert", "test"])
        if self.start and self.service:
            todo.append(["service", "install"])
        return todo


# --- the file --------------------------------------------------------------------------------------------------------
def declare(plan: Plan) -> None:
    """Make the text of a new file and see that it is right. Raises SPEC_INVALID."""
    from holdfast.adoption import first_file

    if plan.offer.kind == "file":
        plan.text = first_file.text(_unique(plan.offer.candidates), plan.channel)
        _try_out(plan.file, plan.text)
    elif plan.offer.kind == "up":
        from holdfast import recipes

        recipes.read(plan.file)


def _unique(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    import msgspec

    kept: dict[str, Candidate] = {}
    for each in candidates:
        name, number = each.name, 2
        while name in kept:
            name, number = f"{each.name[:60]}-{number}", number + 1
        kept[name] = msgspec.structs.replace(each, name=name)
    return tuple(kept.values())


def _try_out(file: Path, text: str) -> None:
    """Read it as `check` does, beside where it shall stand, since paths are relative to that; then it is gone again."""
    from holdfast import recipes
    from holdfast.files import write_atomic

    trial = file.with_name(f".{file.name}.{os.getpid()}.trial")
    try:
        write_atomic(trial, text.encode())
        recipes.read(trial)
    except OSError as error:
        reason = f"{file.parent} cannot be written to: {error.strerror or error}"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast setup") from error
    finally:
        trial.unlink(missing_ok=True)


def _write_new(file: Path, text: str) -> None:
    """Never over another: the name is taken only if it is free. Raises USAGE."""
    from holdfast.files import sync_directory, write_atomic

    made = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        write_atomic(made, text.encode(), mode=0o644)
        os.link(made, file)
        sync_directory(file.parent)
    except OSError as error:
        reason = f"{file} cannot be written: {error.strerror or error}; nothing was changed"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast setup") from error
    finally:
        made.unlink(missing_ok=True)


def _add_alerts(file: Path, channel: Channel) -> bool:
    """At the end of an existing file, everything else as it was; False when that is not possible."""
    from holdfast.adoption import first_file
    from holdfast.files import write_atomic

    try:
        text = first_file.with_alerts(file.read_text(encoding="utf-8"), channel)
        if text is None:
            return False
        _try_out(file, text)
        write_atomic(file, text.encode(), mode=file.stat().st_mode & 0o7777)
    except (OSError, UnicodeDecodeError, HoldfastError):
        return False
    return True


# --- doing it --------------------------------------------------------------------------------------------------------
def carry_out(session: Session, plan: Plan) -> int:
    if plan.text is not None:
        _write_new(plan.file, plan.text)
        say(f"wrote {plan.file}")
    waiting = plan.channel if plan.text is None else None
    worst = 0
    for words in plan.commands():
        if words[0] != "adopt" and waiting is not None:
            _put_alerts(plan.file, waiting)
            waiting = None
        say(f"$ holdfast {shlex.join(words)}")
        code = subprocess.call([sys.executable, "-P", "-m", "holdfast.cli", "--home", str(session.home.path), *words])
        worst = worst or code
        if code and words[0] in ("adopt", "up"):
            return code  # its own message stands above
    if waiting is not None:
        _put_alerts(plan.file, waiting)
    _finish(session, plan)
    return worst


def _put_alerts(file: Path, channel: Channel) -> None:
    if _add_alerts(file, channel):
        say(f"added alerts to {file}")
    else:
        say(f"alerts could not be added to {file} safely: add them by hand, see `holdfast explain HF5001`")


def _finish(session: Session, plan: Plan) -> None:
    if plan.channel is None and plan.text is not None:
        say(f"warning: {NO_ALERTS}")
    for note in plan.notes:
        say(note)
    if not plan.start:
        say(f"not started: see `before it runs` in {plan.file}" if plan.offer.needs else "not started")
        say("next: holdfast check && holdfast up -d --wait")
        return
    cost = _measured(session)
    say(f"Holdfast itself uses {cost or KNOWN_COST}")
    say("next: `holdfast ps` (what runs), `holdfast top` (live), `holdfast drill` (does it heal?)")
    if not plan.service:
        say("for good: `holdfast service install` (start at boot)")


def _measured(session: Session) -> str:
    """The memory of Holdfast's own processes, shared pages counted once; "" when it cannot be read."""
    try:
        rows = session.client().get("/v1/status")["holdfast"]["processes"]
        total_kb = 0
        for row in rows:
            if row.get("pid"):
                rollup = Path(f"/proc/{row['pid']}/smaps_rollup").read_text()
                total_kb += int(rollup.partition("\nPss:")[2].split()[0])
    except (HoldfastError, OSError, ValueError, KeyError, IndexError):
        return ""
    if not total_kb:
        return ""
    return f"{size(total_kb * 1024)} of memory (PSS of its {len(rows)} processes, measured now); {KNOWN_COST}"


# --- words -----------------------------------------------------------------------------------------------------------
def say(text: str, first: str = "", later: str = "  ") -> None:
    """One line for a person, broken at the width of the terminal."""
    from holdfast.printable import one_line

    width = max(20, min(shutil.get_terminal_size().columns, WIDTH_MAX))
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    click.echo(textwrap.fill(one_line(text), width, initial_indent=first, subsequent_indent=later, **options))
