"""An agent's repository from its second place alone: read there by ranges, or brought home as the same repository.

Invariants: a pack is kept only if its bytes match its name; the repository appears in HOME/state/AGENT under the lock
and in one rename, so that a broken-off attempt leaves nothing that could be taken for all of it, and the next one goes
on; the epoch is raised above every snapshot's, so that a former machine's late writes sort before ours, and it is kept
from further ones as soon as it looks. Called by
`holdfast restore --from` and by the worker.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from holdfast.errors import SECOND_PLACE_EMPTY, SECOND_PLACE_FAILED, SECOND_PLACE_OTHER, HoldfastError
from holdfast.files import sync_directory
from holdfast.state.model import Snapshot
from holdfast.state.second_place import fence
from holdfast.state.second_place.second_place import agents_there, open_agent
from holdfast.state.second_place.upload_queue import FILE_NAME as UPLOADS
from holdfast.state.store.config import RepositoryConfig, peek
from holdfast.state.store.damage import Damaged
from holdfast.state.store.ids import content_name
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import CONFIG, PACKS, PINS, SNAPS, TRASH, read_pack, read_snapshot
from holdfast.state.store.objects import Missing, Store, Stored, StoreError
from holdfast.state.store.repository import Repository
from holdfast.state.store.writing import EPOCH, lock

Progress = Callable[[int, int, str], None]
COMING = "repo.coming"


class Found(Struct, frozen=True, kw_only=True):
    """An agent in the second place. `newest` None: it has a repository and no snapshot. `bytes`: of its packs."""

    agent: str
    config: RepositoryConfig
    snapshots: int
    newest: Snapshot | None
    bytes: int


def survey(url: str) -> list[Found]:
    """Who has snapshots there; needs no recovery key. Raises HoldfastError."""
    with _said(url):
        return [found for agent in agents_there(url) if (found := _look(open_agent(url, agent), agent)) is not None]


def _look(store: Store, agent: str) -> Found | None:
    try:
        config = peek(store.get(CONFIG))
    except Missing:
        return None
    snapshots = [one for found in store.list(SNAPS) if (one := read_snapshot(found.name.removeprefix(SNAPS)))]
    newest = max(snapshots, key=lambda one: (one.seq, one.epoch), default=None)
    size = sum(found.size for found in store.list(PACKS))
    return Found(agent=agent, config=config, snapshots=len(snapshots), newest=newest, bytes=size)


def open_remote(url: str, agent: str, key: bytes, cache: Path | None = None) -> Repository:
    """Read from there alone: lists, manifests, and of packs only the ranges asked for.

    Raises HoldfastError: nothing there, no answer, wrong recovery key.
    """
    with _said(url):
        try:
            return Repository.open(open_agent(url, agent), key, cache)
        except Missing:
            raise HoldfastError(SECOND_PLACE_EMPTY, where=url, what=agent) from None


def bring_home(
    url: str,
    agent: str,
    state_dir: Path,
    progress: Progress = lambda done, total, what: None,
    *,
    set_aside: bool = False,
    told: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Copy the whole repository to HOME/state/AGENT/repo and raise the epoch; returns its directory. Idempotent.

    A pack that is damaged there is left there, and `told`: it holds up nothing that does not need it. A repository that
    is here already is completed when it is the same; another one is refused, or with `set_aside` kept beside it under
    another name. Raises HoldfastError.
    """
    with _said(url), lock(state_dir):
        there = open_agent(url, agent)
        repo = state_dir / "repo"
        try:
            theirs = there.get(CONFIG)
        except Missing:
            raise HoldfastError(SECOND_PLACE_EMPTY, where=url, what=agent) from None
        if set_aside and is_another(state_dir, theirs):
            _set_aside(state_dir)
        _same_or_none(repo, theirs, state_dir)
        place = repo if (repo / CONFIG).exists() else state_dir / COMING
        here = LocalStore(place)
        here.put(CONFIG, theirs)
        _same_or_none(place, theirs, state_dir)
        _copy(there, here, progress, told)
        if place != repo:
            if repo.is_dir() and not any(repo.iterdir()):
                repo.rmdir()
            os.rename(place, repo)
            sync_directory(state_dir)
        _raise_epoch(state_dir, LocalStore(repo))
        fence.take_over(state_dir, there)
        return repo


def is_another(state_dir: Path, theirs: bytes) -> bool:
    """Whether this home has a repository of its own under that agent's name. `theirs`: the other one's config."""
    try:
        return (state_dir / "repo" / CONFIG).read_bytes() != theirs
    except FileNotFoundError:
        return False


def _set_aside(state_dir: Path) -> None:
    """Kept whole; what was derived from it goes. The queue of uploads is about that repository too."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    shutil.rmtree(state_dir / "cache", ignore_errors=True)
    for name in (COMING, UPLOADS):
        if (state_dir / name).exists():
            os.rename(state_dir / name, state_dir / f"{name}.before-{stamp}")
    for suffix in ("-wal", "-shm"):
        (state_dir / (UPLOADS + suffix)).unlink(missing_ok=True)
    os.rename(state_dir / "repo", state_dir / f"repo.before-{stamp}")
    sync_directory(state_dir)


def _same_or_none(place: Path, theirs: bytes, state_dir: Path) -> None:
    try:
        ours = (place / CONFIG).read_bytes()
    except FileNotFoundError:
        return
    if ours != theirs:
        raise HoldfastError(SECOND_PLACE_OTHER, agent=peek(theirs).agent, path=str(state_dir))


def _copy(there: Store, here: LocalStore, progress: Progress, told: Callable[[str], None]) -> None:
    """Manifests are listed first and come last, after all packs they may need."""
    manifests = [found for prefix in (TRASH, SNAPS, PINS) for found in there.list(prefix)]
    packs = list(there.list(PACKS))
    have = {found.name: found.size for found in here.list("")}
    missing = [found for found in (*packs, *manifests) if have.get(found.name) != found.size]
    total, done = sum(found.size for found in missing), 0
    for found in missing:
        try:
            here.put(found.name, _checked(there, found))
        except Damaged as damaged:
            told(f"{damaged}; snapshots that need it cannot be restored whole: see `holdfast state verify --all`")
        done += found.size
        progress(done, total, "fetching")


def _checked(there: Store, found: Stored) -> bytes:
    """A manifest is checked by its id when it is read; it needs the key."""
    data = there.get(found.name)
    pack = read_pack(found.name)
    if pack is not None and content_name(data) != pack:
        raise Damaged(f"{there.where}/{found.name}", "its bytes do not match its name")
    return data


def _raise_epoch(state_dir: Path, here: LocalStore) -> None:
    names = [found.name.partition("/")[2].partition("~")[0] for prefix in (SNAPS, TRASH) for found in here.list(prefix)]
    highest = max((one.epoch for name in names if (one := read_snapshot(name))), default=0)
    path = state_dir / EPOCH
    own = path.read_bytes().strip() if path.exists() else b""
    if highest >= (int(own) if own.isdigit() else 0):
        path.write_bytes(b"%06d" % min(highest, 999_998))
        path.chmod(0o600)


@contextmanager
def _said(url: str) -> Iterator[None]:
    """Errors of the place as what a user reads."""
    try:
        yield
    except StoreError as error:
        raise HoldfastError(SECOND_PLACE_FAILED, where=url, reason=str(error)) from error
    except OSError as error:
        raise HoldfastError(SECOND_PLACE_FAILED, where=url, reason=error.strerror or type(error).__name__) from error
