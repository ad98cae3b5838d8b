"""Snapshots of real directories: the same comes out that went in, and only what changed is read."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast import limits
from holdfast.state.capture.capture import CannotCapture
from holdfast.state.model import Consistency, Content
from tests.harness.captures import Home, tar_of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that it cannot read as another user")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


def age(*paths: Path) -> None:
    """Nothing here was written just now: what is known of these files is trusted the next time.

    The time of an inode cannot be set, so this is about waiting for the clock of the file system to move on.
    """
    limit = max(path.lstat().st_ctime_ns for path in paths) + 60_000_000
    probe = paths[0].parent / ".clock"
    while True:
        probe.write_bytes(b"")
        now = probe.stat().st_ctime_ns
        probe.unlink()
        if now > limit:
            return


# --- any tree ------------------------------------------------------------------------------------------------------
NAMES = st.binary(min_size=1, max_size=12).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.integers(0, 2**32).map(lambda seed: (seed.to_bytes(5, "big") * 9_000)[:40_000]),
    st.integers(0, 255).map(lambda byte: bytes([byte]) * 70_000),
)
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o400, 0o4755, 0o2700, 0o1777])
TIMES = st.integers(0, 2**32 * 10**9)
FILES = st.tuples(st.just("file"), CONTENTS, MODES, TIMES)
LINKS = st.tuples(st.just("link"), NAMES, MODES, TIMES)
HOLES = st.tuples(st.just("holes"), st.lists(st.integers(0, 30), max_size=4), MODES, TIMES)
TREES = st.recursive(
    st.dictionaries(NAMES, st.one_of(FILES, LINKS, HOLES), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(FILES, inner), max_size=4),
    max_leaves=8,
)


def put(directory: bytes, tree: dict[bytes, object]) -> None:
    for name, what in tree.items():
        path = directory + b"/" + name
        if isinstance(what, dict):
            os.mkdir(path)
            put(path, what)
            continue
        assert isinstance(what, tuple)
        kind, content, mode, mtime_ns = what
        if kind == "link":
            os.symlink(content, path)
            os.utime(path, ns=(0, mtime_ns), follow_symlinks=False)
            continue
        with open(path, "wb") as file:
            if kind == "file":
                file.write(content)
            else:
                file.truncate(40 * 65_536)
                for at in content:
                    os.pwrite(file.fileno(), b"data", at * 65_536)
        os.chmod(path, mode)
        os.utime(path, ns=(0, mtime_ns))


@settings(
    max_examples=int(os.environ.get("HOLDFAST_TREES", "15")),
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # making an example smaller costs more than reading it
    suppress_health_check=list(HealthCheck),
)
@given(TREES, TREES)
def test_what_comes_out_is_what_went_in_to_the_eyes_of_tar(
    tmp_path_factory: pytest.TempPathFactory, one: dict[bytes, object], two: dict[bytes, object]
) -> None:
    base = tmp_path_factory.mktemp("tree")
    home, work = Home(base / "home"), base / "work"
    work.mkdir()
    put(os.fsencode(work), one)
    home.snapshot(work)
    assert tar_of(home.restore(base / "out") / "work") == tar_of(work)
    (work / "second").mkdir()
    put(os.fsencode(work / "second"), two)
    home.snapshot(work)
    assert tar_of(home.restore(base / "again") / "work") == tar_of(work)


def test_hard_links_attributes_and_odd_names_come_back(home: Home, work: Path, tmp_path: Path) -> None:
    (work / "a").write_bytes(b"shared")
    (work / "sub").mkdir()
    os.link(work / "a", work / "sub/b")
    odd = os.fsencode(work) + b"/\xff\xfe\n"
    os.close(os.open(odd, os.O_CREAT | os.O_WRONLY))
    try:
        os.setxattr(work / "a", "user.note", b"\0\xff")
        os.setxattr(work / "sub", "user.dir", b"d")
    except OSError:
        pass  # a file system without attributes
    home.snapshot(work)
    out = home.restore(tmp_path / "out") / "work"
    assert tar_of(out) == tar_of(work)
    assert (out / "a").stat().st_ino == (out / "sub/b").stat().st_ino


def test_a_sparse_file_of_many_gigabytes_is_read_and_kept_as_its_data(home: Home, work: Path, tmp_path: Path) -> None:
    with (work / "disk.img").open("wb") as file:
        file.truncate(20 * 1024**3)
        os.pwrite(file.fileno(), b"early", 5_000_000)
        os.pwrite(file.fileno(), b"late", 19 * 1024**3)
    taken = home.take(work)
    assert taken.manifest is not None
    assert taken.manifest.bytes == 20 * 1024**3
    assert taken.bytes_read < 1_000_000
    assert home.entry(taken.manifest, "disk.img").content is Content.SPARSE
    out = home.restore(tmp_path / "out") / "work/disk.img"
    assert out.stat().st_blocks < 1_000
    with out.open("rb") as file:
        assert os.pread(file.fileno(), 4, 19 * 1024**3) == b"late"
        assert os.pread(file.fileno(), 5, 5_000_000) == b"early"


# --- what changed --------------------------------------------------------------------------------------------------
def test_nothing_changed_makes_no_snapshot_and_reads_nothing(home: Home, work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub/a").write_bytes(b"a" * 100_000)
    age(work / "sub/a")
    first = home.snapshot(work)
    again = home.take(work)
    assert again.snapshot is None
    assert again.unchanged_since == home.repository.snapshots()[-1].id
    assert again.bytes_read == 0
    assert len(home.repository.snapshots()) == 1
    assert first.files == 1


def test_only_what_changed_is_read_and_stored(home: Home, work: Path) -> None:
    for name in ("a", "b", "c"):
        (work / name).mkdir()
        (work / name / "file").write_bytes(os.urandom(200_000))
    (work / "a/other").write_bytes(os.urandom(200_000))
    age(work / "a/other")
    home.snapshot(work)
    (work / "a/file").write_bytes(b"new")
    taken = home.take(work)
    assert taken.bytes_read == 3
    assert taken.manifest is not None
    assert taken.manifest.bytes == 600_003
    assert taken.manifest.bytes_new < 5_000
    assert home.content(taken.manifest, "a/file") == b"new"
    assert len(home.content(taken.manifest, "b/file")) == 200_000


def test_a_change_within_the_same_tick_of_the_clock_is_seen(home: Home, work: Path) -> None:
    file = work / "f"
    for number in range(20):
        content = b"%06d" % number
        with file.open("r+b" if number else "wb") as opened:
            opened.write(content)
        os.utime(file, ns=(0, 0))
        assert home.content(home.snapshot(work, always=True), "f") == content


def test_a_file_whose_times_were_set_back_is_seen_to_have_changed(home: Home, work: Path) -> None:
    (work / "f").write_bytes(b"one")
    os.utime(work / "f", ns=(0, 1_000))
    age(work / "f")
    home.snapshot(work)
    (work / "f").write_bytes(b"two")
    os.utime(work / "f", ns=(0, 1_000))
    assert home.content(home.snapshot(work), "f") == b"two"


def test_what_is_gone_new_moved_or_of_another_kind_is_seen(home: Home, work: Path) -> None:
    for name in ("gone", "moved", "kind"):
        (work / name).mkdir()
        (work / name / "f").write_bytes(name.encode())
    age(work / "kind/f")
    home.snapshot(work)
    (work / "gone/f").unlink()
    (work / "gone").rmdir()
    (work / "moved").rename(work / "was-moved")
    (work / "kind/f").unlink()
    (work / "kind").rmdir()
    (work / "kind").write_bytes(b"a file now")
    (work / "new").mkdir()
    assert home.names(home.snapshot(work)) == {"was-moved", "was-moved/f", "kind", "new"}
    (work / "was-moved").rename(work / "moved")
    assert home.names(home.snapshot(work)) == {"moved", "moved/f", "kind", "new"}


def test_a_damaged_or_missing_cache_costs_time_and_nothing_else(home: Home, work: Path) -> None:
    (work / "f").write_bytes(b"one" * 1000)
    age(work / "f")
    home.snapshot(work)
    stat = home.cache / "stat"
    for damage in (b"", b"x", stat.read_bytes()[:-1], stat.read_bytes().replace(b"f", b"g"), None):
        if damage is None:
            stat.unlink()
        else:
            stat.write_bytes(damage)
        taken = home.take(work)
        assert taken.snapshot is None
        assert taken.bytes_read == 3000
        assert home.take(work).bytes_read == 0


def test_other_patterns_or_a_deleted_snapshot_make_the_cache_void(home: Home, work: Path) -> None:
    (work / "f").write_bytes(b"one")
    (work / "x.log").write_bytes(b"log")
    age(work / "x.log")
    home.snapshot(work)
    assert home.names(home.snapshot(work, exclude=("*.log",))) == {"f"}
    newest = home.repository.snapshots()[-1]
    home.repository.store.delete(f"snaps/{newest.name}")
    assert home.names(home.snapshot(work, exclude=("*.log",))) == {"f"}


def test_files_that_are_left_out_come_and_go_without_a_snapshot(home: Home, work: Path) -> None:
    (work / "cache").mkdir()
    (work / "f").write_bytes(b"one")
    age(work / "f")
    patterns = ("cache/", "*.tmp", "!keep.tmp")
    home.snapshot(work, exclude=patterns)
    (work / "cache/big").write_bytes(b"x")
    (work / "a.tmp").write_bytes(b"x")
    assert home.take(work, exclude=patterns).snapshot is None
    (work / "keep.tmp").write_bytes(b"x")
    assert home.names(home.snapshot(work, exclude=patterns)) == {"f", "keep.tmp"}


# --- databases -----------------------------------------------------------------------------------------------------
SHELL = """
import sqlite3, sys
link = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    link.execute(line)
    print("done", flush=True)
