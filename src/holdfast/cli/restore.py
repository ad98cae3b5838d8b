"""`holdfast restore AGENT`: the state of an agent as it was at some moment, in place or beside it.

Invariant: the live tree is touched only after a person agreed to a plan that names the snapshot, its age and what it
replaces; `--to` touches nothing of the agent and never asks. What is done names the snapshot of that plan, by its id.
"""

from __future__ import annotations

import os
import sys
import time
from shlex import quote
from typing import Any

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, complete_agent, complete_snapshot, pass_session
from holdfast.errors import HoldfastError

HELP = "holdfast restore"
PLAN_MAX_S = 120.0  # comparing with the live tree is bounded by the keeper; listing thousands of snapshots is not free
LOST_SHOWN = 8


@click.command(
    "restore",
    cls=Command,
    examples=[
        "holdfast restore assistant --at '10 min ago'",
        "holdfast restore assistant --at 'yesterday 14:00' --to /tmp/look",
        "holdfast restore assistant --to /srv/copy --as assistant-copy > copy.yaml",
        "holdfast restore assistant known-good --yes",
        "holdfast restore assistant 3f2a9c01b2d4 --path memory/notes.md",
        "holdfast restore assistant --from s3://bucket/prefix --key-file recovery.key",
    ],
)
@click.argument("agent", required=False, shell_complete=complete_agent)
@click.argument("snapshot", required=False, shell_complete=complete_snapshot)
@click.option(
    "--at",
    "at",
    metavar="WHEN",
    help="'10 min ago', 1h30m, 03:00, 'yesterday 14:00', 2026-11-21T14:00 (with or without zone), or a SNAPSHOT's id.",
)
@click.option("--path", "path", metavar="P", help="Only this file or directory of it.")
@click.option("--to", "to", metavar="DIR", help="Write it to this new directory instead: the agent is not touched.")
@click.option(
    "--as",
    "clone",
    metavar="NAME",
    help="With --to: print a holdfast.yaml of a copy that runs there, its channels off.",
)
@click.option("--from", "source", metavar="URL", help="From this second place alone (s3://…, a directory): no keeper.")
@click.option(
    "--key-file", metavar="FILE", help="With --from: the recovery key of the lost machine; -: standard input."
)
@click.option("--all", "everyone", is_flag=True, help="With --from: every agent there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@pass_session
def restore(
    session: Session,
    agent: str | None,
    snapshot: str | None,
    at: str | None,
    path: str | None,
    to: str | None,
    clone: str | None,
    source: str | None,
    key_file: str | None,
    everyone: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Bring back what an agent had on disk: the newest snapshot, or the one you name or that fits a time.

    SNAPSHOT is the first digits of an id, `newest`, `known-good` (the last one the agent was proven healthy with) or a
    time. A time means the newest snapshot that is not later; which one that is, and how far it lies from what you asked
    for, is said before anything is done.

    The snapshot is built aside and every block of it checked. Then the agent is stopped, the trees are exchanged, and
    it is started. What was there before is kept as a snapshot first, so a restore can be taken back like anything else.
    If the agent does not get well, the trees are exchanged back.

    --from is for a machine that was lost: without AGENT it lists who has snapshots there; with --to it writes one to a
    directory; else it brings all snapshots of AGENT into this home, and its files to their paths where these are empty.
    """
    wished = _wished(snapshot, at)
    to = None if to is None else _fresh(to)
    if clone is not None and (to is None or source is not None or path is not None):
        raise click.UsageError("--as needs --to DIR, the place of the copy, and neither --from nor --path")
    if source is not None:
        _from(session, agent, source, key_file, wished, path, to, everyone=everyone, yes=yes)
        return
    if agent is None or key_file is not None or everyone:
        raise click.UsageError("name an AGENT" if agent is None else "--key-file and --all belong to --from")
    found = _plan(session, agent, wished, path, compare=to is None)
    chosen = found["snapshot"]["id"]
    again = _command(agent, chosen, path, to, clone)
    if dry_run or not session.as_json:
        _show(session, found, path, to, err=clone is not None)
    if dry_run:
        if not session.as_json:
            click.echo(f"nothing was changed; do it with:  {again}", err=clone is not None)
        return
    if to is None and not yes:
        _agree(session, agent, again)
    _carry_out(session, agent, {"snapshot": chosen, "path": path, "to": to, **({"clone": clone} if clone else {})})


def _from(
    session: Session,
    agent: str | None,
    source: str,
    key_file: str | None,
    wished: str,
    path: str | None,
    to: str | None,
    *,
    everyone: bool,
    yes: bool,
) -> None:
    from holdfast.cli import restore_from

    url = restore_from.default_url(source)
    if everyone:
        restore_from.run_all(session, url, key_file, wished, to=to, yes=yes)
    elif agent is None:
        restore_from.survey(session, url)
    elif path is not None and to is None:
        raise click.UsageError("--path with --from needs --to")
    else:
        restore_from.run(session, agent, url, key_file, wished, path=path, to=to, yes=yes)


def _wished(snapshot: str | None, at: str | None) -> str:
    """What the keeper is asked for; times as seconds, since they were meant in this terminal's zone."""
    if snapshot is not None and at is not None:
        raise click.UsageError("name a SNAPSHOT or a time with --at, not both")
    text = at if at is not None else snapshot
    if text is None:
        return "newest"
    return wish_text(text, prefer_id=at is None)


def wish_text(text: str, *, prefer_id: bool) -> str:
    """A snapshot as a person names it, in a form that means the same everywhere. Raises click.UsageError."""
    from holdfast.state.looking import choose

    try:
        wished = choose.wish(text, time.time(), prefer_id=prefer_id)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if wished.at is not None:
        return f"@{wished.at:.6f}"
    return wished.id or (choose.KNOWN_GOOD if wished.good else choose.NEWEST)


def _fresh(to: str) -> str:
    """The directory as an absolute path. Raises click.UsageError when there is something in it already."""
    path = os.path.abspath(os.path.expanduser(to))
    try:
        if os.listdir(path):
            raise click.UsageError(f"--to {to}: there is something in it already; name a new directory")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise click.UsageError(f"--to {to}: {error.strerror}") from error
    return path


def _plan(session: Session, agent: str, wished: str, path: str | None, *, compare: bool) -> dict[str, Any]:
    query: dict[str, object] = {"snapshot": wished, "compare": int(compare), **({"path": path} if path else {})}
    found: dict[str, Any] = session.client().look(f"/v1/agents/{agent}/restore", query, PLAN_MAX_S)
    return found


def _show(session: Session, found: dict[str, Any], path: str | None, to: str | None, *, err: bool) -> None:
    if session.as_json:
        session.answer({**found, "path": path or "", "to": to or "", "dry_run": True})
        return
    click.echo("\n".join(plan_lines(found, path, to, time.time())), err=err)


def _command(agent: str, snapshot: str, path: str | None, to: str | None, clone: str | None) -> str:
    """The same once more, with the snapshot's id: a time or `newest` may mean another one by then."""
    from holdfast.cli.render import one_line
    from holdfast.cli.state_view import short

    words = [HELP, agent, short(snapshot)]
    for option, value in (("--path", path), ("--to", to), ("--as", clone)):
        words += [option, quote(one_line(value))] if value else []
    return " ".join(words)


def plan_lines(found: dict[str, Any], path: str | None, to: str | None, now_at: float) -> list[str]:
    """The plan for a person who may be frightened: what, how old, what goes, how to take it back."""
    from holdfast.cli.render import clock, one_line, paint, size
    from holdfast.cli.state_view import age, count, notes, short

    chosen, agent = found["snapshot"], str(found.get("agent"))
    what = f"{agent}: {one_line(path)}" if path else agent
    lines = [f"{what} as in snapshot {short(chosen['id'])}, taken {clock(chosen['at'])} ({age(chosen['at'], now_at)})"]
    lines += [f"  {line}" for line in _distance(found)]
    special = "; ".join(notes(chosen))
    lines.append(
        f"  the snapshot holds {count(chosen.get('files'), 'file')}, {size(chosen.get('bytes'))}"
        f"{f' ({special})' if special else ''}"
    )
    lines += [f"  warning: {one_line(text)}" for text in found.get("warnings") or []]
    good = found.get("good")
    if good and good["id"] != chosen["id"]:
        lines.append(f"  the last snapshot it was proven healthy with: {short(good['id'])}, {age(good['at'], now_at)}")
    if to is not None:
        return [*lines, f"  goes to {one_line(to)}; the agent and its files are not touched"]
    lines += _replaced(found, now_at)
    lines.append(paint("  what is there now is kept as a snapshot first: this can be taken back", "green"))
    return [*lines, f"  {_interruption(found)}"]


def _distance(found: dict[str, Any]) -> list[str]:
    """How far the snapshot lies from the wish, and whether clocks can be trusted."""
    from holdfast.cli.render import duration, paint
    from holdfast.cli.state_view import count

    lines, off_s = [], found.get("off_s")
    if off_s is not None and off_s > 0:
        lines.append(
            paint(f"no snapshot is that old: this is the oldest, {duration(off_s)} later than asked", "yellow")
        )
    elif off_s is not None:
        lines.append(f"the newest that is not later than the time you asked for, {duration(-off_s)} before it")
    if found.get("empty"):
        lines.append(
            paint(f"{count(found['empty'], 'newer snapshot')} passed over: no file was left by then", "yellow")
        )
    if found.get("damaged"):
        passed = f"{count(found['damaged'], 'newer snapshot')} passed over: damaged, see `holdfast state verify`"
        lines.append(paint(passed, "yellow"))
    if found.get("clock_changed"):
        lines.append(paint("this machine's clock was set meanwhile: compare with `holdfast snapshots`", "yellow"))
    return lines


def _replaced(found: dict[str, Any], now_at: float) -> list[str]:
    """What stands there now and will be gone from the live tree."""
    from holdfast.cli.state_view import change_counts, change_lines, total_changes

    lost = found.get("lost")
    if lost is None and not found.get("phase"):
        return []
    if lost is None:
        return ["  what changed since then could not be told in time; all of it is replaced"]
    if not total_changes(lost):
        return ["  nothing differs from what is there now"]
    lines = [f"  since then, and undone by this: {change_counts(lost)}"]
    return lines + change_lines(lost, LOST_SHOWN, text=False, indent="    ")


def _interruption(found: dict[str, Any]) -> str:
    phase = str(found.get("phase") or "")
    if not phase:
        return "the agent was removed: it is taken back into the fleet"
    if phase in ("stopped", "finished", "shed", "hibernating", "spare"):
        return f"the agent is {phase} and stays so"
    return f"the agent ({phase}) is stopped for it and started again; if it does not get well, all is put back"


def _agree(session: Session, agent: str, again: str) -> None:
    """Raises USAGE when there is nobody to ask, click.Abort when the answer is no."""
    if session.as_json or not sys.stdin.isatty():
        reason = f"this replaces the state of {agent}, and there is nobody to ask; do it with:  {again} --yes"
        raise HoldfastError(errors.USAGE, reason=reason, command=HELP)
    if not click.confirm("Go on?", default=False, err=True):
        session.hint(f"nothing was changed; later:  {again}")
        raise click.exceptions.Exit(1)


def _carry_out(session: Session, agent: str, asked: dict[str, Any]) -> None:
    from holdfast.cli.state_progress import follow

    try:
        done = follow(session, "POST", f"/v1/agents/{agent}/restore", asked, f"restoring {agent}")
    except KeyboardInterrupt:
        if asked["to"] is None:
            session.hint(f"\nthe restore goes on without this command; see `holdfast events --agent {agent}`")
        raise
    if session.as_json:
        session.answer(done)
        return
    copy = str(done.get("definition") or "")
    click.echo("\n".join(done_lines(agent, done)), err=bool(copy))
    if copy:
        click.echo(copy, nl=False)  # alone on standard output: it is meant for a file


def done_lines(agent: str, done: dict[str, Any]) -> list[str]:
    from holdfast.cli.render import clock, duration, one_line, size
    from holdfast.cli.state_view import count, short

    amount = f"{count(done['files'], 'file')}, {size(done.get('bytes'))}, " if done.get("files") else ""
    checked = f"{amount}every block checked, in {duration(done.get('took_s'))}"
    which = f"snapshot {short(done.get('snapshot'))} of {clock(done.get('at'))}"
    warnings = [f"  warning: {one_line(text)}" for text in done.get("warnings") or []]
    if done.get("to"):
        return [f"{agent}: {which} is in {one_line(done['to'])} ({checked})", *warnings]
    what = one_line(done["path"]) if done.get("path") else "its state"
    phase = f"; it is {done['phase']}" if done.get("phase") else ""
    lines = [f"{agent}: {what} is that of {which} again ({checked}){phase}", *warnings]
    if done.get("before"):
        part = f" --path {quote(what)}" if done.get("path") else ""
        lines.append(f"  take this back with: holdfast restore {agent} {short(done['before'])}{part}")
    return lines
