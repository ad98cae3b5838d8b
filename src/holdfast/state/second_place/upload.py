"""Brings an agent's repository to its second place: what is only here is sent, what was deleted here is deleted there.

Invariants: packs before the manifests that need them, trash before what it replaces; an object is created there only
where there is none; killed at any moment, the next run goes on (each object sent is noted, and one sent but not noted
is found there); nothing is deleted there because it is missing here, only because it was deleted here. A place that
holds another repository is never touched, and one that another Holdfast took over no more (fence.py). Called by the
worker's jobs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

from msgspec import Struct

from holdfast import limits
from holdfast.state.keeping.condemning import condemned_packs
from holdfast.state.second_place import fence
from holdfast.state.second_place import lag as lags
from holdfast.state.second_place.lag import Lag
from holdfast.state.second_place.second_place import is_bucket, on_other_disk, open_agent
from holdfast.state.second_place.upload_plan import Here, look, order, to_delete
from holdfast.state.second_place.upload_queue import FILE_NAME, Queue
from holdfast.state.store.config import peek
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import CONFIG, PACKS, SNAPS, pack_object, read_snapshot, read_trashed
from holdfast.state.store.objects import Missing, Store, StoreError

Progress = Callable[[int, int, str], None]  # done and all bytes, and what


class Uploaded(Struct, frozen=True, kw_only=True):
    """What one run did. `kept_there`: deleted here, but the place does not let us delete (keys without that right)."""

    objects: int = 0
    bytes: int = 0
    deleted: int = 0
    kept_there: int = 0
    lag: Lag


def claim(local: Store, remote: Store) -> None:
    """The place is ours from here on. Raises StoreError when it holds another repository or cannot keep its word."""
    ours = local.get(CONFIG)
    created = remote.put(CONFIG, ours)
    if created and remote.put(CONFIG, ours):
        raise StoreError(
            f"{remote.where}: this server overwrites what is to be created only where there is nothing; "
            "snapshots would not be safe from a second writer there",
            lasting=True,
        )
    if not created:
        refuse_another(local, remote)


def refuse_another(local: Store, remote: Store) -> None:
    """Raises StoreError when the place holds another repository."""
    ours = local.get(CONFIG)
    try:
        theirs = remote.get(CONFIG)
    except Missing:
        return
    if theirs == ours:
        return
    mine, other = peek(ours), peek(theirs)
    raise StoreError(
        f"{remote.where} holds snapshots of another {other.agent or mine.agent} (repository {other.id[:12]}, ours is "
        f"{mine.id[:12]}): give this one another prefix in `state.store`, or continue that one on an empty home with "
        "`holdfast restore --from`",
        lasting=True,
    )


def run(
    local: Store,
    remote: Store,
    queue: Queue,
    progress: Progress = lambda done, total, what: None,
    *,
    now_at: float,
    stop: Callable[[], bool] = lambda: False,
) -> Uploaded:
    """One run until everything is there, `stop` says so, or the place does not answer: StoreError, noted in the queue.

    Idempotent. `now_at`: wall clock.
    """
    queue.say(tried_at=now_at)
    try:
        here = look(local)
        _note_deletions(local, here, queue)
        known = queue.begin_with(remote.where, peek(local.get(CONFIG)).id)
        if not known or now_at - (queue.number("looked_at") or 0.0) > limits.UPLOAD_LOOK_EVERY_S:
            claim(local, remote)
            queue.has_there(remote.list(""))
            queue.say(looked_at=now_at)
        objects, sent_bytes = _send_rounds(local, remote, queue, here, progress, stop)
        deleted, kept = (0, 0) if stop() else _delete(look(local), remote, queue, now_at)
    except StoreError as error:
        queue.say(failures=int(queue.number("failures") or 0) + 1, error=str(error))
        raise
    queue.say(failures=0, error="")
    if not queue.round():
        queue.say(uploaded_at=now_at)
    behind = measured(local, queue, now_at)
    return Uploaded(objects=objects, bytes=sent_bytes, deleted=deleted, kept_there=kept, lag=behind)


def bring(state_dir: Path, url: str, agent: str, progress: Progress, *, now_at: float) -> Uploaded:
    """The worker's job: `state_dir` is HOME/state/AGENT, `url` is `state.store`. Raises StoreError."""
    try:
        return _bring(state_dir, url, agent, progress, now_at)
    except (OSError, sqlite3.Error) as error:  # the queue could not be written: this disk is full
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StoreError(f"the queue of uploads cannot be kept in {state_dir}: {reason}") from error


def _bring(state_dir: Path, url: str, agent: str, progress: Progress, now_at: float) -> Uploaded:
    with Queue(state_dir) as queue:
        try:
            check_disk(queue, url, state_dir)
            local, remote = LocalStore(state_dir / "repo"), open_agent(url, agent)
            refuse_another(local, remote)  # before the fence, whose advice is for one repository on two machines
            ours = fence.check(state_dir, remote)
        except StoreError as error:
            queue.say(tried_at=now_at, failures=int(queue.number("failures") or 0) + 1, error=str(error))
            raise
        done = run(local, remote, queue, progress, now_at=now_at)
        if not ours:
            fence.claim(state_dir, remote)
        return done


def standing(state_dir: Path, now_at: float) -> Lag | None:
    """How far the second place is behind, as this machine knows it; None: no upload was ever tried."""
    if not (state_dir / FILE_NAME).exists() or not (state_dir / "repo" / CONFIG).exists():
        return None
    with Queue(state_dir) as queue:
        return measured(LocalStore(state_dir / "repo"), queue, now_at)


