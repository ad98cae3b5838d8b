"""Jobs that read an agent's snapshots and change nothing. Results have the shapes of state/answers.py.

Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from holdfast.state.keeping import usage
from holdfast.state.looking import differences, history
from holdfast.state.looking import export as exports
from holdfast.state.store import keys
from holdfast.worker import listing, opening
from holdfast.worker.call import Call
from holdfast.worker.protocol import CHUNK_BYTES
from holdfast.worker.upkeep import budget_bytes


def key(call: Call) -> dict[str, Any]:
    """The machine's recovery key, as hex: what reads its snapshots elsewhere."""
    state_dir = Path(call.args["state_dir"])
    return {"key": keys.recovery_key(state_dir).hex(), "path": str(state_dir / keys.FILE_NAME)}


def log(call: Call) -> dict[str, Any]:
    """answers.Versions of `path`."""
    with opening.looked_at(call.args) as repository:
        return _plain(history.versions(repository, call.args["path"], call.progress))


def cat(call: Call) -> dict[str, Any]:
    """The content of `path` in `snapshot`, as chunks."""
    with opening.looked_at(call.args) as repository:
        found = repository.find(call.args["snapshot"])
        return {"bytes": send(call, history.cat(repository, found, call.args["path"]))}


def export(call: Call) -> dict[str, Any]:
    """All of `snapshot` as a tar stream, as chunks."""
    with opening.looked_at(call.args) as repository:
        manifest = repository.manifest(repository.find(call.args["snapshot"]))
        return {"bytes": send(call, exports.stream(repository, manifest))}


def diff(call: Call) -> dict[str, Any]:
    """answers.Differences from snapshot `a` to `b`; with `path`, of what lies there."""
    with opening.looked_at(call.args) as repository:
        a, b = repository.find(call.args["a"]), repository.find(call.args["b"])
        return _plain(differences.diff(repository, a, b, call.args.get("path") or ""))


def du(call: Call) -> dict[str, Any]:
    """answers.Usage."""
    args = call.args
    with opening.repository(args) as repository:
        there = listing.remote(args)
        found = replace(usage.du(repository, call.progress), budget_bytes=budget_bytes(args))
        if there is not None:
            known = sum(1 for one in repository.snapshots() if one.name in there)
            found = replace(found, store=args["store"], remote_snapshots=known)
    return _plain(found)


def send(call: Call, pieces: Iterable[bytes]) -> int:
    """Content in pieces of one size, however it comes; how many bytes that were."""
    held, total = bytearray(), 0
    for piece in pieces:
        held += piece
        total += len(piece)
        while len(held) >= CHUNK_BYTES:
            call.chunk(bytes(held[:CHUNK_BYTES]))
            del held[:CHUNK_BYTES]
    call.chunk(bytes(held))
    return total


def _plain(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(answer)
    return found
