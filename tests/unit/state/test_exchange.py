"""Paths that cannot change places as a whole: mount points, overlays, parents of others; and failing exchanges."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.state.model import Rights
from holdfast.state.restore import asides, exchange, intent, places, telling
from tests.harness.restore_place import Place, facts, lay

AGENT = Rights(uid=29_871, gid=29_871)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts, and acts as another user")
_BIND, _DETACH = 4096, 2


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory that another user can reach, which pytest's own is not."""
    top = Path(tempfile.mkdtemp(prefix="hf-"))
    top.chmod(0o755)
    yield top
    shutil.rmtree(top)


@pytest.fixture
def mounts() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def mount(stack: ExitStack, kind: str, source: Path | str, target: Path, options: str = "", flags: int = 0) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    done = library.mount(str(source).encode(), os.fsencode(target), kind.encode(), flags, options.encode() or None)
    if done != 0:
        pytest.skip(f"no {kind or 'bind'} mount here: {os.strerror(ctypes.get_errno())}")
    stack.callback(library.umount2, os.fsencode(target), _DETACH)


def round_trip(place: Place, *, but: tuple[str, ...] = ()) -> None:
    """Snapshot, change, restore, go back, restore again, settle: each time what should be there is."""
    before = without(facts(place.live), but)
    taken = place.take()
    (place.live / "notes" / "small.md").write_text("changed")
    (place.live / "made-later").mkdir()
    (place.live / "made-later" / "x").write_text("x")
    shutil.rmtree(place.live / "many")
    place.own()
    changed = without(facts(place.live), but)
    place.build(taken)
    assert without(facts(place.live), but).keys() == changed.keys()
    exchange.begin(place.state)
    assert without(facts(place.live), but) == before
    found = exchange.back(place.state)
    assert (found.outcome, found.over) == (exchange.Outcome.OLD, True)
    assert without(facts(place.live), but) == changed
    assert place.left() == []
    place.restore(taken)
    after = without(facts(place.live), but)
    assert {path: after[path] for path in after if path != "."} == {
        path: before[path] for path in before if path != "."
    }
    assert place.left() == []


def without(found: dict[str, tuple[object, ...]], but: tuple[str, ...]) -> dict[str, tuple[object, ...]]:
    """Trees of restores inside are not the agent's."""
    return {
        path: fact
        for path, fact in found.items()
        if path not in but and not any(asides.is_aside(os.fsencode(part)) for part in path.split("/"))
    }


@as_root
def test_a_mount_point_is_restored_entry_by_entry(ground: Path, mounts: ExitStack) -> None:
    place = Place(ground, AGENT)
    mount(mounts, "tmpfs", "none", place.live)
    lay(place.live)
    (place.live / "lost+found").mkdir(mode=0o700)
    place.own()
    round_trip(place, but=("lost+found",))
    assert (place.live / "lost+found").stat().st_uid == 0


@as_root
def test_a_bind_mount_of_the_same_file_system_is_restored_entry_by_entry(ground: Path, mounts: ExitStack) -> None:
    place = Place(ground)
    (ground / "volume").mkdir()
    mount(mounts, "", ground / "volume", place.live, flags=_BIND)
    lay(place.live)
    round_trip(place)


@as_root
def test_an_overlay_is_restored_entry_by_entry(ground: Path, mounts: ExitStack) -> None:
    mount(mounts, "tmpfs", "none", ground)
    ground.chmod(0o755)
    for name in ("lower", "upper", "work", "merged"):
        (ground / name).mkdir()
    lower = Place(ground / "lower")
    lay(lower.live)
    shutil.rmtree(lower.state)
    shutil.rmtree(lower.live / "d0")
    (lower.live / "second-name").unlink()  # an overlay parts hard links when it copies a file up
    (lower.live / "many" / "large-too").unlink()
    (lower.live / "closed").chmod(0o700)
    options = f"lowerdir={ground}/lower,upperdir={ground}/upper,workdir={ground}/work"
    mount(mounts, "overlay", "overlay", ground / "merged", options)
    place = Place.__new__(Place)
    place.rights = None
    fresh = Place(_made(ground / "aside"))
    place.state, place.repository = fresh.state, fresh.repository
    place.home, place.live = ground / "merged" / "home", ground / "merged" / "home" / "data"
    round_trip(place)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


@as_root
def test_a_mount_point_below_a_state_path_stays_mounted_and_is_restored_too(ground: Path, mounts: ExitStack) -> None:
    place = Place(ground)
    lay(place.live)
    inner = place.live / "notes" / "workspace"
    inner.mkdir()
    mount(mounts, "tmpfs", "none", inner)
    (inner / "deep").mkdir()
    (inner / "deep" / "file").write_text("x")
    taken = place.take()
    (inner / "deep" / "file").write_text("changed")
    (place.live / "medium.bin").unlink()
    place.build(taken)
    exchange.begin(place.state)
    assert os.path.ismount(inner)
    assert (place.live / "medium.bin").exists()
    assert (inner / "deep" / "file").read_text() == "x"
    assert exchange.settle(place.state)
    assert place.left() == []


