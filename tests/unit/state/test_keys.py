"""The recovery key: made once, kept by whoever was first, refused when it is none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from holdfast.errors import RECOVERY_KEY_UNUSABLE, HoldfastError
from holdfast.state.store import keys


def test_it_is_made_once_and_is_for_us_alone(tmp_path: Path) -> None:
    key = keys.recovery_key(tmp_path / "state")
    assert len(key) == 32
    assert keys.recovery_key(tmp_path / "state") == key
    path = tmp_path / "state" / keys.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    copy = path.with_name(keys.COPY_NAME)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(one.name for one in path.parent.iterdir()) == [keys.FILE_NAME, keys.COPY_NAME]


def test_whoever_comes_second_keeps_the_first_ones(tmp_path: Path) -> None:
    key = keys.recovery_key(tmp_path)
    keys._create(tmp_path / keys.FILE_NAME)
    assert keys.recovery_key(tmp_path) == key
    assert {one.name for one in tmp_path.iterdir()} == {keys.FILE_NAME, keys.COPY_NAME}


@pytest.mark.parametrize("left", [None, "", "\0" * 65, "0" * 63])
def test_a_key_that_was_lost_or_damaged_comes_back_from_its_copy(tmp_path: Path, left: str | None) -> None:
    key, path = keys.recovery_key(tmp_path), tmp_path / keys.FILE_NAME
    path.unlink() if left is None else path.write_text(left)
    assert keys.recovery_key(tmp_path) == key
    assert keys.read_recovery(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    aside = list(tmp_path.glob(f"{keys.FILE_NAME}.damaged-*"))
    assert [one.read_text() for one in aside] == ([] if left is None else [left])


def test_no_new_key_is_made_where_snapshots_need_the_one_that_is_gone(tmp_path: Path) -> None:
    keys.recovery_key(tmp_path)
    for name in (keys.FILE_NAME, keys.COPY_NAME):
        (tmp_path / name).unlink()
    (tmp_path / "bot" / "repo").mkdir(parents=True)
    (tmp_path / "bot" / "repo" / "config").touch()
    with pytest.raises(HoldfastError, match="it is gone, and snapshots of bot need it") as caught:
        keys.recovery_key(tmp_path)
    assert caught.value.kind == RECOVERY_KEY_UNUSABLE
    assert [one.name for one in tmp_path.iterdir()] == ["bot"]


def test_it_is_read_as_people_write_it_down(tmp_path: Path) -> None:
    key = keys.recovery_key(tmp_path)
    digits = key.hex()
    assert keys.read_recovery(digits.upper()) == key
    assert keys.read_recovery("-".join(digits[at : at + 8] for at in range(0, 64, 8)) + "\n") == key
    assert keys.read_recovery(tmp_path / keys.FILE_NAME) == key


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "0" * 63, "0" * 66, "ä" * 64])
def test_what_is_no_key_is_refused_and_never_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / keys.FILE_NAME
    path.write_text(text)
    with pytest.raises(HoldfastError, match="64 hex digits") as caught:
        keys.recovery_key(tmp_path)
    assert caught.value.kind == RECOVERY_KEY_UNUSABLE
    assert path.read_text() == text
    assert not text or text not in str(caught.value)
    with pytest.raises(HoldfastError):
        keys.read_recovery(text)


def test_a_wrapped_key_opens_with_its_own_recovery_key_and_binding_alone() -> None:
    wrapped = keys.wrap(b"r" * 32, b"k" * 32, b"bound")
    assert keys.unwrap(b"r" * 32, wrapped, b"bound") == b"k" * 32
    assert keys.unwrap(b"s" * 32, wrapped, b"bound") is None
    assert keys.unwrap(b"r" * 32, wrapped, b"other") is None
    assert keys.unwrap(b"r" * 32, b"", b"bound") is None
    assert keys.mark(b"r" * 32) != keys.mark(b"s" * 32)
