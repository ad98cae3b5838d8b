"""The job `snapshot`: one version of an agent's state, taken with the agent's rights.

Invariants: one writer at a time, also against another Holdfast (the repository's lock); the answer names the newest
snapshot whether or not one was made. Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from holdfast.node import processes
from holdfast.state.answers import Taken
from holdfast.state.capture import capture, freeze
from holdfast.state.capture.capture import CaptureRequest
from holdfast.state.capture.mapped import inodes
from holdfast.state.checks import scrub
from holdfast.state.keeping.condemning import condemned_packs
from holdfast.state.model import Cause, Rest, Snapshot
from holdfast.state.store import names
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer
from holdfast.worker import listing, opening
from holdfast.worker.call import Call, explain
from holdfast.worker.protocol import Fault, JobFailed


def snapshot(call: Call) -> dict[str, Any]:
    """answers.Taken, `unkept` (capture.Taken) and `same_disk`: whether the repository lies where the agent's files do
    (None: not known)."""
    args, home = call.args, opening.directory(call.args)
    with opening.locked(args) as held, opening.repository(args, make=True) as repository:
        anew = home / "cache" / scrub.ANEW
        request = _request(args, home)
        if anew.exists():  # a pack was found damaged: what the agent still has is stored again
            (home / "cache" / "stat").unlink(missing_ok=True)
            request = replace(request, always=True)
        bad = scrub.known_bad(home / "cache")
        writer = Writer(repository, condemned_packs(repository.store) | bad, held.epoch)
        try:
            with writer:
                found = capture.take(
                    repository, writer, request, lambda said: call.progress(said.done, said.total, said.what)
                )
        except capture.CannotCapture as error:
            raise JobFailed(Fault.REFUSED, str(error), lasting=True) from error
        except (StoreError, OSError) as error:
            if explain(error)[0] is Fault.FULL:
                _give_back(repository, writer.newest)
            raise
        anew.unlink(missing_ok=True)
        row = None
        if found.snapshot is not None and found.manifest is not None:
            row = listing.row(found.snapshot, found.manifest, (), listing.remote(args))
    taken = Taken(snapshot=row, unchanged_since=found.unchanged_since)
    more = {"note": found.note, "unkept": found.unkept, "same_disk": _same_disk(home, request.paths)}
    return {**msgspec.to_builtins(taken), **more}


def _give_back(repository: Repository, newest: Snapshot | None) -> None:
    """What a snapshot stored before it found no room: it would only keep the disk full, and no collection takes it
    before there is a newer snapshot. Not where that was committed after all: its name may stand though `put` failed.
    """
    store = repository.store
    assert isinstance(store, LocalStore)
    with suppress(StoreError):
        if repository.snapshots()[-1:] == ([newest] if newest is not None else []):
            for _ in repository.delete_packs(
                [pack for name in store.made if (pack := names.read_pack(name)) is not None]
            ):
                pass


def _request(args: dict[str, Any], home: Path) -> CaptureRequest:
    freezer, mapped = None, partial(frozenset[int])
    if args.get("pid"):
        cgroups = tuple(args.get("cgroups", ()))
        if not args.get("asleep"):  # it stands still already, and letting it go would wake it
            freezer = freeze.choose(
                cgroups[0] if cgroups else None,
                cgroups,
                lambda: _members(cgroups, int(args["pid"])),
                home / freeze.MARK,
            )
        mapped = partial(_mapped, cgroups, int(args["pid"]))
    cause = Cause(args["cause"])
    return CaptureRequest(
        agent=args["agent"],
        paths=tuple(args["paths"]),
        exclude=tuple(args["exclude"]),
        rights=opening.rights(args),
        capture=args["capture"],
        cause=cause,
        label=args.get("label", ""),
        instance=int(args.get("instance", 0)),
        pod_user=args.get("user", ""),
        recipe=args["recipe"],
        spec=args["spec"],
        freezer=freezer,
        mapped=mapped,
        always=cause is Cause.MANUAL and bool(args.get("label")),
        cache=home / "cache",
        rest=Rest(args.get("rest", "")),
        rest_until_mono=args.get("rest_until_mono"),
        never=(Path(args["state_dir"]),),
    )


def _members(cgroups: tuple[str, ...], pid: int) -> list[int]:
    """The agent's processes now: all of its cgroup, else its main process and what descends from it."""
    for directory in cgroups:
        with suppress(OSError, ValueError):
            found = [int(line) for line in Path(directory, "cgroup.procs").read_text().split()]
            if found:
                return found
    return [one.pid for one in processes.tree(pid)]


def _mapped(cgroups: tuple[str, ...], pid: int) -> frozenset[int]:
    return inodes(_members(cgroups, pid))


def _same_disk(home: Path, paths: tuple[str, ...]) -> bool | None:
    """Asked as ourselves: stat of a name tells nothing of what lies there."""
    try:
        ours = os.stat(home).st_dev
    except OSError:
        return None
    devices = set()
    for path in paths:
        with suppress(OSError):
            devices.add(os.stat(path).st_dev)
    return ours in devices if devices else None
