"""One look at the log files that agents write themselves: `python -P -m holdfast.logs.capping --home HOME`.

One line of JSON on standard input, {"agents": [{"agent", "globs", "cap_bytes", "max_age_s", "uid", "gid", "groups"}]};
one line for each agent on standard output, {"agent", "files": [{"path", "what", "bytes", …}], "more"}. `what`: see
capped.What; files within their cap are not named.

Invariants: paths of agents are touched only in children with their users' rights; who has a file open is found out with
our own; one agent's dead file system holds up no other; it dies with the keeper. Started by
keeper/watching/capped_files.py.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from holdfast import limits
from holdfast.logs import capped, cutting, helper, writers
from holdfast.logs.capped import What
from holdfast.logs.rights import Found, Rights, work

_READ = os.O_RDONLY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def look(patterns: list[str], cap_bytes: int, max_age_s: float, now_at: float) -> Iterator[Found]:
    """In the child: which files are over their cap. What was kept of others goes when it is too old."""
    uid = os.geteuid()
    seen: set[str] = set()
    for pattern in patterns:
        for path in islice(glob.iglob(pattern, recursive=True), limits.CAPPED_MATCHES_MAX + 1):
            if len(seen) >= limits.CAPPED_MATCHES_MAX:
                yield {"more": True}
                break
            if path in seen or capped.is_ours(path):
                continue
            seen.add(path)
            found = _look(path, uid, cap_bytes)
            if found is not None:
                yield found
        _tidy(pattern, uid, now_at - max_age_s)


def _look(path: str, uid: int, cap_bytes: int) -> Found | None:
    found: Found = {"path": path, "what": What.LEFT}
    try:
        status = os.lstat(path)
        if not os.path.isfile(path) or os.path.islink(path) or status.st_size <= cap_bytes:
            return None
        found["bytes"] = status.st_size
        directory = os.open(os.path.dirname(path), _DIRECTORY)
        try:
            fd = cutting.open_log(directory, os.path.basename(path), uid, _READ)
        finally:
            os.close(directory)
    except FileNotFoundError:
        return None
    except cutting.Unfit as unfit:
        return {**found, "why": str(unfit)}
    except OSError as error:
        return {**found, "why": error.strerror or str(error)} if "bytes" in found else None
    try:
        status = os.fstat(fd)
        identity = {"device": status.st_dev, "inode": status.st_ino, "written": writers.is_written(fd)}
        return {**found, **identity, "what": What.WAITS}
    finally:
        os.close(fd)


def _tidy(pattern: str, uid: int, before_at: float) -> None:
    """What was kept and is too old, also of logs that are gone; and halves that a killed one left."""
    for suffix, until_at in ((capped.SUFFIX, before_at), (capped.PARTIAL, float("inf"))):
        for path in islice(glob.iglob(pattern + suffix, recursive=True), limits.CAPPED_MATCHES_MAX):
            try:
                status = os.lstat(path)
                if status.st_uid == uid and status.st_mtime < until_at and not os.path.isdir(path):
                    os.unlink(path)
            except OSError:
                continue


def cut_all(files: list[Found], cap_bytes: int) -> Iterator[Found]:
    """In the child: cut what may be cut."""
    for file in files:
        told = {"path": file["path"], "bytes": file["bytes"]}
        try:
            directory = os.open(os.path.dirname(file["path"]), _DIRECTORY)
            try:
                done = cutting.cut(directory, os.path.basename(file["path"]), os.geteuid(), cap_bytes)
            finally:
                os.close(directory)
            if done is not None:
                yield {**told, "what": What.CUT, **done._asdict()}
        except cutting.Unfit as unfit:
            yield {**told, "what": What.LEFT, "why": str(unfit)}
        except OSError as error:
            yield {**told, "what": What.LEFT, "why": f"it cannot be cut: {error.strerror or error}"}


def one_agent(asked: dict[str, Any]) -> dict[str, Any]:
    """Look, ask who writes, cut."""
    rights = Rights(asked.get("uid"), asked.get("gid"), tuple(asked.get("groups") or ()))
    cap_bytes, now_at = int(asked["cap_bytes"]), time.time()
    answer: dict[str, Any] = {"agent": asked["agent"], "files": [], "more": False}
    globs = [str(pattern) for pattern in asked["globs"]]
    found, whole = work(rights, lambda: look(globs, cap_bytes, asked["max_age_s"], now_at), limits.CAPPED_LIST_MAX_S)
    answer["more"] = not whole or any("more" in one for one in found)
    files = [one for one in found if "path" in one]
    answer["files"] = [one for one in files if one["what"] != What.WAITS]
    ready: list[Found] = []
    waiting = [one for one in files if one["what"] == What.WAITS]
    wanted = {
        (one["device"], one["inode"]): os.path.basename(one["path"]) for one in waiting if one["written"] is not False
    }
    uids = {os.geteuid(), 0, *([rights.uid] if rights.uid is not None else [])}
    openers = writers.find(wanted, uids) if wanted else {}
    for one in waiting:
        why = capped.waits_for(one["written"], openers.get((one["device"], one["inode"]), []))
        if why:
            answer["files"].append({"path": one["path"], "what": What.WAITS, "bytes": one["bytes"], "why": why})
        else:
            ready.append(one)
    if ready:
        import zstandard  # noqa: F401  # before rights are given up: the agent's user may not be able to read it

        timeout_s = limits.CAPPED_CUT_MAX_S * len(ready)
        cut, whole = work(rights, lambda: cut_all(ready, cap_bytes), min(timeout_s, limits.CAPPED_ROUND_MAX_S / 2))
        answer["files"] += cut
        answer["more"] = answer["more"] or not whole
    return answer


def _work(home: Path) -> None:
    for asked in json.loads(sys.stdin.readline())["agents"]:
        print(json.dumps(one_agent(asked)), flush=True)


if __name__ == "__main__":
    sys.exit(helper.run("capping", _work, yielding=True))
