"""A lost machine: its agents found, read and brought back from the second place alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import (
    SECOND_PLACE_BLOCKED,
    SECOND_PLACE_EMPTY,
    SECOND_PLACE_KEY,
    SECOND_PLACE_OTHER,
    HoldfastError,
)
from holdfast.state.model import Rights
from holdfast.state.second_place import homecoming
from holdfast.state.second_place.homecoming import adopt_key
from holdfast.state.second_place.rebuild import COMING, bring_home, open_remote, survey
from holdfast.state.second_place.upload import bring
from holdfast.state.store import keys
from holdfast.state.store.damage import Damaged, MissingBlob
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.repository import Repository
from holdfast.state.store.writing import lock
from tests.harness.snapshot_chain import AT, KEY, commit, contents


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A second place with two agents of a machine that is gone; their files lay below tmp_path/live."""
    place = tmp_path / "disk"
    place.mkdir()
    for agent in ("one", "two"):
        state_dir = tmp_path / "old" / "state" / agent
        repository = Repository.create(LocalStore(state_dir / "repo"), agent, KEY, encrypt=True)
        for number in range(3):
            files = {"count": b"%d" % number, "note": agent.encode() * 5000}
            commit(repository, files, at=AT + number, epoch=number + 4, path=str(tmp_path / "live" / agent / "data"))
        bring(state_dir, str(place), agent, lambda done, total, what: None, now_at=AT + 10)
    shutil.rmtree(tmp_path / "old")
    return place


