"""A snapshot as a tar: read by tar itself it is the tree that was there, and it is the same bytes each time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.state.looking import export
from holdfast.state.restore import exchange, materialize
from tests.harness.restore_place import Place, facts, lay

needs_tar = pytest.mark.skipif(shutil.which("tar") is None, reason="no tar here")


def extracted(place: Place, manifest: object, into: Path) -> Path:
    archive = into / "a.tar"
    with open(archive, "wb") as out:
        size = export.tar(place.repository, manifest, out.fileno())  # type: ignore[arg-type]
    assert size == archive.stat().st_size
    (into / "x").mkdir()
    subprocess.run(
        ["tar", "-C", str(into / "x"), "--xattrs", "--xattrs-include=user.*", "-xpf", str(archive)], check=True
    )
    return into / "x"


@needs_tar
def test_tar_reads_back_the_tree_that_was_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    _snapshot, manifest = place.take()
    top = extracted(place, manifest, tmp_path)
    assert facts(top / str(place.live).lstrip("/")) == facts(place.live)


def test_the_same_snapshot_is_the_same_bytes(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    _snapshot, manifest = place.take()
    first = b"".join(export.stream(place.repository, manifest))
    assert first == b"".join(export.stream(place.repository, manifest))
    assert len(first) % 10_240 == 0


names = st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & {0, 0x2F} and name not in (b".", b".."))
contents = st.one_of(
    st.binary(max_size=200),
    st.integers(0, 300_000).map(lambda size: bytes(size)),
    st.integers(1, 200_000).map(os.urandom),
)
trees = st.recursive(
    st.one_of(contents, st.tuples(st.just("link"), names)), lambda inner: st.dictionaries(names, inner, max_size=4)
)


def make(path: bytes, tree: object) -> None:
    if isinstance(tree, dict):
        os.mkdir(path)
        for name, inner in tree.items():
            make(os.path.join(path, name), inner)
        os.utime(path, ns=(0, 10**18 + len(tree)))
    elif isinstance(tree, tuple):
        os.symlink(tree[1], path)
    else:
        assert isinstance(tree, bytes)
        Path(os.fsdecode(path)).write_bytes(tree)


@needs_tar
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=st.dictionaries(names, trees, max_size=5))
def test_any_tree_comes_back_the_same_by_restore_and_by_tar(
    tree: dict[bytes, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("t")
    try:
        place = Place(top)
        place.live.rmdir()
        make(os.fsencode(place.live), tree)
        before = facts(place.live)
        taken = place.take()
        place.build(taken)
        exchange.begin(place.state)
        assert facts(place.live) == before
        assert exchange.settle(place.state)
        assert facts(extracted(place, taken[1], top) / str(place.live).lstrip("/")) == before
        materialize.build_to(place.repository, *taken, top / "look")
        assert facts(top / "look" / "data") == before
    finally:
        shutil.rmtree(top)
