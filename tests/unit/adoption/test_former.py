"""Ending the former way as root while its user looks on: nothing is written through what that user put there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from holdfast.adoption import former
from holdfast.adoption.model import Former
from holdfast.node.systemd import Systemctl, UnitState

NOBODY = 65534


class Manager:
    """A systemd that allows ten seconds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reloads = 0

    def show(self, unit: str) -> UnitState:
        return UnitState("loaded", "active", "enabled", 1, "", stop_timeout_s=10.0)

    def runtime_directory(self) -> Path:
        return self.directory

    def try_to(self, *arguments: str) -> str:
        self.reloads += 1
        return ""


def patience(directory: Path, uid: int) -> tuple[Manager, Former]:
    return Manager(directory), Former(kind="systemd", name="an agent.service", scope="user", uid=uid)


def test_the_unit_has_the_time_its_agent_needs_while_it_is_stopped_and_no_longer(tmp_path: Path) -> None:
    manager, unit = patience(tmp_path, os.geteuid())
    drop_in = tmp_path / "an agent.service.d" / former.DROP_IN
    with former._patience(cast(Systemctl, manager), unit, 90.5):
        assert drop_in.read_text() == "[Service]\nTimeoutStopSec=90.5\n"
        assert manager.reloads == 1
    assert not drop_in.parent.exists()
    assert manager.reloads == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be led into another user's trap")
def test_a_link_of_the_units_user_leads_root_nowhere() -> None:
    import shutil
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="hf-former-"))
    try:
        place.chmod(0o755)
        precious = place / "precious"
        precious.write_text("as it was")
        directory = place / "units"
        trap = directory / "an agent.service.d" / former.DROP_IN
        trap.parent.mkdir(parents=True)
        trap.symlink_to(precious)
        for path in (directory, trap.parent):
            os.chown(path, NOBODY, NOBODY)
        manager, unit = patience(directory, NOBODY)
        with former._patience(cast(Systemctl, manager), unit, 90.0):
            pass
        assert precious.read_text() == "as it was"
    finally:
        shutil.rmtree(place)