"""


@contextmanager
def holding(path: Path) -> Iterator[Callable[[str], None]]:
    """Another process that has the database open; what it returns lets that process run a statement."""
    command = [sys.executable, "-c", SHELL, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(statement: str) -> None:
            print(statement, file=process.stdin, flush=True)
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"

        run("PRAGMA journal_mode=WAL")
        run("CREATE TABLE t (n INTEGER, fill BLOB)")
        yield run
        process.stdin.close()


def test_a_database_is_kept_as_its_image_without_what_stands_beside_it(home: Home, work: Path, tmp_path: Path) -> None:
    with holding(work / "state.db") as run:
        run(
            "INSERT INTO t WITH RECURSIVE c(x) AS (VALUES(0) UNION ALL SELECT x+1 FROM c WHERE x < 2999)"
            " SELECT x, randomblob(900) FROM c"
        )
        (work / "odd-wal").write_bytes(b"of no database")
        manifest = home.snapshot(work)
        assert home.names(manifest) == {"state.db", "odd-wal"}
        assert home.entry(manifest, "state.db").content is Content.DATABASE
        assert manifest.consistency is Consistency.GUARD
        run("UPDATE t SET fill = randomblob(900) WHERE n = 1500")
        taken = home.take(work)
        assert taken.manifest is not None
        assert taken.manifest.bytes_new < 60_000
    out = home.restore(tmp_path / "out") / "work/state.db"
    again = sqlite3.connect(out)
    assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert again.execute("SELECT count(*), sum(n) FROM t").fetchone() == (3_000, 4_498_500)
    again.close()


def test_a_checkpoint_that_changes_nothing_of_what_is_in_it_makes_no_snapshot(home: Home, work: Path) -> None:
    with holding(work / "state.db") as run:
        run("INSERT INTO t VALUES (1, '')")
        home.snapshot(work)
        run("PRAGMA wal_checkpoint(FULL)")
        assert home.take(work).snapshot is None


def test_a_database_that_is_a_state_path_itself_is_followed(home: Home, work: Path) -> None:
    with holding(work / "m.db") as run:
        home.snapshot(work / "m.db")
        run("INSERT INTO t VALUES (1, '')")
        assert home.take(work / "m.db").snapshot is not None


def test_a_file_that_only_looks_like_a_database_is_kept_as_it_is(home: Home, work: Path) -> None:
    content = b"SQLite format 3\0" + b"nonsense" * 10_000
    (work / "fake.db").write_bytes(content)
    (work / "fake.db-journal").write_bytes(b"j")
    manifest = home.snapshot(work)
    assert home.content(manifest, "fake.db") == content
    assert home.content(manifest, "fake.db-journal") == b"j"


# --- state paths ---------------------------------------------------------------------------------------------------
def test_several_paths_a_missing_one_and_a_single_file(home: Home, work: Path, tmp_path: Path) -> None:
    (work / "one").mkdir()
    (work / "file").write_bytes(b"alone")
    age(work / "file")
    paths = (work / "one", work / "file", work / "missing", work / "file/below")
    manifest = home.snapshot(*paths)
    assert [root.entry is not None for root in manifest.roots] == [True, True, False, False]
    assert home.take(*paths).bytes_read == 0
    (work / "file").write_bytes(b"changed")
    home.snapshot(*paths)
    assert (home.restore(tmp_path / "out") / "file").read_bytes() == b"changed"
    (work / "file").unlink()
    assert home.snapshot(*paths).roots[1].entry is None


def test_a_state_path_that_is_a_symlink_or_a_socket_is_refused_with_the_reason(home: Home, work: Path) -> None:
    (work / "real").mkdir()
    (work / "link").symlink_to(work / "real")
    with pytest.raises(CannotCapture, match=r"symlink to .*/real: declare the path"):
        home.take(work / "link")
    os.chdir(work)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        with pytest.raises(CannotCapture, match="a socket"):
            home.take(work / "sock")
    with pytest.raises(CannotCapture, match="not an absolute path"):
        home.take("relative/path")
    with pytest.raises(CannotCapture, match="names nothing"):
        home.take(work / "real", exclude=("../x",))
    assert home.repository.snapshots() == []


def test_a_symlink_of_our_own_on_the_way_is_followed(home: Home, work: Path) -> None:
    (work / "real/state").mkdir(parents=True)
    (work / "real/state/f").write_bytes(b"f")
    (work / "way").symlink_to("real")
    assert home.names(home.snapshot(work / "way/state")) == {"f"}


def test_holdfasts_own_files_are_never_entered(work: Path) -> None:
    home = Home(work / "holdfast/agent")
    (work / "f").write_bytes(b"f")
    manifest = home.snapshot(work)
    assert home.names(manifest) == {"f", "holdfast"}
    assert manifest.left_out == (f"{work}/holdfast/agent: it holds Holdfast's own files",)


# --- what cannot be kept ----------------------------------------------------------------------------------------------
def test_sockets_and_pipes_are_left_out_with_the_reason(home: Home, work: Path) -> None:
    os.mkfifo(work / "pipe")
    (work / "f").write_bytes(b"f")
    os.chdir(work)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        manifest = home.snapshot(work)
    assert home.names(manifest) == {"f"}
    assert set(manifest.left_out) == {f"{work}/pipe: a pipe", f"{work}/sock: a socket"}
    (work / "g").write_bytes(b"g")
    assert len(home.snapshot(work).left_out) == 2


def test_directories_deeper_than_the_bound_are_left_out_with_the_reason(home: Home, work: Path) -> None:
    fd = os.open(work, os.O_RDONLY)
    for _ in range(limits.SNAPSHOT_DEPTH_MAX + 5):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    manifest = home.snapshot(work)
    assert len(home.names(manifest)) == limits.SNAPSHOT_DEPTH_MAX
    assert "directories lie in each other" in manifest.left_out[0]


def test_a_list_of_what_was_left_out_is_bounded(home: Home, work: Path) -> None:
    for number in range(limits.SNAPSHOT_LISTED_MAX + 20):
        os.mkfifo(work / f"{number}")
    assert len(home.snapshot(work).left_out) == limits.SNAPSHOT_LISTED_MAX


def test_giving_up_in_the_middle_commits_nothing_and_the_next_one_is_whole(home: Home, work: Path) -> None:
    class Enough(Exception):
        pass

    for number in range(8):
        (work / f"{number}").write_bytes(os.urandom(400_000))
    from holdfast.state.capture import capture
    from holdfast.state.store.writer import Writer

    def give_up(_: object) -> None:
        raise Enough

    request = capture.CaptureRequest(agent="agent", paths=(str(work),), cache=home.cache)
    with pytest.MonkeyPatch.context() as patch, Writer(home.repository) as writer:
        patch.setattr(capture, "_TOLD_EVERY_S", 0.0)
        with pytest.raises(Enough):
            capture.take(home.repository, writer, request, give_up)
    assert home.repository.snapshots() == []
    assert home.snapshot(work).bytes == 3_200_000


def test_a_consistency_is_told(home: Home, work: Path) -> None:
    (work / "f").write_bytes(b"f")
    assert home.snapshot(work).consistency is Consistency.GUARD