def holdfast(*words: str, home: Path, key: bytes | None = KEY) -> tuple[int, str]:
    told = {**os.environ, "HOLDFAST_RECOVERY_KEY": key.hex() if key else "", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "holdfast.cli", "--home", str(home), *words]
    ran = subprocess.run(command, env=told, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    return ran.returncode, ran.stdout + ran.stderr


def test_agents_are_listed_without_a_key(disk: Path, tmp_path: Path) -> None:
    assert [(one.agent, one.snapshots) for one in survey(str(disk))] == [("one", 3), ("two", 3)]
    code, text = holdfast("restore", "--from", str(disk), "--json", home=tmp_path / "new", key=None)
    assert code == 0
    assert [row["agent"] for row in json.loads(text)["agents"]] == ["one", "two"]
    (tmp_path / "empty").mkdir()
    assert survey(str(tmp_path / "empty")) == []


def test_the_history_continues_as_the_same_one_with_a_higher_epoch(disk: Path, tmp_path: Path) -> None:
    state_dir = tmp_path / "new" / "one"
    repo = bring_home(str(disk), "one", state_dir)
    assert bring_home(str(disk), "one", state_dir) == repo
    home = Repository.open(LocalStore(repo), KEY)
    assert [contents(home, one)["count"] for one in home.snapshots()] == [b"0", b"1", b"2"]
    with lock(state_dir) as held:
        assert held.epoch > 6
        after = commit(home, {"count": b"3"}, at=AT + 20, epoch=held.epoch)
    assert (after.seq, after.epoch) == (4, held.epoch)
    bring(state_dir, str(disk), "one", lambda done, total, what: None, now_at=AT + 30)
    assert len(open_remote(str(disk), "one", KEY).snapshots()) == 4


def test_a_download_broken_off_leaves_nothing_that_looks_whole_and_goes_on(disk: Path, tmp_path: Path) -> None:
    state_dir = tmp_path / "new" / "one"

    class Cut(BaseException):
        pass

    def cut(done: int, total: int, what: str) -> None:
        raise Cut

    for _ in range(3):
        with pytest.raises(Cut):
            bring_home(str(disk), "one", state_dir, cut)
        assert not (state_dir / "repo").exists()
        assert (state_dir / COMING / "config").exists()
    bring_home(str(disk), "one", state_dir)
    assert not (state_dir / COMING).exists()
    assert len(Repository.open(LocalStore(state_dir / "repo"), KEY).snapshots()) == 3


def test_one_damaged_pack_there_costs_what_needs_it_and_nothing_else(disk: Path, tmp_path: Path) -> None:
    packs = [path for path in (disk / "agents" / "one" / "packs").rglob("*") if path.is_file()]
    spoilt = min(packs, key=lambda path: path.stat().st_size)  # the largest one has what all snapshots share
    data = bytearray(spoilt.read_bytes())
    data[len(data) // 2] ^= 1
    spoilt.write_bytes(data)
    told: list[str] = []
    repo = bring_home(str(disk), "one", tmp_path / "new" / "one", told=told.append)
    assert len(told) == 1
    assert spoilt.name in told[0]
    back = Repository.open(LocalStore(repo), KEY)
    whole = []
    for one in back.snapshots():
        with contextlib.suppress(Damaged, MissingBlob):
            whole.append(contents(back, one)["count"])
    assert len(back.snapshots()) == 3
    assert len(whole) == 2
    assert len(list(LocalStore(repo).list("packs/"))) == len(packs) - 1


def test_another_history_of_that_name_is_refused_and_set_aside_only_when_asked(disk: Path, tmp_path: Path) -> None:
    state_dir = tmp_path / "new" / "one"
    own = Repository.create(LocalStore(state_dir / "repo"), "one", KEY, encrypt=True)
    commit(own, {"count": b"mine"})
    with pytest.raises(HoldfastError) as caught:
        bring_home(str(disk), "one", state_dir)
    assert caught.value.kind is SECOND_PLACE_OTHER
    bring_home(str(disk), "one", state_dir, set_aside=True)
    assert len(Repository.open(LocalStore(state_dir / "repo"), KEY).snapshots()) == 3
    (aside,) = state_dir.glob("repo.before-*")
    kept = Repository.open(LocalStore(aside), KEY)
    assert contents(kept, kept.snapshots()[0]) == {"count": b"mine"}


def test_an_unknown_agent_is_said_to_be_unknown(disk: Path, tmp_path: Path) -> None:
    for ask in (
        lambda: bring_home(str(disk), "three", tmp_path / "new" / "three"),
        lambda: open_remote(str(disk), "three", KEY),
    ):
        with pytest.raises(HoldfastError) as caught:
            ask()
        assert caught.value.kind is SECOND_PLACE_EMPTY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes directories for another user")
def test_directories_above_a_path_are_the_agents_and_no_link_of_its_own_leads_root_elsewhere(tmp_path: Path) -> None:
    agent, treasure = Rights(uid=54_321, gid=54_321), tmp_path / "treasure"
    treasure.mkdir(mode=0o700)
    homecoming._make_way(str(tmp_path / "a" / "b"), agent)
    assert [(tmp_path / name).stat().st_uid for name in ("a", "a/b")] == [54_321, 54_321]
    (tmp_path / "a" / "link").symlink_to(treasure)
    os.lchown(tmp_path / "a" / "link", 54_321, 54_321)
    with pytest.raises(PermissionError):
        homecoming._make_way(str(tmp_path / "a" / "link" / "mine"), agent)
    assert list(treasure.iterdir()) == []


def test_a_home_never_loses_a_key_that_its_snapshots_need(tmp_path: Path) -> None:
    state_home = tmp_path / "home" / "state"
    own = keys.recovery_key(state_home)
    adopt_key(state_home, KEY, "one")
    assert keys.recovery_key(state_home) == KEY
    (aside,) = state_home.glob("recovery.key.before-*")
    assert keys.read_recovery(aside) == own
    Repository.create(LocalStore(state_home / "other" / "repo"), "other", KEY, encrypt=True)
    adopt_key(state_home, KEY, "one")
    with pytest.raises(HoldfastError) as caught:
        adopt_key(state_home, bytes(32), "one")
    assert caught.value.kind is SECOND_PLACE_KEY
    assert keys.recovery_key(state_home) == KEY


def test_the_files_come_back_to_their_empty_paths_and_never_over_others(disk: Path, tmp_path: Path) -> None:
    home, live = tmp_path / "new", tmp_path / "live" / "one" / "data"
    live.mkdir(parents=True)
    (live / "precious").write_text("mine")
    code, text = holdfast("restore", "one", "--from", str(disk), home=home)
    assert code == SECOND_PLACE_BLOCKED.exit_code
    assert (live / "precious").read_text() == "mine"
    (live / "precious").unlink()
    code, text = holdfast("restore", "one", "--from", str(disk), "--json", home=home)
    assert code == 0, text
    answer = json.loads(text.splitlines()[-1])
    assert answer["restored"]
    assert (live / "count").read_bytes() == b"2"
    assert len(Repository.open(LocalStore(home / "state" / "one" / "repo"), KEY).snapshots()) == 3
    assert keys.recovery_key(home / "state") == KEY


def test_all_agents_are_written_to_a_directory_to_look_first(disk: Path, tmp_path: Path) -> None:
    code, text = holdfast(
        "restore", "--from", str(disk), "--all", "--to", str(tmp_path / "look"), home=tmp_path / "new"
    )
    assert code == 0, text
    for agent in ("one", "two"):
        assert (tmp_path / "look" / agent / "data" / "note").read_bytes() == agent.encode() * 5000
    assert not (tmp_path / "live").exists()
    assert not (tmp_path / "new" / "state").exists()


def test_one_file_is_named_as_it_is_where_the_agent_lives(disk: Path, tmp_path: Path) -> None:
    to = str(tmp_path / "look")
    code, text = holdfast("restore", "one", "--from", str(disk), "--path", "note", "--to", to, home=tmp_path / "new")
    assert code == 0, text
    assert (tmp_path / "look" / "note").read_bytes() == b"one" * 5000


def test_a_wrong_key_ends_before_anything_is_written(disk: Path, tmp_path: Path) -> None:
    code, text = holdfast("restore", "one", "--from", str(disk), home=tmp_path / "new", key=bytes(32))
    assert code != 0
    assert "HF6002" in text
    assert not (tmp_path / "new" / "state").exists()
    assert not (tmp_path / "live").exists()
