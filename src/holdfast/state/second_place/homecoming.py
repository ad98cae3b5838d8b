"""An agent's files on a machine that has nothing of it yet: the key, the owner, the paths, and the way there.

Invariants: nothing that lies at a path is replaced here, only empty places are filled; a home that keeps snapshots
under one recovery key never loses it. Broken off anywhere, the next attempt finishes or begins again. Called by
`holdfast restore --from` where no keeper looks after the agent.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.errors import RECOVERY_KEY_WRONG, SECOND_PLACE_BLOCKED, SECOND_PLACE_KEY, HoldfastError
from holdfast.files import write_atomic
from holdfast.state import opening
from holdfast.state.identity import acting_as
from holdfast.state.model import Manifest, Rights, Snapshot
from holdfast.state.restore import exchange, materialize
from holdfast.state.store import config as configs
from holdfast.state.store import keys
from holdfast.state.store.names import CONFIG
from holdfast.state.store.repository import Repository


def adopt_key(state_home: Path, key: bytes, agent: str) -> None:
    """From here on `key` is this home's (HOME/state). A key that nothing was made with is set aside for it.

    Raises HoldfastError when snapshots here need another one, OSError.
    """
    path = state_home / keys.FILE_NAME
    state_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() or path.with_name(keys.COPY_NAME).exists():
        own = keys.recovery_key(state_home)
        if own == key:
            return
        for config in state_home.glob(f"*/repo/{CONFIG}"):
            if config.parent.parent.name != agent and _opens(config, own):
                raise HoldfastError(SECOND_PLACE_KEY, home=str(state_home.parent), agent=agent)
        write_atomic(path.with_name(f"{keys.FILE_NAME}.before-{int(time.time())}"), own.hex().encode() + b"\n")
    write_atomic(path, key.hex().encode() + b"\n")
    keys.keep_copy(path, key)


def _opens(config: Path, key: bytes) -> bool:
    try:
        configs.decode(config.read_bytes(), key, str(config))
    except HoldfastError as error:
        return error.kind is not RECOVERY_KEY_WRONG
    return True


def rights_of(manifest: Manifest) -> tuple[Rights | None, str]:
    """As whom its files are written here, and what is to be said of it."""
    if os.geteuid() != 0:
        return None, ""
    try:
        user = pwd.getpwnam(manifest.pod_user)
    except KeyError:
        unknown = manifest.pod_user or "its former user"
        return None, f"{unknown} is not known on this machine: files keep the numbers of their former owners"
    groups = tuple(os.getgrouplist(user.pw_name, user.pw_gid))
    return Rights(uid=user.pw_uid, gid=user.pw_gid, groups=groups), ""


def check_empty(manifest: Manifest) -> None:
    """Raises HoldfastError SECOND_PLACE_BLOCKED where something lies at a path of it."""
    for root in manifest.roots:
        try:
            empty = os.path.isdir(root.path) and not os.listdir(root.path)
        except OSError:
            empty = False
        if os.path.lexists(root.path) and not empty:
            raise HoldfastError(SECOND_PLACE_BLOCKED, agent=manifest.agent, path=root.path)


def put_back(
    state_dir: Path,
    repository: Repository,
    snapshot: Snapshot,
    manifest: Manifest,
    progress: Callable[[int, int], None],
) -> list[str]:
    """All its paths, built aside and checked, then exchanged. Returns what is to be said.

    Raises HoldfastError, StoreError, OSError.
    """
    check_empty(manifest)
    rights, note = rights_of(manifest)
    exchange.recover(state_dir)
    for root in manifest.roots:
        _make_way(os.path.dirname(root.path), rights)
    built = materialize.build(
        state_dir, repository, snapshot, manifest, rights=rights, now=time.time(), progress=progress
    )
    exchange.begin(state_dir)
    exchange.settle(state_dir)
    return [text for text in (note, *built.notes) if text]


def _make_way(directory: str, rights: Rights | None) -> None:
    """Directories above a path that this machine does not have; they belong to the agent's user."""
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for path in reversed(missing):
        _make(path, rights)


def _make(path: str, rights: Rights | None) -> None:
    """As ourselves where only root's or our own links lead there, for it may lie in nobody's place; else as the agent:
    a link of its own may lead where it has no business. Raises OSError.
    """
    try:
        parent, name = opening.open_parent(path, None)
    except PermissionError:
        if rights is None:
            raise
        with acting_as(rights):
            parent, name = opening.open_parent(path, rights)
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
            finally:
                os.close(parent)
        return
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        if rights is not None:
            made = opening.open_directory(parent, name)
            try:
                os.fchown(made, rights.uid, rights.gid)
            finally:
                os.close(made)
    finally:
        os.close(parent)
