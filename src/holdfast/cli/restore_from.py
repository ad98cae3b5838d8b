"""`holdfast restore --from URL`: from a second place alone, when the machine that made the snapshots is lost.

Invariant: no keeper is needed, and nothing that lies at an agent's path is replaced: with `--to` files are written to a
new directory; without it the repository is brought home, and the files go to their paths where these are empty and no
keeper looks after the agent. The recovery key is tried before anything is written; it comes from a file, standard
input, the environment or a hidden prompt, never from the command line. Called by restore.py.
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
    from holdfast.state.store.repository import Repository

HELP = "holdfast restore"
KEY_ENV = "HOLDFAST_RECOVERY_KEY"
KEEPER_ANSWER_S = 3.0  # whether one runs at all; it answers in milliseconds


def survey(session: Session, url: str) -> None:
    """Who has snapshots there. Raises HoldfastError."""
    from holdfast.cli.render import clock, size, table, terminal_width
    from holdfast.state.second_place import rebuild

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
    session: Session,
    agent: str,
    url: str,
    key_file: str | None,
    wished: str,
    *,
    path: str | None,
    to: str | None,
    yes: bool = False,
) -> None:
    """Write one snapshot to a directory, or bring all of them home. Raises HoldfastError.

    `yes`: snapshots that this home has made of another agent of that name are set aside for it.
    """
    from holdfast.state.store.objects import StoreError

    key = _key(session, key_file)
    try:
        _run(session, agent, url, key, wished, path, to, yes)
    except StoreError as error:
        raise HoldfastError(errors.SECOND_PLACE_FAILED, where=url, reason=error) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise HoldfastError(errors.RESTORE_FAILED, agent=agent, reason=reason) from error


def run_all(session: Session, url: str, key_file: str | None, wished: str, *, to: str | None, yes: bool) -> None:
    """Every agent there, one after the other; with `to` each in a directory of its own below it."""
    from holdfast.state.second_place import rebuild

    found = [one for one in rebuild.survey(url) if one.newest is not None]
    if not found:
        raise HoldfastError(errors.SECOND_PLACE_EMPTY, where=url, what="any agent")
    if key_file == "-":
        raise click.UsageError("--all needs the recovery key in a file or in the environment")
    if to is not None:
        os.makedirs(to, mode=0o700, exist_ok=True)
    for one in found:
        place = None if to is None else os.path.join(to, one.agent)
        run(session, one.agent, url, key_file, wished, path=None, to=place, yes=yes)


def _run(
    session: Session, agent: str, url: str, key: bytes, wished: str, path: str | None, to: str | None, yes: bool
) -> None:
    from holdfast.state.second_place import rebuild

    repository = rebuild.open_remote(url, agent, key)  # a wrong key ends here
    try:
        snapshot = _chosen(repository, agent, wished)
        manifest = repository.manifest(snapshot)
        if to is not None:
            _write(session, repository, snapshot, manifest, path, Path(to))
            return
    finally:
        repository.close()
    _bring_home(session, agent, url, key, snapshot, manifest, yes)


def _key(session: Session, key_file: str | None) -> bytes:
    """Raises HoldfastError RECOVERY_KEY_UNUSABLE, USAGE."""
    from holdfast.state.store import keys

    try:
        if key_file == "-":
            return keys.read_recovery(sys.stdin.read(4096))
        if key_file is not None:
            return keys.read_recovery(Path(key_file))
        if told := os.environ.get(KEY_ENV):
            return keys.read_recovery(told)
        own = session.home.path / "state" / keys.FILE_NAME
        if own.exists():
            return keys.read_recovery(own)
    except OSError as error:
        raise HoldfastError(errors.RECOVERY_KEY_UNUSABLE, where=key_file or "", reason=error.strerror) from error
    if session.as_json or not sys.stdin.isatty():
        reason = f"the recovery key is needed: --key-file FILE, or - for standard input, or {KEY_ENV}"
        raise HoldfastError(errors.USAGE, reason=reason, command=HELP)
    hint = "Recovery key (64 hex digits, as `holdfast state key` printed it)"
    return keys.read_recovery(click.prompt(hint, hide_input=True, err=True))


def _chosen(repository: Repository, agent: str, wished: str) -> Snapshot:
    """Raises HoldfastError NO_SNAPSHOTS, SNAPSHOT_NOT_FOUND, SNAPSHOT_AMBIGUOUS."""
    from holdfast.state.answers import SnapshotRow
    from holdfast.state.looking import choose
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
    path: str | None,
    to: Path,
) -> None:
    from holdfast.cli.render import clock, one_line
    from holdfast.cli.state_progress import shown
    from holdfast.cli.state_view import count
    from holdfast.state.looking import history
    from holdfast.state.restore import materialize, target

    target.check(to, (), session.home.path / "state")
    only = history.likeliest(repository, manifest.roots, path) if path else None
    began_mono = time.monotonic()
    with shown(session, f"fetching {manifest.agent}") as show:
        built = materialize.build_to(
            repository,
            snapshot,
            manifest,
            to,
            only=only,
            progress=lambda done, total: show(done, total, "fetching"),
        )
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


def _bring_home(
    session: Session, agent: str, url: str, key: bytes, snapshot: Snapshot, manifest: Manifest, yes: bool
) -> None:
    from holdfast.cli.state_progress import shown
    from holdfast.state.second_place import homecoming, rebuild

    kept = _is_kept(session, agent)
    if not kept:
        homecoming.check_empty(manifest)  # before gigabytes are fetched
    session.home.prepare()
    homecoming.adopt_key(session.home.path / "state", key, agent)
    state_dir = session.home.path / "state" / agent
    with shown(session, f"bringing {agent} home") as show:
        damaged: list[str] = []
        repository = rebuild.bring_home(url, agent, state_dir, show, set_aside=yes, told=damaged.append)
    notes = [*damaged, *([] if kept else _put_back(session, state_dir, key, snapshot, manifest))]
    paths = [root.path for root in manifest.roots]
    if session.as_json:
        answer = {"agent": agent, "snapshot": snapshot.id, "at": snapshot.at, "repository": str(repository)}
        more = {"restored": not kept, "notes": notes, "user": manifest.pod_user, "spec": manifest.spec}
        session.answer({**answer, "paths": paths, "from": url, **more})
        return
    lines = _home_lines(agent, manifest, snapshot.short, snapshot.at)
    click.echo("\n".join([*lines, *damaged] if kept else _back_lines(agent, manifest, snapshot, notes)))


def _is_kept(session: Session, agent: str) -> bool:
    """Whether a keeper runs in this home and has this agent in its fleet."""
    try:
        rows = session.client(timeout_s=KEEPER_ANSWER_S).get("/v1/status")["agents"]
    except HoldfastError as error:
        if error.kind is errors.KEEPER_UNREACHABLE:
            return False
        raise
    return any(row["name"] == agent for row in rows)


def _put_back(session: Session, state_dir: Path, key: bytes, snapshot: Snapshot, manifest: Manifest) -> list[str]:
    from holdfast.cli.state_progress import shown
    from holdfast.state.second_place import homecoming
    from holdfast.state.store.local_store import LocalStore
    from holdfast.state.store.repository import Repository
    from holdfast.state.store.writing import lock

    with lock(state_dir), shown(session, f"restoring {manifest.agent}") as show:
        local = Repository.open(LocalStore(state_dir / "repo"), key, state_dir / "cache")
        try:
            return homecoming.put_back(
                state_dir, local, snapshot, manifest, lambda done, total: show(done, total, "restoring")
            )
        finally:
            local.close()


def _back_lines(agent: str, manifest: Manifest, snapshot: Snapshot, notes: list[str]) -> list[str]:
    from holdfast.cli.render import clock, one_line

    paths = ", ".join(one_line(root.path) for root in manifest.roots)
    return [
        f"{agent}: {paths} as in snapshot {snapshot.short} of {clock(snapshot.at)}; its snapshots continue here",
        *(f"  {one_line(note)}" for note in notes),
        f"  declare {agent} in holdfast.yaml as before, and start it:  holdfast up -d",
    ]


def _home_lines(agent: str, manifest: Manifest, short: str, at: float) -> list[str]:
    """What is done, and the two steps that are left."""
    from holdfast.cli.render import clock, one_line

    paths = ", ".join(one_line(root.path) for root in manifest.roots)
    return [
        f"{agent}: its snapshots are in this home now; its files ({paths}) are not touched yet",
        f"  1. declare {agent} in holdfast.yaml as before, and start it:  holdfast up -d",
        f"  2. bring back snapshot {short} of {clock(at)}:  holdfast restore {agent} {short}",
    ]


def default_url(value: str) -> str:
    """A bucket's URL as it is, a directory made absolute."""
    return value if "://" in value else os.path.abspath(os.path.expanduser(value))