def test_a_failing_exchange_leaves_all_paths_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    lay(place.live)
    other = place.home / "other"
    other.mkdir()
    taken = place.take(place.live, other)
    (place.live / "made-later").write_text("x")
    before = facts(place.live)
    place.build(taken)
    real, count = places.exchange, 0

    def broken(fd: int, one: str, two: str) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(5, os.strerror(5))
        real(fd, one, two)

    monkeypatch.setattr(places, "exchange", broken)
    with pytest.raises(HoldfastError) as caught:
        exchange.begin(place.state)
    assert caught.value.kind is errors.RESTORE_FAILED
    assert facts(place.live) == before
    assert exchange.recover(place.state).over
    assert place.left() == []


def test_without_an_atomic_exchange_entries_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_fd: int, _one: str, _two: str) -> None:
        raise OSError(22, os.strerror(22))

    monkeypatch.setattr(places, "exchange", unknown)
    place = Place(tmp_path)
    lay(place.live)
    round_trip(place)
    single = place.live / "medium.bin"
    taken = place.take()
    data = single.read_bytes()
    single.write_bytes(b"changed")
    place.build(taken, single)
    exchange.begin(place.state)
    assert single.read_bytes() == data
    exchange.back(place.state)
    assert single.read_bytes() == b"changed"


def test_a_database_whose_name_leaves_no_room_for_a_journal_is_restored(tmp_path: Path) -> None:
    place = Place(tmp_path)
    path = place.live / ("d" * 250)
    header = b"SQLite format 3\0" + bytes(84)
    path.write_bytes(header + b"then")
    taken = place.take()
    path.write_bytes(header + b"now")
    place.restore(taken, path)
    assert path.read_bytes() == header + b"then"
    assert place.left() == []


def test_what_lies_beside_a_plain_file_is_not_taken_for_a_databases(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.live / "day").write_text("text")
    taken = place.take()
    (place.live / "day-journal").write_text("another file")
    place.restore(taken, place.live / "day")
    assert (place.live / "day-journal").read_text() == "another file"


def test_no_snapshot_takes_in_what_a_restore_keeps(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    (place.live / "medium.bin").write_bytes(b"changed")
    place.build(taken, place.live / "medium.bin")
    place.build(place.take(), place.live / "notes")  # the fresh tree of the former one is gone, another is there
    exchange.begin(place.state)
    assert place.left()
    _snapshot, manifest = place.take()
    assert manifest.files == taken[1].files


def test_an_intent_nobody_can_read_is_said_and_kept(tmp_path: Path) -> None:
    path = tmp_path / intent.INTENT_NAME
    path.write_text("{")
    with pytest.raises(HoldfastError) as caught:
        exchange.recover(tmp_path)
    assert caught.value.kind is errors.RESTORE_STUCK
    assert path.read_text() == "{"


def test_settling_goes_on_where_it_stopped(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    place.build(taken)
    exchange.begin(place.state)
    rounds = 0

    def soon() -> bool:
        nonlocal count
        count += 1
        return count > 30

    count = 0
    while not exchange.settle(place.state, enough=soon):
        rounds += 1
        count = 0
    assert rounds > 2
    assert place.left() == []
    assert intent.load(place.state) is None


def test_nothing_is_exchanged_that_was_not_built(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError):
        exchange.begin(tmp_path)
    assert exchange.recover(tmp_path).outcome is exchange.Outcome.NOTHING
    assert exchange.settle(tmp_path)


@pytest.mark.parametrize("name", ["data", "x" * 255, "ü" * 127, "-wal"])
def test_names_of_restores_fit_and_are_recognised(name: str) -> None:
    for made in (asides.fresh(name, "0" * 12), asides.before(name, "a" * 12), asides.failed(name, "9" * 12)):
        for end in ("", *asides.SIBLINGS):
            assert len(os.fsencode(made + end)) <= 255
            assert asides.is_aside(os.fsencode(made + end))
    assert not asides.is_aside(os.fsencode(f".{name}.holdfast"))


@pytest.mark.parametrize("rights", [None, pytest.param(AGENT, marks=as_root)])
def test_an_agent_is_told_what_it_lost(ground: Path, rights: Rights | None) -> None:
    directory = ground / "agent"
    directory.mkdir()
    if rights is not None:
        os.chown(directory, rights.uid, rights.gid)
    (ground / "treasure").write_text("root's")
    (directory / telling.RESTORED_NAME).symlink_to(ground / "treasure")
    lost = telling.Lost(snapshot="ab", at=1_790_000_000.0, lost_s=61.26, damaged=("/x",), reason="state invalid")
    path = telling.told(str(directory), rights, lost)
    assert json.loads(Path(path).read_bytes()) == {
        "snapshot": "ab",
        "at": "2026-09-21T14:13:20Z",
        "lost_s": 61.3,
        "damaged": ["/x"],
        "reason": "state invalid",
    }
    assert os.listdir(directory) == [telling.RESTORED_NAME]
    assert os.lstat(path).st_uid == (rights.uid if rights else os.geteuid())
    assert (ground / "treasure").read_text() == "root's"


def test_every_phase_leads_to_an_end() -> None:
    for phase in intent.Phase:
        reached, frontier = {phase}, [phase]
        while frontier:
            for following in intent.FOLLOWS[frontier.pop()] - reached:
                reached.add(following)
                frontier.append(following)
        assert reached & {intent.Phase.DROPPING, intent.Phase.SETTLING}
