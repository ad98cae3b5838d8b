"""Bringing a repository to its second place: order, kills at every step, deletions, and how far behind it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.init.launch import PASSED_ENV
from holdfast.node.users import Identity
from holdfast.pods.environment import clean
from holdfast.state.keeping import condemning
from holdfast.state.second_place import lag
from holdfast.state.second_place.lag import Lag
from holdfast.state.second_place.rebuild import bring_home
from holdfast.state.second_place.upload import bring, check_disk, known_there, run, standing
from holdfast.state.second_place.upload_plan import look, to_delete
from holdfast.state.second_place.upload_queue import FILE_NAME, Queue
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import CONFIG, PACKS, PINS, SNAPS, TRASH, read_pack
from holdfast.state.store.objects import Missing, Stored, StoreError
from holdfast.state.store.repository import Repository
from tests.harness.snapshot_chain import AT, KEY, commit, contents


class Cut(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Place:
    """A bucket in memory. `before`: called with each act and name; may raise, as the line or the server would."""

    where = "s3://bucket/agents/one"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.acts: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda act, name: None
        self.overwrites = False

    def _act(self, act: str, name: str) -> None:
        self.before(act, name)
        self.acts.append((act, name))

    def put(self, name: str, data: bytes | Iterable[bytes]) -> bool:
        self._act("put", name)
        fresh = name not in self.objects or self.overwrites
        if fresh:
            self.objects[name] = data if isinstance(data, bytes) else b"".join(data)
        return fresh

    def get(self, name: str) -> bytes:
        self._act("get", name)
        if name not in self.objects:
            raise Missing(name)
        return self.objects[name]

    def ranges(self, name: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        data = self.get(name)
        return [data[offset : offset + length] for offset, length in wanted]

    def size(self, name: str) -> int:
        return len(self.get(name))

    def list(self, prefix: str) -> Iterator[Stored]:
        self._act("list", prefix)
        yield from [Stored(name, len(data), AT) for name, data in self.objects.items() if name.startswith(prefix)]

    def delete(self, name: str) -> None:
        self._act("delete", name)
        self.objects.pop(name, None)

    def check_whole(self) -> None:
        """Every manifest that is there can be read to its last byte, from there alone."""
        if CONFIG in self.objects:
            repository = Repository.open(self, KEY)
            for snapshot in repository.snapshots():
                contents(repository, snapshot)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state" / "one"


@pytest.fixture
def local(state_dir: Path) -> LocalStore:
    return LocalStore(state_dir / "repo")


def make(local: LocalStore, count: int = 3, first: int = 0) -> Repository:
    repository = Repository.create(local, "one", KEY, encrypt=True)
    for number in range(first, first + count):
        commit(repository, {"count": b"%d" % number * 50, "big": random.Random(number).randbytes(5000)}, at=AT + number)
    return repository


def up(state_dir: Path, place: Place, now_at: float = AT + 100) -> Lag:
    with Queue(state_dir) as queue:
        return run(LocalStore(state_dir / "repo"), place, queue, now_at=now_at).lag


def test_packs_go_before_the_manifests_that_need_them(state_dir: Path, local: LocalStore) -> None:
    make(local)
    place = Place()
    behind = up(state_dir, place)
    puts = [name for act, name in place.acts if act == "put"]
    assert puts[0] == CONFIG
    last_pack = max(at for at, name in enumerate(puts) if name.startswith(PACKS))
    manifests = [(at, name) for at, name in enumerate(puts) if name.startswith(SNAPS)]
    assert all(at > last_pack for at, _ in manifests)
    assert [name for _, name in manifests] == sorted(name for _, name in manifests)
    assert (behind.behind_s, behind.bytes, behind.objects) == (0.0, 0, 0)
    place.check_whole()


def test_killed_at_any_step_it_goes_on_and_what_is_there_is_always_whole(tmp_path: Path) -> None:
    steps = 0
    while True:
        state_dir = tmp_path / f"{steps}" / "one"
        make(LocalStore(state_dir / "repo"), 2)
        place, left = Place(), iter(range(steps))

        def before(act: str, name: str, left: Iterator[int] = left) -> None:
            if act in ("put", "list", "delete") and next(left, None) is None:
                raise Cut

        place.before = before
        try:
            up(state_dir, place)
            cut = False
        except Cut:
            cut = True
        place.before = lambda act, name: None
        place.check_whole()
        sent = len(place.objects)
        place.acts.clear()
        assert up(state_dir, place).bytes == 0
        assert set(place.objects) == {one.name for one in LocalStore(state_dir / "repo").list("")}
        place.check_whole()
        # What was sent before the kill and noted is not sent again; at most those under way then are tried again.
        again = [name for act, name in place.acts if act == "put"]
        assert len(again) <= len(place.objects) - sent + limits.UPLOADS_AT_ONCE + 1
        if not cut:
            break
        steps += 1
    assert steps > 5


def test_a_round_that_was_begun_ends_in_a_whole_snapshot_though_new_ones_keep_coming(
    state_dir: Path, local: LocalStore
) -> None:
    repository = make(local, 2)
    first = repository.snapshots()[-1]
    place = Place()
    for number in range(2, 30):
        budget = iter(range(2))

        def before(act: str, name: str, budget: Iterator[int] = budget) -> None:
            if act == "put" and name != CONFIG and next(budget, None) is None:
                raise StoreError("the line is slow")

        place.before = before
        with pytest.raises(StoreError):
            up(state_dir, place)
        commit(repository, {"count": b"%d" % number * 50}, at=AT + number)
        if SNAPS + first.name in place.objects:
            break
    else:
        pytest.fail("no snapshot was ever whole there")
    place.before = lambda act, name: None
    place.check_whole()


def test_an_hour_without_the_place_loses_nothing_and_is_told(state_dir: Path, local: LocalStore) -> None:
    repository = make(local, 1)
    place = Place()
    assert up(state_dir, place, AT + 1).behind_s == 0.0

    def refuse(act: str, name: str) -> None:
        raise StoreError("the server cannot be reached")

    place.before = refuse
    for minute in range(1, 61, 5):
        commit(repository, {"count": b"%d" % minute}, at=AT + 60.0 * minute)
        with pytest.raises(StoreError):
            up(state_dir, place, AT + 60.0 * minute)
    behind = standing(state_dir, AT + 3600.0)
    assert behind is not None
    assert behind.behind_s == 3540.0
    assert behind.snapshots == 12
    assert behind.bytes > 0
    assert behind.newest_there_at == AT
    assert behind.failures == 12
    assert lag.is_late(behind, 60.0)
    assert not lag.is_late(behind, 3600.0)
    said = lag.sentence(behind, "s3://bucket")
    assert "remote lag 1 h" in said or "remote lag 59 min" in said or "remote lag 60 min" in said
    assert "cannot be reached" in said
    place.before = lambda act, name: None
    after = up(state_dir, place, AT + 3700.0)
    assert (after.behind_s, after.snapshots, after.failures) == (0.0, 0, 0)
    place.check_whole()
    assert len(list(place.list(SNAPS))) == 13


def test_a_place_that_holds_another_repository_is_never_touched(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours" / "one", tmp_path / "theirs" / "one"
    make(LocalStore(theirs / "repo"), 1)
    make(LocalStore(ours / "repo"), 1)
    place = Place()
    up(theirs, place)
    before = dict(place.objects)
    with pytest.raises(StoreError, match="holds snapshots of another one") as caught:
        up(ours, place)
    assert caught.value.lasting
    assert place.objects == before


def test_a_server_that_overwrites_is_refused(state_dir: Path, local: LocalStore) -> None:
    make(local, 1)
    place = Place()
    place.overwrites = True
    with pytest.raises(StoreError, match="overwrites"):
        up(state_dir, place)
    assert not any(name.startswith(PACKS) for name in place.objects)


def test_what_goes_to_the_trash_here_goes_there_and_comes_back(state_dir: Path, local: LocalStore) -> None:
    repository = make(local, 2)
    name = repository.snapshots()[0].name
    place = Place()
    up(state_dir, place)
    deadline = int(AT + 1000)
    local.put(f"{TRASH}{name}~{deadline}", local.get(SNAPS + name))
    local.delete(SNAPS + name)
    up(state_dir, place, AT + 200)
    assert f"{TRASH}{name}~{deadline}" in place.objects
    assert SNAPS + name not in place.objects
    local.put(SNAPS + name, local.get(f"{TRASH}{name}~{deadline}"))
    local.delete(f"{TRASH}{name}~{deadline}")
    up(state_dir, place, AT + 300)
    assert SNAPS + name in place.objects
    assert f"{TRASH}{name}~{deadline}" not in place.objects
    place.check_whole()


def test_what_the_collector_condemned_and_deleted_is_deleted_there_after_its_manifest(
    state_dir: Path, local: LocalStore
) -> None:
    repository = make(local, 2)
    old, _ = repository.snapshots()
    packs = {one.name for one in local.list(PACKS)}
    place = Place()
    up(state_dir, place)
    deadline = int(AT + 150)
    local.put(f"{TRASH}{old.name}~{deadline}", local.get(SNAPS + old.name))
    local.delete(SNAPS + old.name)
    doomed = min(packs, key=lambda name: next(one.changed_at for one in local.list(PACKS) if one.name == name))
    mark = condemning.Mark(format=1, seq=2, elapsed_s=None, packs=(read_pack(doomed) or "",))
    condemning.write(local, mark, [])
    up(state_dir, place, AT + 120)
    assert doomed in place.objects
    local.delete(f"{TRASH}{old.name}~{deadline}")
    local.delete(doomed)
    place.acts.clear()
    up(state_dir, place, AT + 200)
    deleted = [name for act, name in place.acts if act == "delete"]
    assert deleted == [f"{TRASH}{old.name}~{deadline}", doomed]
    assert doomed not in place.objects
    place.check_whole()


def test_what_merely_vanished_here_stays_there(state_dir: Path, local: LocalStore) -> None:
    repository = make(local, 3)
    place = Place()
    up(state_dir, place)
    before = set(place.objects)
    for found in [*local.list(SNAPS), *local.list(PACKS)]:
        local.delete(found.name)
    commit(repository, {"count": b"after"}, at=AT + 50)
    up(state_dir, place, AT + limits.UPLOAD_LOOK_EVERY_S + 200)
    assert before <= set(place.objects)
    place.check_whole()


def test_keys_without_the_right_to_delete_are_no_failure_and_keep_packs_too(state_dir: Path, local: LocalStore) -> None:
    repository = make(local, 2)
    old = repository.snapshots()[0]
    place = Place()
    up(state_dir, place)

    def refuse(act: str, name: str) -> None:
        if act == "delete":
            raise StoreError("may not delete", lasting=True)

    place.before = refuse
    local.put(f"{TRASH}{old.name}~{int(AT + 1000)}", local.get(SNAPS + old.name))
    local.delete(SNAPS + old.name)
    assert up(state_dir, place, AT + 200).failures == 0
    assert SNAPS + old.name in place.objects


def test_pins_follow_and_what_somebody_deleted_there_is_sent_again(state_dir: Path, local: LocalStore) -> None:
    repository = make(local, 2)
    pin = f"{PINS}{repository.snapshots()[0].id}~known-good"
    local.put(pin, b"")
    place = Place()
    up(state_dir, place)
    assert pin in place.objects
    local.delete(pin)
    gone = next(name for name in place.objects if name.startswith(PACKS))
    del place.objects[gone]
    up(state_dir, place, AT + 200)
    assert pin not in place.objects
    up(state_dir, place, AT + 200 + limits.UPLOAD_LOOK_EVERY_S)
    assert gone in place.objects
    place.check_whole()


def test_a_damaged_queue_is_set_aside_and_made_again(state_dir: Path, local: LocalStore) -> None:
    make(local, 1)
    place = Place()
    up(state_dir, place)
    (state_dir / FILE_NAME).write_bytes(b"no database" * 1000)
    sent = len(place.objects)
    assert up(state_dir, place, AT + 200).bytes == 0
    assert len(place.objects) == sent
    assert len(list(state_dir.glob(f"{FILE_NAME}.damaged-*"))) == 1


def test_another_place_begins_from_nothing(state_dir: Path, local: LocalStore, tmp_path: Path) -> None:
    make(local, 2)
    disk = tmp_path / "disk"
    with pytest.raises(StoreError, match="is not there"):
        bring(state_dir, str(disk), "one", lambda done, total, what: None, now_at=AT)
    assert (standing(state_dir, AT) or Lag()).failures == 1
    disk.mkdir()
    bring(state_dir, str(disk), "one", lambda done, total, what: None, now_at=AT + 1)
    assert len(known_there(state_dir)) == 2
    bring_home(str(disk), "one", tmp_path / "new" / "one")
    other = tmp_path / "other"
    other.mkdir()
    place = bring(state_dir, str(other), "one", lambda done, total, what: None, now_at=AT + 2)
    assert place.objects == len(list(local.list(""))) - 1  # all but the config, which claimed the place


def test_a_disk_that_is_no_longer_mounted_is_not_filled_behind_its_mount_point(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with Queue(state_dir) as queue:
        check_disk(queue, str(tmp_path / "disk"), state_dir)
        queue.say(**{f"other_disk:{tmp_path}/disk": "yes"})
        with pytest.raises(StoreError, match="mount its disk"):
            check_disk(queue, str(tmp_path / "disk"), state_dir)


def test_an_upload_under_way_can_be_read_by_others(state_dir: Path, local: LocalStore) -> None:
    make(local, 1)
    place = Place()
    seen: list[int] = []
    place.before = lambda act, name: seen.append((standing(state_dir, AT + 10) or Lag()).snapshots)
    up(state_dir, place)
    assert seen[0] == 1


def test_nothing_is_deleted_without_a_word(local: LocalStore) -> None:
    make(local, 1)
    here = look(local)
    theirs = [CONFIG, "packs/ff/" + "f" * 32, "snaps/20260101T000000000Z-0000000001-000001." + "a" * 32, "readme.txt"]
    assert to_delete(here, theirs, set()) == []
    assert to_delete(here, theirs, set(theirs)) == [theirs[2], theirs[1]]


def test_a_manifest_that_moves_is_there_before_it_leaves_its_old_place(local: LocalStore) -> None:
    repository = make(local, 1)
    snapshot = SNAPS + repository.snapshots()[0].name
    theirs = [one.name for one in local.list("")]
    trashed = f"{TRASH}{snapshot.removeprefix(SNAPS)}~1800000000"
    local.put(trashed, local.get(snapshot))
    local.delete(snapshot)
    assert to_delete(look(local), theirs, set()) == []
    assert to_delete(look(local), [*theirs, trashed], set()) == [snapshot]
    local.put(snapshot, local.get(trashed))
    local.delete(trashed)
    theirs[theirs.index(snapshot)] = trashed
    assert to_delete(look(local), theirs, set()) == []
    assert to_delete(look(local), [*theirs, snapshot], set()) == [trashed]


def test_packs_stay_there_while_a_manifest_does_that_is_no_longer_here(local: LocalStore) -> None:
    make(local, 1)
    here, pack = look(local), "packs/ff/" + "f" * 32
    odd = "snaps/20260101T000000000Z-0000000001-000001." + "a" * 32
    assert to_delete(here, [odd, pack], {pack}) == []
    assert to_delete(here, [pack], {pack}) == [pack]


@pytest.mark.parametrize(
    ("every_s", "uploaded_at", "tried_at", "failures", "due"),
    [
        (60.0, None, None, 0, 0.0),
        (60.0, 1000.0, 1000.0, 0, 1060.0),
        (3600.0, 1000.0, 1000.0, 0, 4600.0),
        (60.0, 1000.0, 2000.0, 1, 2030.0),
        (60.0, 1000.0, 2000.0, 2, 2060.0),
        (60.0, None, 2000.0, 50, 2900.0),
    ],
)
def test_uploads_come_as_often_as_asked_and_later_after_failures(
    every_s: float, uploaded_at: float | None, tried_at: float | None, failures: int, due: float
) -> None:
    assert lag.due_at(every_s, uploaded_at, tried_at, failures) == due


def test_nothing_of_the_second_place_reaches_an_agent() -> None:
    ours = {name: "secret" for name in PASSED_ENV if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    assert len(ours) > 30
    agent = Identity(1000, 1000, (), "agent", "/home/agent", "/bin/sh", "")
    assert not set(ours) & set(clean(agent, "/home/agent", "/tmp", ours, is_root=False))
