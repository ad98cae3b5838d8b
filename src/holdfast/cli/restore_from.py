"""`holdfast restore --from URL`: from a second place alone, when the machine that made the snapshots is lost.

Invariant: no keeper is needed, and no agent is touched: with `--to` files are written to a new directory, without it
the repository is brought home, where a restore finds it. The recovery key is tried before anything is written; it comes
from a file, standard input or a hidden prompt, never from the command line. Called by restore.py.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast import errors
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.state.model import Manifest, Snapshot
    from holdfast.state.repository import Repository

HELP = "holdfast restore"


def survey(session: Session, url: str) -> None:
    """Who has snapshots there. Raises HoldfastError."""
    from holdfast.cli.render import clock, size, table, terminal_width
    from holdfast.state import rebuild

    found = rebuild.survey(url)
    if session.as_json:
        rows = [
            {"agent": one.agent, "snapshots": one.snapshots, "bytes": one.bytes,
             "newest": one.newest and one.newest.id, "newest_at": one.newest and one.newest.at}
            for one in found
        ]  # fmt: skip
        session.answer({"from": url, "agents": rows})
        return
    if not found:
        raise HoldfastError(errors.SECOND_PLACE_EMPTY, where=url, what="any agent")
    cells = [
        (one.agent, f"{one.snapshots:,}", size(one.bytes), one.newest.id[:12] if one.newest else "-",
         clock(one.newest.at if one.newest else None))
        for one in found
    ]  # fmt: skip
    headers = ("AGENT", "SNAPSHOTS", "SIZE", "NEWEST", "TAKEN")
    click.echo("\n".join(table(headers, cells, width=terminal_width())))
    click.echo(f"look into one: holdfast restore {found[0].agent} --from {url} --to NEW_DIRECTORY")


def run(
    session: Session, agent: str, url: str, key_file: str | None, wished: str, *, path: str | None, to: str | None
) -> None:
    """Write one snapshot to a directory, or bring all of them home. Raises HoldfastError."""
    from holdfast.state import rebuild

    key = _key(session, key_file)
    repository = rebuild.open_remote(url, agent, key)  # a wrong key ends here
    try:
        snapshot = _chosen(repository, agent, wished)
        manifest = repository.manifest(snapshot)
        if to is not None:
            _write(session, repository, snapshot, manifest, url, path, Path(to))
            return
    finally:
        repository.close()
    _bring_home(session, agent, url, key, snapshot, manifest)


def _key(session: Session, key_file: str | None) -> bytes:
    """Raises HoldfastError RECOVERY_KEY_UNUSABLE, USAGE."""
    from holdfast.state import keys

    try:
        if key_file == "-":
            return keys.read_recovery(sys.stdin.read(4096))
        if key_file is not None:
            return keys.read_recovery(Path(key_file))
        own = session.home.path / "state" / keys.FILE_NAME
        if own.exists():
            return keys.read_recovery(own)
    except OSError as error:
        raise HoldfastError(errors.RECOVERY_KEY_UNUSABLE, where=key_file or "", reason=error.strerror) from error
    if session.as_json or not sys.stdin.isatty():
        reason = "the recovery key is needed: --key-file FILE, or - for standard input"
        raise HoldfastError(errors.USAGE, reason=reason, command=HELP)
    hint = "Recovery key (64 hex digits, as `holdfast state key` printed it)"
    return keys.read_recovery(click.prompt(hint, hide_input=True, err=True))


def _chosen(repository: Repository, agent: str, wished: str) -> Snapshot:
    """Raises HoldfastError NO_SNAPSHOTS, SNAPSHOT_NOT_FOUND, SNAPSHOT_AMBIGUOUS."""
    from holdfast.state import choose
    from holdfast.state.answers import SnapshotRow
    from holdfast.state.model import Cause

    snapshots = repository.snapshots()
    pins: dict[str, tuple[str, ...]] = {}
    for pin in repository.pins():
        pins[pin.id] = (*pins.get(pin.id, ()), pin.why)
    rows = [
        SnapshotRow(id=one.id, at=one.at, seq=one.seq, cause=Cause.TIMER, pins=pins.get(one.id, ()))
        for one in snapshots
    ]
    found = choose.choose(agent, rows, choose.wish(wished, time.time(), prefer_id=True))
    return next(one for one in snapshots if one.id == found.id)


def _write(
    session: Session,
    repository: Repository,
    snapshot: Snapshot,
    manifest: Manifest,
    url: str,
    path: str | None,
    to: Path,
) -> None:
    from holdfast.cli.render import clock, one_line
    from holdfast.cli.state_progress import shown
    from holdfast.cli.state_view import count
    from holdfast.state import materialize
    from holdfast.state.objects import StoreError

    began_mono = time.monotonic()
    try:
        with shown(session, f"fetching {manifest.agent}") as show:
            built = materialize.build_to(
                repository,
                snapshot,
                manifest,
                to,
                only=path,
                progress=lambda done, total: show(done, total, "fetching"),
            )
    except StoreError as error:
        raise HoldfastError(errors.SECOND_PLACE_FAILED, where=url, reason=error) from error
    took_s = time.monotonic() - began_mono
    if session.as_json:
        answer = {"agent": manifest.agent, "snapshot": snapshot.id, "at": snapshot.at, "to": str(to)}
        session.answer({**answer, "files": built.files, "where": built.where, "notes": built.notes, "took_s": took_s})
        return
    which = f"snapshot {snapshot.short} of {clock(snapshot.at)}"
    click.echo(f"{manifest.agent}: {which} is in {one_line(to)} ({count(built.files, 'file')}, every block checked)")
    for was, now in built.where.items():
        click.echo(f"  {one_line(now)}  was {one_line(was)}")
    for note in built.notes:
        click.echo(f"  {one_line(note)}")


def _bring_home(session: Session, agent: str, url: str, key: bytes, snapshot: Snapshot, manifest: Manifest) -> None:
    from holdfast.cli.state_progress import shown
    from holdfast.state import rebuild

    session.home.prepare()
    _keep_key(session, key)
    state_dir = session.home.path / "state" / agent
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with shown(session, f"bringing {agent} home") as show:
        repository = rebuild.bring_home(url, agent, state_dir, show)
    paths = [root.path for root in manifest.roots]
    if session.as_json:
        answer = {"agent": agent, "snapshot": snapshot.id, "at": snapshot.at, "repository": str(repository)}
        session.answer({**answer, "paths": paths, "from": url})
        return
    click.echo("\n".join(_home_lines(agent, manifest, snapshot.short, snapshot.at)))


def _home_lines(agent: str, manifest: Manifest, short: str, at: float) -> list[str]:
    """What is done, and the two steps that are left."""
    from holdfast.cli.render import clock, one_line

    paths = ", ".join(one_line(root.path) for root in manifest.roots)
    return [
        f"{agent}: its snapshots are in this home now; its files ({paths}) are not touched yet",
        f"  1. declare {agent} in holdfast.yaml as before, and start it:  holdfast up -d",
        f"  2. bring back snapshot {short} of {clock(at)}:  holdfast restore {agent} {short}",
    ]


def _keep_key(session: Session, key: bytes) -> None:
    """This home reads those snapshots from now on. Raises HoldfastError RECOVERY_KEY_WRONG, HOME_UNUSABLE."""
    from holdfast.files import write_atomic
    from holdfast.state import keys

    own = session.home.path / "state" / keys.FILE_NAME
    try:
        if own.exists():
            if keys.read_recovery(own) != key:
                reason = f"{own} is another recovery key: use --to NEW_DIRECTORY, or another home with --home"
                raise HoldfastError(errors.USAGE, reason=reason, command=HELP)
            return
        own.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(own, key.hex().encode() + b"\n", mode=0o600)
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=session.home.path, reason=error.strerror or error) from error


def default_url(value: str) -> str:
    """A bucket's URL as it is, a directory made absolute."""
    return value if "://" in value else os.path.abspath(os.path.expanduser(value))
