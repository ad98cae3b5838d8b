"""The second place on a real S3 server (versitygw): races, a killed server, an hour cut off, a lost machine.

Everything goes over loopback; the server is built from its source the first time.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.state.second_place import lag
from holdfast.state.second_place.rebuild import bring_home, open_remote, survey
from holdfast.state.second_place.remote_store import RemoteStore
from holdfast.state.second_place.upload import bring, known_there, standing
from holdfast.state.store.damage import Damaged
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import PACKS, SNAPS
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.state.store.writing import lock
from tests.full.versitygw import VERSION, NotBuilt, serving
from tests.harness.s3_server import S3Server
from tests.harness.snapshot_chain import AT, KEY, commit, contents

pytestmark = [pytest.mark.full, pytest.mark.timeout(1500)]

BUCKET = "holdfast-test"
WRITERS, TURNS = 8, 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("versitygw")
    say(f"building or finding versitygw {VERSION}")
    try:
        with serving(folder) as started:
            started.make_bucket(BUCKET)
            yield started
    except NotBuilt as error:
        pytest.skip(f"no real S3 server here: {error}")


@pytest.fixture
def url(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(limits, "STORE_RETRY_ALL_S", 5.0)
    return f"s3://{BUCKET}/{request.node.name[:40]}"


def quiet(done: int, total: int, what: str) -> None:
    return None


def make(state_dir: Path, count: int, size: int = 100_000, first: int = 0) -> Repository:
    """A chain whose snapshots share most of their content."""
    repository = Repository.create(LocalStore(state_dir / "repo"), "assistant", KEY, encrypt=True)
    for number in range(first, first + count):
        files = {"count": b"%d" % number, "same": random.Random(1).randbytes(size)}
        files["own"] = random.Random(f"own {number}").randbytes(size)
        commit(repository, files, at=AT + 60.0 * number)
    return repository


def test_of_eight_writers_one_alone_creates_each_object(url: str) -> None:
    wins: list[tuple[int, int]] = []
    together = threading.Barrier(WRITERS)

    def write(number: int) -> None:
        store = RemoteStore(url)
        for turn in range(TURNS):
            together.wait()
            if store.put(f"race/{turn}", b"%d" % number):
                wins.append((turn, number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turn for turn, _ in wins) == list(range(TURNS))
    store = RemoteStore(url)
    assert all(store.get(f"race/{turn}") == b"%d" % number for turn, number in wins)


def test_a_chain_is_uploaded_and_rebuilt_on_an_empty_home(url: str, tmp_path: Path) -> None:
    repository = make(tmp_path / "old" / "assistant", 6)
    done: list[int] = []
    bring(
        tmp_path / "old" / "assistant",
        url,
        "assistant",
        lambda sent, total, what: done.append(sent),
        now_at=AT + 400,
    )
    assert done == sorted(done)
    assert len(done) > 6
    kept = {one.id: contents(repository, one) for one in repository.snapshots()}
    shutil.rmtree(tmp_path / "old")  # the machine is lost
    (found,) = survey(url)
    assert (found.agent, found.snapshots) == ("assistant", 6)
    remote = open_remote(url, "assistant", KEY)
    assert {one.id: contents(remote, one) for one in remote.snapshots()} == kept
    new = tmp_path / "new" / "assistant"
    bring_home(url, "assistant", new)
    home = Repository.open(LocalStore(new / "repo"), KEY)
    assert {one.id: contents(home, one) for one in home.snapshots()} == kept
    with lock(new) as held:
        after = commit(home, {"count": b"after"}, at=AT + 1000, epoch=held.epoch)
    assert after.seq == 7
    assert after.epoch > max(one.epoch for one in remote.snapshots())
    again = bring(new, url, "assistant", quiet, now_at=AT + 1100)
    assert again.objects == 2
    assert len(open_remote(url, "assistant", KEY).snapshots()) == 7


def test_a_server_killed_while_it_takes_packs_is_found_whole_when_it_is_back(
    url: str, server: S3Server, tmp_path: Path
) -> None:
    state_dir = tmp_path / "assistant"
    make(state_dir, 8, size=2_000_000)
    kills = 0
    lasting: list[str] = []
    timers: list[threading.Timer] = []

    def kill_later(done: int, total: int, what: str) -> None:
        nonlocal kills
        if kills < 3:
            kills += 1
            timers.append(threading.Timer(0.01 * kills, server.kill))
            timers[-1].start()

    for _ in range(8):
        before = kills
        try:
            bring(state_dir, url, "assistant", kill_later, now_at=AT + 1000)
        except StoreError as error:
            lasting.append(str(error) if error.lasting else "")
        for timer in timers:
            timer.join()  # none may meet the server that is started now
        if server.process is None:
            server.start()
        if kills == before and (behind := standing(state_dir, AT + 1000)) is not None and not behind.objects:
            break
    assert kills == 3
    assert not any(lasting)
    remote = open_remote(url, "assistant", KEY)
    assert len([contents(remote, one) for one in remote.snapshots()]) == 8


def test_an_hour_cut_off_is_waited_for_and_said(url: str, server: S3Server, tmp_path: Path) -> None:
    state_dir = tmp_path / "assistant"
    make(state_dir, 1)
    bring(state_dir, url, "assistant", quiet, now_at=AT)
    server.kill()
    try:
        for minute in range(1, 61, 12):
            make(state_dir, 1, first=minute)
            with pytest.raises(StoreError, match="cannot be reached"):
                bring(state_dir, url, "assistant", quiet, now_at=AT + 60.0 * minute)
        behind = standing(state_dir, AT + 3600)
        assert behind is not None
        assert lag.is_late(behind, 60.0)
        assert behind.snapshots == 5
        assert "remote lag" in lag.sentence(behind, url)
    finally:
        server.start()
    assert bring(state_dir, url, "assistant", quiet, now_at=AT + 3700).lag.snapshots == 0
    assert len(known_there(state_dir)) == 6


def test_an_uploader_killed_anywhere_is_continued_by_the_next(url: str, tmp_path: Path) -> None:
    state_dir = tmp_path / "assistant"
    make(state_dir, 6, size=1_000_000)
    code = (
        "import sys; from pathlib import Path; from holdfast.state.second_place.upload import bring;"
        f"bring(Path(sys.argv[1]), sys.argv[2], 'assistant', lambda d, t, w: print(d, flush=True), now_at={AT})"
    )
    for after in range(1, 8):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(state_dir), url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        for _ in range(after):
            if not process.stdout.readline():
                break
        process.kill()
        process.wait(30)
        remote = open_remote(url, "assistant", KEY) if survey(url) else None
        for snapshot in remote.snapshots() if remote else ():
            assert remote is not None
            contents(remote, snapshot)
    bring(state_dir, url, "assistant", quiet, now_at=AT)
    assert len(open_remote(url, "assistant", KEY).snapshots()) == 6


def test_a_bit_that_flipped_in_the_bucket_is_noticed_and_never_brought_home(
    url: str, server: S3Server, tmp_path: Path
) -> None:
    state_dir = tmp_path / "assistant"
    local = make(state_dir, 1)
    bring(state_dir, url, "assistant", quiet, now_at=AT)
    folder = Path(server.command[-1]) / BUCKET / url.rpartition("/")[2] / "agents" / "assistant"
    pack = next(path for path in (folder / PACKS).rglob("*") if path.is_file())
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    remote = open_remote(url, "assistant", KEY)
    with pytest.raises(Damaged):
        contents(remote, remote.snapshots()[0])
    told: list[str] = []
    home = LocalStore(bring_home(url, "assistant", tmp_path / "new" / "assistant", told=told.append))
    assert len(told) == 1
    assert pack.name in told[0]
    assert pack.name not in {found.name.rpartition("/")[2] for found in home.list(PACKS)}
    assert contents(local, local.snapshots()[0])["count"] == b"0"


def test_wrong_keys_a_missing_bucket_and_another_repository_are_told_apart(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(tmp_path / "one", 1)
    make(tmp_path / "other", 1)
    bring(tmp_path / "one", url, "assistant", quiet, now_at=AT)
    with pytest.raises(StoreError, match="snapshots of another assistant"):
        bring(tmp_path / "other", url, "assistant", quiet, now_at=AT)
    assert len(list(RemoteStore(f"{url}/agents/assistant").list(SNAPS))) == 1
    with pytest.raises(StoreError, match="there is no bucket holdfast-absent"):
        bring(tmp_path / "one", "s3://holdfast-absent/x", "assistant", quiet, now_at=AT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-of-nobody")
    with pytest.raises(StoreError, match="credentials are wrong") as caught:
        bring(tmp_path / "one", url, "assistant", quiet, now_at=AT)
    assert "wrong-secret" not in str(caught.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY")
    with pytest.raises(StoreError, match="credentials are wrong") as caught:
        bring(tmp_path / "one", url, "assistant", quiet, now_at=AT)
    assert "AKIANOBODY" not in str(caught.value)
    assert caught.value.lasting
