"""Paths are followed up to the first mount that may not answer, which is never touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.node import mounts


def test_a_path_on_no_such_mount_is_local() -> None:
    assert mounts.entered("/usr/bin", {"/net/nfs": "nfs4"}) == ""
    assert mounts.entered("relative", {"/net/nfs": "nfs4"}) == ""


def test_links_lead_to_the_mount_they_name(tmp_path: Path) -> None:
    (tmp_path / "nfs").mkdir()
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "link").symlink_to("../nfs/deep")
    remote = {str(tmp_path / "nfs"): "nfs"}
    assert mounts.entered(str(tmp_path / "local" / "link" / "x"), remote) == str(tmp_path / "nfs")
    assert mounts.entered(str(tmp_path / "local" / ".." / "nfs"), remote) == str(tmp_path / "nfs")
    assert mounts.entered(str(tmp_path / "local" / "link"), remote, {str(tmp_path / "nfs")}) == ""
    assert mounts.entered(str(tmp_path / "local"), remote) == ""


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert mounts.entered(str(tmp_path / "a"), {"/elsewhere": "nfs"}) == ""


def test_what_an_automounter_has_not_mounted_yet_may_hold_up(tmp_path: Path) -> None:
    (tmp_path / "auto").mkdir()
    remote = {str(tmp_path / "auto"): "autofs", str(tmp_path / "auto" / "here"): "nfs4"}
    assert mounts.entered(str(tmp_path / "auto"), remote) == ""
    assert mounts.entered(str(tmp_path / "auto" / "there" / "x"), remote) == str(tmp_path / "auto" / "there")
    assert mounts.entered(str(tmp_path / "auto" / "here" / "x"), remote) == str(tmp_path / "auto" / "here")


def test_the_table_of_mounts_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        "43 27 0:40 / /mnt/with\\040space rw,relatime shared:1 - fuse.sshfs me@there rw\n"
        "44 27 0:41 / /mnt/over rw - nfs there:/ rw\n"
        "45 44 0:42 / /mnt/over rw - tmpfs tmpfs rw\n"
        "46 27 0:43 / /home rw - autofs systemd-1 rw\n"
    )
    monkeypatch.setattr(mounts, "_TABLE", table)
    assert mounts.read() == {"/mnt/with space": "fuse.sshfs", "/home": "autofs"}
