"""The jobs of a restore as the keeper asks for them: the steps of restoring.py, and what belongs to each.

Invariants: what snapshots leave out moves over after the exchange, and back before the way back; a tree that does not
pass its agent's validators never takes the live one's place when nobody looks; each job may be repeated after a kill.
Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any

import msgspec

from holdfast import limits
from holdfast.spec.validator import Validator
from holdfast.state.checks import validate
from holdfast.state.looking import history
from holdfast.state.model import Manifest
from holdfast.state.restore import asides, carrying, exchange, intent, kept_trees, planning, target, telling
from holdfast.state.restore.intent import Intent, Phase, Place
from holdfast.state.store.names import Trashed
from holdfast.worker import opening, restoring
from holdfast.worker.call import Call
from holdfast.worker.protocol import JobFailed
from holdfast.worker.upkeep import find

FAULTY = "faulty"  # kind of failure: the snapshot can be read, but holds what its agent cannot start with
_LOOK_AGAIN_S = 0.3  # a file that was being written is whole by then

settle = restoring.settle


def build(call: Call) -> dict[str, Any]:
    """As restoring.build; `path` may be relative to a state path. With `check`, what is built must pass `validators`.

    Adds {"files", "bytes"}. Raises JobFailed FAULTY; then nothing is left.
    """
    args, home = call.args, opening.directory(call.args)
    if args.get("to"):
        live = () if args.get("gone") else args["paths"]  # of one that was removed nothing lives there
        target.check(str(args["to"]), live, args["state_dir"])
    with opening.looked_at(args) as repository:
        found = find(repository, args["snapshot"])
        manifest = repository.manifest(found)
        short = found.snapshot.short if isinstance(found, Trashed) else found.short
        if args.get("path"):
            args["path"] = history.likeliest(repository, manifest.roots, str(args["path"]))
    if not args.get("to"):
        kept_trees.make_way(home, short)
    told = restoring.build(call)
    if not args.get("to"):
        with opening.locked(args):
            current = intent.load(home)
            if current is not None and current.phase is Phase.BUILT:
                current.state_paths = list(args["paths"])
                current.left_out = [list(args["exclude"]), _left_out_then(manifest)]
                intent.save(home, current)
                if args.get("check"):
                    _must_pass(call, current)
    path = args.get("path") or ""  # how much of the snapshot that is, is not counted
    return {**told, "files": 0 if path else manifest.files, "bytes": 0 if path else manifest.bytes, "path": path}


def locate(call: Call) -> dict[str, Any]:
    """What `build` would restore of `path`. {"path"} Raises HoldfastError RESTORE_NOT_THERE, StoreError."""
    with opening.looked_at(call.args) as repository:
        found = find(repository, call.args["snapshot"])
        manifest = repository.manifest(found)
        path = history.likeliest(repository, manifest.roots, str(call.args["path"]))
        snapshot = found.snapshot if isinstance(found, Trashed) else found
        planning.choose(repository, manifest, snapshot, path)
    return {"path": path}


def _left_out_then(manifest: Manifest) -> list[str]:
    """What the agent's definition left out when the snapshot was taken."""
    try:
        return [str(one) for one in json.loads(manifest.spec)["state"]["exclude"]]
    except (ValueError, KeyError, TypeError):
        return []


def _must_pass(call: Call, current: Intent) -> None:
    fresh = [_fresh(place, current.short) for place in current.places if place.present]
    faults = validate.check(fresh, _validators(call), rights=current.rights)
    if faults:
        exchange.clear(opening.directory(call.args))
        raise JobFailed(FAULTY, f"{os.path.basename(faults[0].path)} in it is damaged too: {faults[0].reason}")


def _fresh(place: Place, short: str) -> str:
    directory, name = os.path.split(place.path)
    return os.path.join(place.path if place.inside else directory, asides.fresh(name, short))


def _validators(call: Call) -> tuple[Validator, ...]:
    return msgspec.convert(call.args.get("validators", []), tuple[Validator, ...])


def swap(call: Call) -> dict[str, Any]:
    """As restoring.swap; then what snapshots leave out moves over, and with `tell` the agent is told.

    Adds {"left_behind": whether some of it is in the old trees alone}.
    """
    told = restoring.swap(call)
    return {**told, **_carried(call), **_tell(call, list(told["old_trees"]))}


def recover(call: Call) -> dict[str, Any]:
    """As restoring.recover; an exchange that was finished is finished in all."""
    told = restoring.recover(call)
    if told["outcome"] != exchange.Outcome.NEW:
        return told
    return {**told, **_carried(call), **_tell(call, list(told.get("intent", {}).get("old_trees", ())))}


def back(call: Call) -> dict[str, Any]:
    """As restoring.back, after what snapshots leave out has moved back."""
    with opening.locked(call.args):
        carrying.back(opening.directory(call.args))
    return restoring.back(call)


def keep(call: Call) -> dict[str, Any]:
    """The restore is over, its old trees stay until `until_at`. {"trees"}"""
    with opening.locked(call.args):
        return {"trees": kept_trees.keep(opening.directory(call.args), float(call.args["until_at"]))}


def drop(call: Call) -> dict[str, Any]:
    """Delete the kept trees whose time is up, with `everything` all. {"gone"}"""
    with opening.locked(call.args):
        everything = bool(call.args.get("everything"))
        return {"gone": kept_trees.drop(opening.directory(call.args), time.time(), everything=everything)}


def check(call: Call) -> dict[str, Any]:
    """Whether the agent's live files pass `validators`. {"faults": [{"path", "reason"}]}

    A fault must be there twice: the agent may be running, and be writing that file.
    """
    paths, rights, validators = list(call.args["paths"]), opening.rights(call.args), _validators(call)
    first = validate.examine(paths, validators, rights=rights, timeout_s=limits.STATE_CHECK_MAX_S).faults
    if not first:
        return {"faults": []}
    time.sleep(_LOOK_AGAIN_S)
    again = {one.path for one in validate.examine(paths, validators, rights=rights).faults}
    faults = [{"path": one.path, "reason": one.reason} for one in first if one.path in again]
    return {"faults": faults[: limits.RESTORE_NOTES_MAX]}


def _carried(call: Call) -> dict[str, Any]:
    home = opening.directory(call.args)
    with opening.locked(call.args):
        carrying.over(home)
        current = intent.load(home)
    if current is None:
        return {"left_behind": False}
    return {"left_behind": current.left_behind, "notes": list(current.notes)}


def _tell(call: Call, old_trees: list[str]) -> dict[str, Any]:
    """Into the first of its state directories. An agent that cannot be told is started all the same."""
    tell = call.args.get("tell")
    if not tell:
        return {}
    lost = telling.Lost(
        snapshot=tell["snapshot"],
        at=tell["at"],
        lost_s=tell["lost_s"],
        damaged=tuple(old_trees) if tell.get("damaged") else (),
        reason=tell.get("reason", ""),
    )
    for path in call.args["paths"]:
        if os.path.isdir(path):
            with suppress(OSError):
                return {"told": telling.told(path, opening.rights(call.args), lost)}
    return {}
