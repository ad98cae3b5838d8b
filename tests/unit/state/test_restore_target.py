"""Which directories `restore --to` may not write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.state.restore import target


@pytest.mark.parametrize(
    ("to", "refused"),
    [
        ("live", True),
        ("live/deep/new", True),
        ("link/new", True),
        ("live/../live/new", True),
        ("home/state/one/new", True),
        ("live-beside", False),
        ("home/other", False),
        ("elsewhere/new", False),
    ],
)
def test_nothing_is_written_into_live_state_or_among_the_snapshots(tmp_path: Path, to: str, refused: bool) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "link").symlink_to("live")
    state_paths, state_dir = [str(tmp_path / "link")], tmp_path / "home" / "state"
    if not refused:
        target.check(tmp_path / to, state_paths, state_dir)
        return
    with pytest.raises(HoldfastError) as raised:
        target.check(tmp_path / to, state_paths, state_dir)
    assert raised.value.kind is errors.RESTORE_TARGET
