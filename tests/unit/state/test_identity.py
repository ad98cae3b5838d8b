"""Acting as the agent's user, for files and in one thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from holdfast.state.identity import CannotAct, acting_as, own_rights
from holdfast.state.model import Rights

NOBODY = Rights(uid=65534, gid=65534)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@as_root
def test_only_this_thread_acts_as_the_agent_and_is_itself_again_afterwards(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    before = own_rights()
    inside, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def act() -> None:
        with acting_as(NOBODY):
            inside.set()
            go_on.wait(60)
            try:
                seen.append(secret.read_text())
            except PermissionError:
                seen.append("refused")

    thread = threading.Thread(target=act)
    thread.start()
    assert inside.wait(60)
    assert own_rights() == before
    assert secret.read_text() == "s"
    go_on.set()
    thread.join(60)
    assert seen == ["refused"]


@as_root
def test_the_agents_groups_count_and_roots_do_not(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    os.chown(shared, 0, 4242)
    fd = os.open(shared, os.O_PATH | os.O_DIRECTORY)
    try:
        with acting_as(Rights(uid=65534, gid=65534, groups=(4242,))):
            os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        with acting_as(NOBODY), pytest.raises(PermissionError):
            os.open("other", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    finally:
        os.close(fd)
    assert (shared / "new").stat().st_uid == 65534


@as_root
def test_it_is_itself_again_after_an_error_and_within_each_other() -> None:
    before = own_rights()
    with acting_as(NOBODY):
        with acting_as(Rights(uid=1234, gid=1)):
            assert own_rights().uid == 1234
        assert own_rights().uid == NOBODY.uid
    assert own_rights() == before
    with pytest.raises(ValueError), acting_as(NOBODY):
        raise ValueError
    assert own_rights() == before


def test_no_rights_are_our_own() -> None:
    before = own_rights()
    with acting_as(None), acting_as(before):
        assert own_rights() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root can act as anybody")
def test_an_ordinary_user_cannot_act_as_another() -> None:
    with pytest.raises(CannotAct, match="0"), acting_as(Rights(uid=0, gid=0)):
        pass
