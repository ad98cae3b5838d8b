"""Can this user really run this command from there? Asked before a pod is made, so that the answer is a clear sentence.

Raises the numbered error that names the exact component in the way. Called by pods.pod.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from holdfast import errors
from holdfast.node import reach
from holdfast.node.users import Identity

_SHEBANG_MAX_BYTES = 256  # as the kernel


def check(agent: str, argv: list[str], cwd: str, env: Mapping[str, str], identity: Identity) -> None:
    """Raises HoldfastError SPAWN_FAILED, COMMAND_NOT_FOUND or PLACE_UNREACHABLE."""
    gids = {identity.gid, *identity.groups}
    try:
        place = reach.check(Path(cwd), identity.uid, gids, reach.EXECUTE)
    except reach.Unreachable as error:
        if error.missing:
            reason = f"its working_dir {cwd} does not exist ({error.path} is missing)"
            raise errors.HoldfastError(errors.SPAWN_FAILED, agent=agent, reason=reason) from None
        raise _unreachable(agent, identity, error.path) from None
    if not place.is_dir():
        raise errors.HoldfastError(errors.SPAWN_FAILED, agent=agent, reason=f"its working_dir {cwd} is no directory")
    program = _find(agent, argv[0] if argv else "", cwd, env, identity, gids)
    interpreter = _interpreter(program)
    if interpreter is not None:
        try:
            reach.check(Path(interpreter), identity.uid, gids, reach.EXECUTE)
        except reach.Unreachable as error:
            if error.missing:
                named = f"{interpreter}, which {program} asks for,"
                raise errors.HoldfastError(errors.COMMAND_NOT_FOUND, agent=agent, command=named) from None
            raise _unreachable(agent, identity, error.path) from None


def _find(agent: str, name: str, cwd: str, env: Mapping[str, str], identity: Identity, gids: set[int]) -> Path:
    """The program as the spawner will find it, all links followed."""
    if "/" in name:
        candidates = [Path(cwd, name)]
    else:
        candidates = [Path(cwd, directory, name) for directory in env.get("PATH", "").split(":") if name]
    blocked: Path | None = None
    for candidate in candidates:
        try:
            found = reach.check(candidate, identity.uid, gids, reach.EXECUTE)
        except reach.Unreachable as error:
            if not error.missing:
                blocked = blocked or error.path
            continue
        if found.is_file():
            return found
    if blocked is not None:
        raise _unreachable(agent, identity, blocked)
    raise errors.HoldfastError(errors.COMMAND_NOT_FOUND, agent=agent, command=name or "(empty)")


def _interpreter(program: Path) -> str | None:
    """What a script's first line asks for; None for a binary or what cannot be read."""
    try:
        fd = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        first = os.pread(fd, _SHEBANG_MAX_BYTES, 0)
    finally:
        os.close(fd)
    if not first.startswith(b"#!"):
        return None
    words = first[2:].split(b"\n", 1)[0].split()
    return os.fsdecode(words[0]) if words and words[0].startswith(b"/") else None


def _unreachable(agent: str, identity: Identity, path: Path) -> errors.HoldfastError:
    return errors.HoldfastError(errors.PLACE_UNREACHABLE, agent=agent, user=identity.name, path=path)