def known_there(state_dir: Path) -> frozenset[str]:
    """Names below snaps/ of the snapshots that are in the second place, as this machine knows it."""
    if not (state_dir / FILE_NAME).exists():
        return frozenset()
    with Queue(state_dir) as queue:
        return frozenset(name.removeprefix(SNAPS) for name in queue.there() if name.startswith(SNAPS))


def check_disk(queue: Queue, url: str, state_dir: Path) -> None:
    """A directory that was on another disk must still be: below an empty mount point lies this machine's own."""
    if is_bucket(url):
        return
    other, key = on_other_disk(url, state_dir), f"other_disk:{url}"
    if queue.said(key) == "yes" and not other:
        raise StoreError(
            f"{url} was on another disk and is now on this machine's own: mount its disk. Nothing was written there",
            lasting=True,
        )
    queue.say(**{key: "yes" if other else "no"})


def measured(local: Store, queue: Queue, now_at: float) -> Lag:
    """How far the second place is behind; asks nothing of it."""
    here = look(local)
    snapshots = [found for one in here.snaps if (found := read_snapshot(one.name.removeprefix(SNAPS)))]
    return lags.measure(
        [(SNAPS + one.name, one.at) for one in sorted(snapshots, key=lambda found: found.seq)],
        here.all(),
        queue.there(),
        now_at,
        failures=int(queue.number("failures") or 0),
        error=queue.said("error") or "",
    )


def _note_deletions(local: Store, here: Here, queue: Queue) -> None:
    """What is about to be deleted here, while it can still be seen to be: condemned packs, and snapshots in the trash.

    What is none of these any longer was spared after all.
    """
    condemned = {pack_object(pack) for pack in condemned_packs(local)}
    living = {one.name for one in (*here.snaps, *here.packs)}
    queue.forget_deleted(living - condemned)
    queue.note_deleted(condemned)
    for one in here.trash:
        found = read_trashed(one.name)
        if found is not None and SNAPS + found.snapshot.name not in living:
            queue.note_deleted((one.name, SNAPS + found.snapshot.name), float(found.deadline))


def _send_rounds(
    local: Store, remote: Store, queue: Queue, here: Here, progress: Progress, stop: Callable[[], bool]
) -> tuple[int, int]:
    """The round under way, then all that has come since. Returns objects and bytes sent."""
    objects = sent_bytes = 0
    if not queue.round():
        queue.begin_round(order(here, queue.there()))
    while (left := queue.round()) and not stop():
        before = objects
        for number, size in _send(local, remote, queue, left, progress, stop):
            objects, sent_bytes = objects + number, sent_bytes + size
        if stop():
            break
        queue.begin_round(order(look(local), queue.there()))
        if objects == before and queue.round():
            break  # only what vanishes while it is sent: the next run looks again
    return objects, sent_bytes


def _send(
    local: Store,
    remote: Store,
    queue: Queue,
    left: list[tuple[str, int]],
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[tuple[int, int]]:
    """One round, in its order: the config, then packs (several at once), then the rest one by one.

    A pack that was deleted here meanwhile ends the round: the manifests of it may need others now.
    """
    total, done = sum(size for _, size in left), 0
    first = [one for one in left if one[0] == CONFIG]
    packs = [one for one in left if one[0].startswith(PACKS)]
    rest = [one for one in left if one not in first and not one[0].startswith(PACKS)]
    whole = True
    with ThreadPoolExecutor(limits.UPLOADS_AT_ONCE) as pool:
        for name, size, was_there in _several(pool, local, remote, [*first, *packs], stop):
            whole = whole and was_there
            if was_there:
                done += size
                queue.sent(name, size)
                progress(done, total, "uploading")
                yield 1, size
    if not whole or stop():
        return
    for name, size in rest:
        if stop():
            return
        if _send_one(local, remote, name, size):
            done += size
            queue.sent(name, size)
            progress(done, total, "uploading")
            yield 1, size


def _several(
    pool: ThreadPoolExecutor, local: Store, remote: Store, objects: list[tuple[str, int]], stop: Callable[[], bool]
) -> Iterator[tuple[str, int, bool]]:
    """Never more under way than UPLOADS_AT_ONCE; the first error ends it, once what is under way has ended."""
    left = iter(objects)
    under_way: dict[Future[bool], tuple[str, int]] = {}
    failed: BaseException | None = None
    while True:
        if failed is None and not stop():
            for name, size in islice(left, limits.UPLOADS_AT_ONCE - len(under_way)):
                under_way[pool.submit(_send_one, local, remote, name, size)] = (name, size)
        if not under_way:
            break
        for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
            name, size = under_way.pop(ended)
            error = ended.exception()
            if error is None:
                yield name, size, ended.result()
            failed = failed or error
    if failed is not None:
        raise failed


def _send_one(local: Store, remote: Store, name: str, size: int) -> bool:
    """False: it is no longer here. What is there already must be as long as ours."""
    try:
        data = local.get(name)
    except Missing:
        return False
    if not remote.put(name, data) and remote.size(name) != len(data):
        raise StoreError(f"{remote.where}/{name} is another object than the one of that name here", lasting=True)
    return True


def _delete(here: Here, remote: Store, queue: Queue, now_at: float) -> tuple[int, int]:
    """Returns how many were deleted there, and how many the place keeps. A refusal there is no failure: such keys are
    a way to protect snapshots. Packs stay when a manifest had to."""
    deleted, kept = 0, 0
    for name in to_delete(here, queue.there(), queue.gone(now_at)):
        if kept and name.startswith(PACKS):
            kept += 1
            continue
        try:
            remote.delete(name)
        except StoreError as error:
            if not error.lasting:
                raise
            kept += 1
        else:
            queue.deleted_there(name)
            deleted += 1
    return deleted, kept
