"""A repository gives back what was put, or says that it cannot; never anything else."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import (
    RECOVERY_KEY_WRONG,
    SNAPSHOT_AMBIGUOUS,
    SNAPSHOT_NOT_FOUND,
    STATE_FORMAT_NEWER,
    HoldfastError,
)
from holdfast.state.model import Content, Entry, Kind, Pin
from holdfast.state.store import config as configs
from holdfast.state.store import names, reading
from holdfast.state.store.damage import Damaged, MissingBlob
from holdfast.state.store.index import FILE_NAME
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Missing, StoreError
from holdfast.state.store.pack import BlobKind, FrameRow
from holdfast.state.store.repository import Repository
from holdfast.state.store.sealing import Envelope
from holdfast.state.store.writer import Writer
from tests.unit.state.repositories import KEY, draft, kept, made, opened, pieces, take


@pytest.mark.parametrize("encrypt", [True, False])
def test_what_was_put_is_read_back_by_another_process(tmp_path: Path, encrypt: bool) -> None:
    datas = [b"", b"x", *pieces(1, 30, 30_000)]
    snapshot = take(made(tmp_path, encrypt=encrypt), datas)
    for cache in (True, False):
        repository = opened(tmp_path, cache=cache)
        assert repository.snapshots() == [snapshot]
        assert kept(repository, snapshot) == b"".join(datas)
        assert [repository.read(repository.keys.blob_id(data)) for data in datas] == datas
        assert repository.config.encrypted == encrypt


def test_an_encrypted_repository_holds_nothing_readable(tmp_path: Path) -> None:
    take(made(tmp_path), [b"a very telling line of the agent\n" * 3])
    stored = b"".join(path.read_bytes() for path in (tmp_path / "repo").rglob("*") if path.is_file())
    assert b"telling" not in stored
    assert b"/srv/notes" not in stored


def test_paths_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    repository = made(tmp_path)
    with Writer(repository) as writer:
        snapshot = writer.finish(draft(path="/srv/\udcff"))
    assert repository.manifest(snapshot).roots[0].path == "/srv/\udcff"


def test_snapshots_are_numbered_and_chained(tmp_path: Path) -> None:
    repository = made(tmp_path)
    first, second = take(repository, [b"1"]), take(repository, [b"2"], epoch=7)
    assert [one.seq for one in repository.snapshots()] == [1, 2]
    assert repository.manifest(first).parent == ""
    assert repository.manifest(second).parent == first.id
    assert repository.manifest(second).agent == "assistant"
    assert second.epoch == 7
    store = repository.store
    store.put(names.trash_object(second, 2_000_000_000), store.get(names.snapshot_object(second)))
    store.delete(names.snapshot_object(second))
    third = take(repository, [b"3"])
    assert (third.seq, third.epoch) == (3, 7)
    (trashed,) = repository.trashed()
    assert trashed.deadline == 2_000_000_000
    assert repository.manifest(trashed).parent == first.id


def test_pins_are_objects_of_their_own(tmp_path: Path) -> None:
    repository = made(tmp_path)
    snapshot = take(repository, [b"1"])
    pins = [Pin(id=snapshot.id, why="before ~/my/ big day"), Pin(id=snapshot.id, why="known-good")]
    for pin in pins:
        repository.store.put(names.pin_object(pin), b"")
    assert repository.pins() == pins


def test_snapshots_are_found_by_their_first_digits(tmp_path: Path) -> None:
    repository = made(tmp_path)
    taken = [take(repository, [b"%d" % number]) for number in range(17)]
    assert repository.find(taken[3].short.upper()) == taken[3]
    with pytest.raises(HoldfastError) as none:
        repository.find("xyz")
    assert none.value.kind == SNAPSHOT_NOT_FOUND
    first_digits = [one.id[0] for one in taken]
    shared = next(digit for digit in first_digits if first_digits.count(digit) > 1)
    with pytest.raises(HoldfastError) as several:
        repository.find(shared)
    assert several.value.kind == SNAPSHOT_AMBIGUOUS


def test_a_frame_is_decoded_once_however_many_blobs_are_read_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datas = pieces(3, 400, 4_000)
    take(made(tmp_path), datas)
    repository = opened(tmp_path)
    decoded: list[int] = []
    decode = reading.decode_frame

    def counted(envelope: Envelope, number: int, row: FrameRow, stored: bytes, pack: str) -> bytes:
        decoded.append(number)
        return decode(envelope, number, row, stored, pack)

    monkeypatch.setattr(reading, "decode_frame", counted)
    assert list(repository.read_many(repository.keys.blob_id(data) for data in datas)) == datas
    assert len(decoded) == len(set(decoded))
    assert len(decoded) < 20


def test_reading_any_order_gives_that_order(tmp_path: Path) -> None:
    datas = pieces(4, 900, 700)
    take(made(tmp_path), datas)
    repository = opened(tmp_path)
    order = [random.Random(5).choice(datas) for _ in range(3_000)]
    assert list(repository.read_many(repository.keys.blob_id(data) for data in order)) == order


def test_reading_keeps_memory_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "KEPT_BYTES", 600_000)
    monkeypatch.setattr(reading, "AHEAD_BYTES", 600_000)
    chance = random.Random(1)
    datas = [chance.randbytes(100_000) for _ in range(40)]
    take(made(tmp_path), datas)
    repository = opened(tmp_path)
    for data, read in zip(datas, repository.read_many(map(repository.keys.blob_id, datas)), strict=True):
        assert data == read
        frames = repository._reading()._frames
        assert frames._kept_bytes <= 600_000


def sparse(repository: Repository, size: int, segments: list[tuple[int, bytes]]) -> Entry:
    with Writer(repository) as writer:
        table = writer.put(b"".join(struct.pack("<QQ", at, len(data)) for at, data in segments), BlobKind.EXTENT)
        joined = b"".join(data for _, data in segments)
        ids = [writer.put(joined[at : at + 100]) for at in range(0, len(joined), 100)]
        extent = writer.put(b"".join(ids), BlobKind.EXTENT)
        writer.flush()
    return Entry(b"s", Kind.FILE, 0o600, 0, 0, 1, size, Content.SPARSE, (table, extent))


def test_holes_of_a_sparse_file_are_kept(tmp_path: Path) -> None:
    repository = made(tmp_path)
    entry = sparse(repository, 1_000_000, [(4096, b"a" * 150), (500_000, b"b" * 333)])
    whole = bytearray(1_000_000)
    for at, data in repository.sparse_stream(entry):
        whole[at : at + len(data)] = data
    assert bytes(whole) == b"".join(repository.entry_stream(entry))
    assert whole[4096:4246] == b"a" * 150
    assert whole.count(b"b") == 333


@pytest.mark.parametrize(
    "segments",
    [[(10, b"a" * 5), (12, b"b" * 5)], [(98, b"a" * 5)], [(0, b"a"), (5, b"")]],
    ids=["overlap", "end", "none"],
)
def test_a_map_that_makes_no_sense_is_damage(tmp_path: Path, segments: list[tuple[int, bytes]]) -> None:
    repository = made(tmp_path)
    with pytest.raises(Damaged):
        list(repository.sparse_stream(sparse(repository, 100, segments)))


def test_a_file_whose_blobs_are_not_its_size_is_damage(tmp_path: Path) -> None:
    repository = made(tmp_path)
    snapshot = take(repository, [b"12345"])
    entry = repository.manifest(snapshot).roots[0].entry
    assert entry is not None
    shorter = Entry(b"n", Kind.FILE, 0o600, 0, 0, 1, 6, Content.CHUNKS, entry.blobs)
    with pytest.raises(Damaged, match="5 bytes are kept of 6"):
        list(repository.entry_stream(shorter))


@pytest.fixture(scope="module", params=[True, False], ids=["sealed", "plain"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    directory = tmp_path_factory.mktemp("whole")
    datas = pieces(7, 12, 3_000)
    take(made(directory, encrypt=request.param, cache=False), datas)
    return directory, b"".join(datas)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_bit_and_no_cut_ever_gives_wrong_data(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    directory, content = whole
    objects = sorted(path for path in (directory / "repo").rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(objects))
    good = path.read_bytes()
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(good) * 8 - 1))
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
    else:
        bad = bytearray(good[: data.draw(st.integers(0, len(good) - 1))])
    path.write_bytes(bad)
    try:
        repository = opened(directory, cache=False)
        (snapshot,) = repository.snapshots()
        # Some bits carry nothing: in a zstd frame that is not sealed, or the case of a hex digit. Never wrong data.
        assert kept(repository, snapshot) == content
    except Damaged:
        pass
    finally:
        path.write_bytes(good)


def test_every_changed_bit_of_a_sealed_manifest_or_config_is_damage(tmp_path: Path) -> None:
    snapshot = take(made(tmp_path), [b"content"])
    for name in (names.snapshot_object(snapshot), names.CONFIG):
        path = tmp_path / "repo" / name
        good = path.read_bytes()
        for bit in range(0, len(good) * 8, 23):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bad)
            with pytest.raises(Damaged):
                opened(tmp_path, cache=False).manifest(snapshot)
        path.write_bytes(good)


def test_damage_names_the_pack_it_is_in(tmp_path: Path) -> None:
    take(made(tmp_path), [b"content" * 100])
    (pack,) = (path for path in (tmp_path / "repo" / "packs").rglob("*") if path.is_file())
    pack.write_bytes(pack.read_bytes()[:50])
    repository = opened(tmp_path)
    with pytest.raises(Damaged, match=f"pack {pack.name} is damaged: it"):
        repository.read(repository.keys.blob_id(b"content" * 100))
    assert list(repository.index.unreadable) == [pack.name]


def test_a_blob_that_is_nowhere_is_missing(tmp_path: Path) -> None:
    repository = made(tmp_path)
    with pytest.raises(MissingBlob):
        repository.read(b"0" * 16)


def test_a_manifest_under_another_name_is_not_believed(tmp_path: Path) -> None:
    repository = made(tmp_path)
    first, second = take(repository, [b"1"]), take(repository, [b"2"])
    path = tmp_path / "repo" / names.snapshot_object(first)
    path.write_bytes((tmp_path / "repo" / names.snapshot_object(second)).read_bytes())
    with pytest.raises(Damaged, match="not what its id says"):
        repository.manifest(first)


def test_an_object_that_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    repository = made(tmp_path)
    snapshot = take(repository, [b"1"])
    for name in (
        "snaps/README",
        "trash/x~1",
        "pins/x",
        "packs/aa/x",
        "snaps/20261399T000000000Z-0000000001-000001." + "0" * 32,
    ):
        repository.store.put(name, b"?")
    assert repository.snapshots() == [snapshot]
    assert repository.trashed() == []
    assert repository.pins() == []
    assert len(repository.packs()) == 1


def test_another_recovery_key_is_refused_in_words(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(HoldfastError, match="another recovery key") as caught:
        Repository.open(LocalStore(tmp_path / "repo"), bytes(32))
    assert caught.value.kind == RECOVERY_KEY_WRONG


def test_a_newer_format_is_refused_in_words_and_left_alone(tmp_path: Path) -> None:
    newer = configs.RepositoryConfig(format=2, id="00" * 16, agent="a", encrypted=True, made_at=1.0)
    store = LocalStore(tmp_path / "repo")
    store.put(names.CONFIG, configs.encode(newer, bytes(32), KEY))
    with pytest.raises(HoldfastError, match="format 2") as caught:
        Repository.open(store, KEY)
    assert caught.value.kind == STATE_FORMAT_NEWER


def test_there_is_one_repository_whoever_makes_it(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path)
    assert first.config == second.config
    assert first.keys.ids == second.keys.ids
    with pytest.raises(Missing):
        opened(tmp_path / "elsewhere")


@pytest.mark.parametrize("damage", ["gone", "garbage", "cut", "other layout"])
def test_a_lost_or_broken_index_is_made_again(tmp_path: Path, damage: str) -> None:
    datas = pieces(8, 200, 500)
    repository = made(tmp_path)
    snapshot = take(repository, datas)
    repository.close()
    path = tmp_path / "cache" / FILE_NAME
    content = path.read_bytes()
    match damage:
        case "gone":
            path.unlink()
        case "garbage":
            path.write_bytes(b"\0" * 200 + random.Random(1).randbytes(len(content)))
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case _:
            path.write_bytes(content[:60] + struct.pack(">I", 99) + content[64:])
    repository = opened(tmp_path)
    assert kept(repository, snapshot) == b"".join(datas)
    again = take(repository, datas)
    assert kept(opened(tmp_path, cache=False), again) == b"".join(datas)


def test_wrong_bytes_within_the_index_cost_time_not_truth(tmp_path: Path) -> None:
    datas = pieces(9, 300, 500)
    repository = made(tmp_path)
    snapshot = take(repository, datas)
    repository.index._db.execute("UPDATE blob SET inner = (inner + 7) % 1000")
    assert kept(repository, snapshot) == b"".join(datas)


def test_a_full_disk_under_the_index_stops_no_snapshot(tmp_path: Path) -> None:
    repository = made(tmp_path)
    pages = repository.index._db.execute("PRAGMA page_count").fetchone()[0]
    repository.index._db.execute(f"PRAGMA max_page_count = {pages}")
    datas = pieces(10, 3_000, 20)
    snapshot = take(repository, datas)
    assert repository.index._directory is None
    assert kept(repository, snapshot) == b"".join(datas)
    assert kept(opened(tmp_path), snapshot) == b"".join(datas)


def test_packs_that_went_and_came_are_met_again(tmp_path: Path) -> None:
    repository = made(tmp_path)
    take(repository, [b"first"])
    other = opened(tmp_path, cache=False)
    assert other.read(other.keys.blob_id(b"first")) == b"first"
    take(repository, [b"second"])
    assert other.read(other.keys.blob_id(b"second")) == b"second"
    (old,) = [one.name for one in repository.packs() if any(row[2] == 5 for row in repository.contents(one.name))]
    with Writer(repository, frozenset([old])) as writer:
        writer.put(b"first")
        writer.flush()
    assert list(repository.delete_packs([old])) == [old]
    other._reading().forget()
    assert other.read(other.keys.blob_id(b"first")) == b"first"
    assert other.has(other.keys.blob_id(b"first"))


def test_many_packs_leave_the_index_in_one_look_through_its_blobs_and_before_they_are_deleted(tmp_path: Path) -> None:
    repository = made(tmp_path)
    for number in range(5):
        take(repository, [b"%d" % number])
    gone = [one.name for one in repository.packs()[1:4]]
    said: list[str] = []
    repository.index._db.set_trace_callback(said.append)
    for number, pack in enumerate(repository.delete_packs(gone)):
        assert pack == gone[number]
        assert not {one.name for one in repository.index.packs()} & set(gone)
    assert sum(one.startswith("DELETE FROM blob") for one in said) == 1
    assert len(repository.packs()) == 2
    assert [repository.has(repository.keys.blob_id(b"%d" % number)) for number in range(5)].count(True) == 2


def test_where_a_blob_lies_and_what_it_takes_is_told(tmp_path: Path) -> None:
    repository = made(tmp_path)
    take(repository, [b"x" * 10_000, b"y" * 30_000])
    pack, size = repository.locate(repository.keys.blob_id(b"y" * 30_000))
    (facts,) = repository.packs()
    assert (facts.name, facts.blobs, facts.raw) == (pack, 2, 40_000)
    assert 0 < size < 1_000
    assert sum(row[3] for row in repository.contents(pack)) <= facts.size
    with pytest.raises(MissingBlob):
        repository.locate(b"0" * 16)


def test_a_store_that_cannot_be_read_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = made(tmp_path)
    take(repository, [b"content"])

    def away(*_: object) -> list[bytes]:
        raise StoreError("the line is cut")

    monkeypatch.setattr(repository.store, "ranges", away)
    with pytest.raises(StoreError, match="the line is cut") as caught:
        repository.read(repository.keys.blob_id(b"content"))
    assert not isinstance(caught.value, Damaged)
