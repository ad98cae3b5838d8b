"""System users, really created and removed again. Only as root, and where `useradd` and `userdel` are."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.node import numeric_ids, users

SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can create users"),
    pytest.mark.skipif(not shutil.which("useradd", path=SBIN), reason="there is no useradd here"),
    pytest.mark.skipif(not shutil.which("userdel", path=SBIN), reason="there is no userdel to clean up with"),
]


@pytest.fixture
def agent() -> Iterator[str]:
    name = f"test-{secrets.token_hex(4)}"
    yield name
    userdel = shutil.which("userdel", path=SBIN)
    assert userdel is not None
    subprocess.run([userdel, users.system_name(name)], capture_output=True, check=False)


def test_an_agent_gets_a_system_user_of_its_own_and_keeps_it(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(users.CREATE_ENV, raising=False)
    monkeypatch.setattr(limits, "SYSTEM_USERS_MAX", 10_000)
    first = users.resolve(agent, None, [Path("/")], tmp_path)
    if first.why == "a user number of its own":
        pytest.skip("useradd makes no more users here")
    entry = pwd.getpwnam(f"hf-{agent}")
    assert (first.uid, first.name) == (entry.pw_uid, entry.pw_name)
    assert first.uid != 0
    assert entry.pw_shell.endswith(("nologin", "false"))
    assert not os.path.exists(entry.pw_dir)
    assert users.resolve(agent, None, [Path("/")], tmp_path) == first


def test_a_crowd_of_agents_does_not_use_up_the_numbers_of_the_system(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYSTEM_USERS_MAX", 0)
    assert users.resolve(agent, None, [], tmp_path).uid >= limits.NUMERIC_UID_FIRST
    with pytest.raises(KeyError):
        pwd.getpwnam(f"hf-{agent}")


def test_without_useradd_a_number_is_used_and_kept_even_when_useradd_appears(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr(users.shutil, "which", lambda *_, **__: None)
        first = users.resolve(agent, None, [], tmp_path)
    assert numeric_ids.known(tmp_path, agent)
    assert users.resolve(agent, None, [], tmp_path) == first
    with pytest.raises(KeyError):
        pwd.getpwnam(f"hf-{agent}")
