"""As whom an agent runs, and what that user reaches."""

import os
import pwd
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import errors, limits
from holdfast.node import numeric_ids, reach, users

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run agents as another user")
AS_USER = pytest.mark.skipif(os.geteuid() == 0, reason="root may run agents as another user")


def test_names_of_system_users_stay_short_and_apart() -> None:
    assert users.system_name("assistant") == "hf-assistant"
    long = [users.system_name("a" * 40 + end) for end in ("x", "y")]
    assert all(len(name) <= limits.USER_NAME_MAX for name in long)
    assert long[0] != long[1]


@AS_USER
def test_an_ordinary_user_runs_agents_as_itself_only(tmp_path: Path) -> None:
    me = users.resolve("a", None, [tmp_path], tmp_path)
    assert (me.uid, me.gid) == (os.geteuid(), os.getegid())
    assert users.resolve("a", str(os.geteuid()), [], tmp_path).uid == os.geteuid()
    with pytest.raises(errors.HoldfastError) as caught:
        users.resolve("a", "root", [], tmp_path)
    assert caught.value.kind is errors.USER_UNAVAILABLE


@AS_ROOT
def test_root_is_only_used_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(users.CREATE_ENV, "numeric")
    assert users.resolve("a", "root", [tmp_path], tmp_path).uid == 0
    assert users.resolve("a", None, [tmp_path], tmp_path).uid != 0


@AS_ROOT
def test_the_owner_of_an_existing_place_is_taken(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    found = users.resolve("a", None, [tmp_path / "absent", tmp_path, state], tmp_path)
    assert found.uid == 65534
    assert found.why == f"owner of {state}"


@AS_ROOT
def test_named_users_and_groups_are_found(tmp_path: Path) -> None:
    nobody = pwd.getpwuid(65534)
    assert users.resolve("a", nobody.pw_name, [], tmp_path).uid == 65534
    assert users.resolve("a", "65534:7", [], tmp_path).gid == 7
    assert users.resolve("a", "4000000", [], tmp_path).uid == 4_000_000
    for wrong in ("no-such-user", f"{nobody.pw_name}:no-such-group", "99999999999"):
        with pytest.raises(errors.HoldfastError) as caught:
            users.resolve("a", wrong, [], tmp_path)
        assert caught.value.kind is errors.USER_UNAVAILABLE


def test_user_numbers_are_kept_for_ever_and_never_shared(tmp_path: Path) -> None:
    first, second = numeric_ids.take(tmp_path, "a"), numeric_ids.take(tmp_path, "b")
    assert first != second
    assert numeric_ids.take(tmp_path, "a") == first
    assert limits.NUMERIC_UID_FIRST <= first <= limits.NUMERIC_UID_LAST
    assert stat.S_IMODE((tmp_path / numeric_ids.FILE).stat().st_mode) == 0o600


@AS_ROOT
def test_a_damaged_table_of_user_numbers_is_told_and_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(users.CREATE_ENV, "numeric")
    (tmp_path / numeric_ids.FILE).write_text("30000 a\nnonsense\n")
    nobodys = f"x{secrets.token_hex(6)}"  # no agent of this machine has left a system user of that name
    with pytest.raises(errors.HoldfastError) as caught:
        users.resolve(nobodys, None, [], tmp_path)
    assert caught.value.kind is errors.USER_UNAVAILABLE


# --- reach -------------------------------------------------------------------------------------------------------
PERMITS = [
    (0o700, 1000, 1000, {1000}, reach.EXECUTE, True),
    (0o077, 1000, 1000, {1000}, reach.EXECUTE, False),  # the owner's class decides, though others may
    (0o710, 1000, 2000, {1000}, reach.EXECUTE, True),
    (0o701, 1000, 2000, {1000}, reach.EXECUTE, False),
    (0o701, 1000, 2000, {2000}, reach.EXECUTE, True),
    (0o700, 1000, 2000, {2000}, reach.EXECUTE, False),
    (0o000, 1000, 0, {0}, reach.EXECUTE, True),
]


@pytest.mark.parametrize(("mode", "owner", "uid", "gids", "need", "wanted"), PERMITS)
def test_mode_bits_decide_as_in_the_kernel(
    mode: int, owner: int, uid: int, gids: set[int], need: int, wanted: bool
) -> None:
    status = os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, owner, 1000, 0, 0, 0, 0))
    assert reach.permits(status, uid, gids, need) == wanted


def test_root_runs_no_file_without_an_x() -> None:
    plain = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    assert not reach.permits(plain, 0, {0}, reach.EXECUTE)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that everybody can pass to, which pytest's own temporary directories are not."""
    made = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def test_the_exact_component_in_the_way_is_named(open_place: Path) -> None:
    closed = open_place / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0o700)
    other = os.geteuid() + 54_321
    with pytest.raises(reach.Unreachable) as caught:
        reach.check(closed / "in", other, {other}, reach.EXECUTE)
    assert caught.value.path == closed
    assert not caught.value.missing
    assert reach.check(closed / "in", os.geteuid(), {os.getegid()}, reach.EXECUTE) == closed / "in"


def test_links_are_followed_component_by_component(open_place: Path) -> None:
    closed = open_place / "closed"
    closed.mkdir()
    (closed / "python").write_text("")
    (closed / "python").chmod(0o755)
    (open_place / "link").symlink_to("closed/../closed/python")
    other = os.geteuid() + 54_321
    closed.chmod(0o755)
    assert reach.check(open_place / "link", other, {other}, reach.EXECUTE) == closed / "python"
    closed.chmod(0o700)
    with pytest.raises(reach.Unreachable) as caught:
        reach.check(open_place / "link", other, {other}, reach.EXECUTE)
    assert caught.value.path == closed


def test_a_loop_of_links_and_a_missing_component_end(open_place: Path) -> None:
    (open_place / "loop").symlink_to("loop")
    with pytest.raises(reach.Unreachable) as caught:
        reach.check(open_place / "loop", os.geteuid(), {os.getegid()}, reach.EXECUTE)
    assert not caught.value.missing
    with pytest.raises(reach.Unreachable) as caught:
        reach.check(open_place / "absent" / "x", os.geteuid(), {os.getegid()}, reach.EXECUTE)
    assert caught.value.missing
    assert caught.value.path == open_place / "absent"


def test_a_lost_record_of_a_user_number_is_found_again(tmp_path: Path) -> None:
    before = [numeric_ids.take(tmp_path, f"agent-{number}") for number in range(20)]
    (tmp_path / numeric_ids.FILE).unlink()
    assert [numeric_ids.take(tmp_path, f"agent-{number}") for number in range(20)] == before
    assert len(set(before)) == 20
